package phone

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

const (
	deskBase = "http://vipps.localhost"
	deskMSN  = "123456"
	kari     = "4712345678"
)

// fakeVipps answers what a desk asks of Vipps MobilePay, and counts it. It hears of outcomes as well.
type fakeVipps struct {
	mu       sync.Mutex
	ring     string // the answer of the backchannel endpoint, where it is not auth_req_id r1, r2, …
	tokens   string // the answer of the token endpoint
	number   string // in userinfo
	names    string // the auth_req_id in the ID token
	asked    []url.Values
	polls    []time.Time
	outcomes []string
	answered func() // called when the token endpoint answers something final
}

func (f *fakeVipps) set(change func(*fakeVipps)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// RoundTrip implements http.RoundTripper.
func (f *fakeVipps) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body := ""
	switch r.URL.Path {
	case "/accesstoken/get":
		body = `{"token_type":"Bearer","access_token":"partner-token","expires_in":"86399"}`
	case "/access-management-1.0/access/.well-known/openid-configuration":
		body = strings.ReplaceAll(`{"issuer":"B/access-management-1.0/access/","authorization_endpoint":"B/auth","token_endpoint":"B/token","userinfo_endpoint":"B/userinfo","jwks_uri":"B/keys","backchannel_authentication_endpoint":"B/backchannel"}`, "B", deskBase)
	case "/backchannel":
		raw, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(raw))
		f.asked = append(f.asked, form)
		if body = f.ring; body == "" {
			body = `{"auth_req_id":"r` + string(rune('0'+len(f.asked))) + `","expires_in":600,"interval":5}`
		}
	case "/token":
		f.polls = append(f.polls, time.Now())
		body = f.tokens
		if f.answered != nil && body != pendingAnswer {
			f.answered()
		}
	}
	status := http.StatusOK
	if strings.Contains(body, `"error"`) {
		status = http.StatusBadRequest
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// check stands for the checks of an ID token and userinfo.
func (f *fakeVipps) check(_ context.Context, _ vipps.Tokens, want idtoken.Expectation) ([]userinfo.Claim, error) {
	f.mu.Lock()
	named, number := f.names, f.number
	f.mu.Unlock()
	if _, err := want.Phone(named); err != nil {
		return nil, err
	}
	return userinfo.Parse([]byte(`{"sub":"kari-at-this-shop","phone_number":"` + number + `"}`))
}

func (f *fakeVipps) tell(outcome string) {
	f.set(func(f *fakeVipps) { f.outcomes = append(f.outcomes, outcome) })
}

// PhoneStarted implements Outcomes.
func (f *fakeVipps) PhoneStarted(flow string) { f.tell(flow + " started") }

// PhoneCompleted implements Outcomes.
func (f *fakeVipps) PhoneCompleted(flow string, _ []userinfo.Claim, _ time.Time, _ time.Duration) {
	f.tell(flow + " completed")
}

// PhoneFailed implements Outcomes.
func (f *fakeVipps) PhoneFailed(flow string, err error) { f.tell(flow + " failed") }

// PhoneReason implements Outcomes.
func (f *fakeVipps) PhoneReason(error) string { return "reason" }

const (
	pendingAnswer = `{"error":"authorization_pending"}`
	deniedAnswer  = `{"error":"access_denied"}`
	tokensAnswer  = `{"access_token":"ciba.a","id_token":"i","token_type":"bearer","expires_in":300}`
)

// newDesk returns the desk of a merchant, what it talks to, and its storage. It is for a bubble of synctest: the clock is
// the test's.
func newDesk(t *testing.T) (*Desk, *fakeVipps, *storetest.Memory) {
	t.Helper()
	f := &fakeVipps{tokens: pendingAnswer, number: kari}
	storage := storetest.New()
	client := vipps.NewClient(deskBase, vipps.Keys{ClientID: "id", ClientSecret: "secret", SubscriptionKey: "key"}, vipps.System{Name: "a", Version: "1", PluginName: "b", PluginVersion: "2"}, func(string, int, time.Duration) {})
	client.HTTP.Transport = f
	t.Cleanup(client.Stop)
	return &Desk{
		Store:  Store{Shared: store.New(storage), Memory: NewMemory(), Keys: sealtest.Keys(t)},
		Client: client, Unit: &merchant.Unit{MSN: deskMSN, Scope: "openid name"}, MSN: deskMSN,
		Check: f.check, Outcomes: f, Logger: zap.NewNop(), Stopping: make(chan struct{}),
	}, f, storage
}

// start asks Kari to confirm.
func (d *Desk) start(t *testing.T, finish string) *Login {
	t.Helper()
	l, err := d.Start(t.Context(), vipps.PhoneRequest{Scope: "openid name", LoginHint: "urn:msisdn:" + kari}, kari, finish, "/welcome")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// inBubble runs a test with a desk and a clock of its own.
func inBubble(t *testing.T, test func(t *testing.T, d *Desk, f *fakeVipps, storage *storetest.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, f, storage := newDesk(t)
		defer d.Client.Stop()
		test(t, d, f, storage)
	})
}

// TestDeskCompletes: a login is pending until the user has confirmed, is polled no more often than the interval, however
// many callers wait, and is complete for all of them.
func TestDeskCompletes(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, _ *storetest.Memory) {
		l := d.start(t, FinishApp)
		if l.Status != Pending || l.Interval != 5*time.Second || len(l.ID) != 22 || f.asked[0].Get("login_hint") != "urn:msisdn:"+kari || f.asked[0].Get("nonce") != l.Nonce {
			t.Fatalf("started as %+v, asked %v", l, f.asked)
		}
		began := time.Now()
		if got, err := d.Wait(t.Context(), l.ID, 0); err != nil || got.Status != Pending || time.Since(began) != 0 {
			t.Errorf("without a wait: %+v %v", got, err)
		}
		if got, err := d.Wait(t.Context(), l.ID, 12*time.Second); err != nil || got.Status != Pending || time.Since(began) != 12*time.Second {
			t.Errorf("after %s: %+v %v", time.Since(began), got, err)
		}
		var all sync.WaitGroup
		ends := make([]*Login, 20)
		for i := range ends {
			all.Go(func() { ends[i], _ = d.Wait(t.Context(), l.ID, 55*time.Second) })
		}
		time.Sleep(20 * time.Second)
		f.set(func(f *fakeVipps) { f.tokens = tokensAnswer })
		all.Wait()
		if most := int(time.Since(began)/(5*time.Second)) + 1; len(f.polls) > most {
			t.Errorf("%d polls in %s", len(f.polls), time.Since(began))
		}
		for _, end := range ends {
			if end == nil || end.Status != Complete || !strings.Contains(end.Userinfo, "kari-at-this-shop") || end.Tokens != nil {
				t.Fatalf("ended as %+v", end)
			}
		}
		if got := strings.Join(f.outcomes, ", "); got != "phone started, phone completed" {
			t.Errorf("outcomes: %s", got)
		}
	})
}

// TestDeskSlowsDown: slow_down adds five seconds to the interval, for all later polls (OpenID CIBA Core section 11).
func TestDeskSlowsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, _ *storetest.Memory) {
		l := d.start(t, FinishApp)
		f.set(func(f *fakeVipps) { f.tokens = `{"error":"slow_down"}` })
		_, _ = d.Wait(t.Context(), l.ID, 6*time.Second)
		f.set(func(f *fakeVipps) { f.tokens = pendingAnswer })
		_, _ = d.Wait(t.Context(), l.ID, 40*time.Second)
		if len(f.polls) < 4 {
			t.Fatalf("%d polls", len(f.polls))
		}
		for i, at := range f.polls[1:] {
			if gap := at.Sub(f.polls[i]); gap < 10*time.Second {
				t.Errorf("poll %d came after %s", i+1, gap)
			}
		}
	})
}

// TestDeskEnds: how a login ends that is not completed, and that it can be read for five minutes then.
func TestDeskEnds(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(*fakeVipps)
		want    Status
		reason  string
	}{
		"denied":         {func(f *fakeVipps) { f.tokens = deniedAnswer }, Denied, "access_denied"},
		"another number": {func(f *fakeVipps) { f.tokens, f.number = tokensAnswer, "4787654321" }, Failed, "other_number"},
		"another login":  {func(f *fakeVipps) { f.tokens, f.names = tokensAnswer, "r9" }, Failed, "reason"},
		"no answer":      {func(*fakeVipps) {}, Expired, "expired_token"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, _ *storetest.Memory) {
				l := d.start(t, FinishApp)
				f.set(test.prepare)
				got, err := d.Wait(t.Context(), l.ID, 11*time.Minute)
				if err != nil || got.Status != test.want || got.Error != test.reason || got.Userinfo != "" {
					t.Fatalf("%+v %v", got, err)
				}
				polls := len(f.polls)
				time.Sleep(time.Minute)
				if again, err := d.Wait(t.Context(), l.ID, time.Minute); err != nil || again.Status != test.want || len(f.polls) != polls {
					t.Errorf("a minute later: %+v %v, %d polls more", again, err, len(f.polls)-polls)
				}
				time.Sleep(20 * time.Minute)
				if _, err := d.Wait(t.Context(), l.ID, 0); !errors.Is(err, ErrUnknown) {
					t.Errorf("much later: %v", err)
				}
			})
		})
	}
}

// TestDeskIsAskedTooOften: nobody's phone rings more than five times in ten minutes, whatever the login's end.
func TestDeskIsAskedTooOften(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, _ *storetest.Memory) {
		for range maxAsked {
			d.start(t, FinishApp)
			time.Sleep(time.Minute)
		}
		_, err := d.Start(t.Context(), vipps.PhoneRequest{LoginHint: "urn:msisdn:" + kari}, kari, FinishApp, "")
		var often AskedTooOften
		if !errors.As(err, &often) || often.Wait != 5*time.Minute || len(f.asked) != maxAsked {
			t.Fatalf("%v, asked %d times", err, len(f.asked))
		}
		time.Sleep(often.Wait)
		d.start(t, FinishApp)
	})
}

// TestDeskIsPinged: a ping makes the next poll come at once, a second one changes nothing, and one for a login that is
// not known here is an error.
func TestDeskIsPinged(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, _ *storetest.Memory) {
		l := d.start(t, FinishApp)
		f.set(func(f *fakeVipps) { f.tokens = tokensAnswer })
		began := time.Now()
		ended := make(chan *Login, 1)
		go func() {
			got, _ := d.Wait(t.Context(), l.ID, time.Minute)
			ended <- got
		}()
		synctest.Wait()
		for range 2 {
			if err := d.Ping(t.Context(), []byte(`{"auth_req_id":"r1"}`)); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-ended; got.Status != Complete || time.Since(began) > time.Second {
			t.Errorf("%s after %s", got.Status, time.Since(began))
		}
		if err := d.Ping(t.Context(), []byte(`{"auth_req_id":"r9"}`)); !errors.Is(err, ErrUnknown) {
			t.Errorf("an unknown login: %v", err)
		}
		if err := d.Ping(t.Context(), []byte(`auth_req_id=r1`)); !errors.Is(err, ErrPing) {
			t.Errorf("no JSON: %v", err)
		}
	})
}

// TestDeskCompletesInBrowser: a code completes the login that its ID token names, once, and no other; polls never spend it.
func TestDeskCompletesInBrowser(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, _ *storetest.Memory) {
		l, other := d.start(t, FinishBrowser), d.start(t, FinishApp)
		f.set(func(f *fakeVipps) { f.tokens, f.names = tokensAnswer, "r1" })
		polls := len(f.polls)
		for range 3 {
			time.Sleep(6 * time.Second)
			if got, err := d.Wait(t.Context(), l.ID, 0); err != nil || got.Status != Pending || len(f.polls) != polls {
				t.Fatalf("polled: %+v %v", got, err)
			}
		}
		for _, named := range []string{"", "r9", "r2"} { // nothing, an unknown login, and one that does not end in a browser
			f.set(func(f *fakeVipps) { f.names = named })
			if _, _, err := d.Complete(t.Context(), "code"); !errors.Is(err, ErrUnknown) {
				t.Errorf("a code for %q: %v", named, err)
			}
		}
		f.set(func(f *fakeVipps) { f.names = "r1" })
		elsewhere := *d
		elsewhere.MSN = "234567"
		if _, _, err := elsewhere.Complete(t.Context(), "code"); !errors.Is(err, ErrUnknown) {
			t.Errorf("at another merchant: %v", err)
		}
		done, claims, err := d.Complete(t.Context(), "code")
		if err != nil || done.Status != Complete || done.ReturnTo != "/welcome" || len(claims) != 2 {
			t.Fatalf("%+v %v %v", done, claims, err)
		}
		if _, _, err := d.Complete(t.Context(), "code"); !errors.Is(err, ErrUnknown) {
			t.Errorf("a second time: %v", err)
		}
		if got, err := d.Wait(t.Context(), other.ID, 0); err != nil || got.Error != "reason" && got.Status != Pending {
			t.Errorf("the other login: %+v %v", got, err)
		}
	})
}

// TestDeskForgets: a login that was removed is unknown at once, to those who wait for it as well.
func TestDeskForgets(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, _ *fakeVipps, storage *storetest.Memory) {
		l := d.start(t, FinishApp)
		ended := make(chan error, 1)
		go func() {
			_, err := d.Wait(t.Context(), l.ID, time.Minute)
			ended <- err
		}()
		synctest.Wait()
		began := time.Now()
		if err := d.Remove(t.Context(), l.ID, deskMSN); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, ErrUnknown) || time.Since(began) > time.Second {
			t.Errorf("who waits: %v after %s", err, time.Since(began))
		}
		for name := range storage.Files {
			if strings.HasPrefix(name, store.Prefix+"/phone_login/") || strings.HasPrefix(name, store.Prefix+"/phone_request/") {
				t.Errorf("%s is left", name)
			}
		}
	})
}

// TestDeskWithLyingStorage: a login is never unknown because the storage says of a failure that there is no such name. A till
// would give up on a login that the customer is about to confirm.
func TestDeskWithLyingStorage(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, storage *storetest.Memory) {
		l := d.start(t, FinishApp)
		storetest.Outages(4, 4, func(fails func(int64) bool, first, length int64) {
			other := Store{Shared: store.New(&storetest.Mannered{Memory: storage, Excludes: true, Fails: fails}), Memory: NewMemory(), Keys: d.Keys}
			if _, err := other.read(t.Context(), l.ID, deskMSN, time.Now()); errors.Is(err, ErrUnknown) {
				t.Errorf("an outage of %d calls from call %d: unknown", length, first)
			}
		})
	})
}

// TestDeskWithoutStorage: a login that cannot be stored is not begun, and one that cannot be read is not unknown.
func TestDeskWithoutStorage(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, storage *storetest.Memory) {
		l := d.start(t, FinishApp)
		time.Sleep(2 * time.Second) // what is known of it in memory is too old
		storage.SetAway(true)
		if _, err := d.Start(t.Context(), vipps.PhoneRequest{LoginHint: "urn:msisdn:4711111111"}, "4711111111", FinishApp, ""); !errors.Is(err, store.ErrUnavailable) || len(f.asked) != 1 {
			t.Errorf("started: %v, and the phone rang %d times", err, len(f.asked))
		}
		if _, err := d.Wait(t.Context(), l.ID, 0); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("read: %v", err)
		}
		storage.SetAway(false)
		if got, err := d.Wait(t.Context(), l.ID, 0); err != nil || got.Status != Pending {
			t.Errorf("afterwards: %+v %v", got, err)
		}
	})
}
