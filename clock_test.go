package vippslogin

import (
	"bytes"
	"context"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/identity"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// bubble is the handler and a Vipps MobilePay in one process without a network, so that a test can have a
// clock of its own (testing/synctest) and run a day, or 10,000 logins, in seconds.
type bubble struct {
	t       *testing.T
	handler *Handler
	sim     *simulator.Simulator

	mu    sync.Mutex // guards the rest: what is kept is renewed in the background
	calls map[string]int
	fault func(r *http.Request) (*http.Response, error) // nil, or what a call gets
}

const bubbleVipps = "http://vipps.localhost"

// newBubble makes the simulator outside the bubble's clock: making keys is what takes longest.
func newBubble(t *testing.T, tokenLife time.Duration) *bubble {
	t.Helper()
	b := &bubble{t: t, calls: map[string]int{}}
	var err error
	b.sim, err = simulator.New(simulator.Config{
		Partner:       simulator.Partner{ClientID: "id", ClientSecret: "secret", SubscriptionKey: "key"},
		Merchants:     []simulator.Merchant{{MSN: "123456", RedirectURIs: []string{"http://shop.localhost/vipps/callback"}}},
		TokenLifetime: caddy.Duration(tokenLife),
	})
	if err != nil {
		t.Fatal(err)
	}
	app := &App{storage: store.New(storetest.New()), opened: session.NewOpened()}
	app.keys.Store(sealtest.Keys(t))
	app.shared = &shared{client: vipps.NewClient(bubbleVipps, vipps.Keys{ClientID: "id", ClientSecret: "secret", SubscriptionKey: "key"}, vipps.System{Name: "a", Version: "1", PluginName: "b", PluginVersion: "2"}, counted.observeCall), phones: phone.NewMemory(), revocations: revocation.NewList(), refusedCodes: login.NewRefusedCodes()}
	app.shared.client.HTTP.Transport = b
	t.Cleanup(app.shared.client.Stop)
	h := &Handler{app: app, logger: zap.NewNop(), sessionResults: counted.sessionResults(""), browserStarts: counted.started.WithLabelValues(flowBrowser, "")}
	h.setDefaults()
	if err := h.provisionSession(); err != nil {
		t.Fatal(err)
	}
	h.identity = identity.New(h.HeaderPrefix, h.HeaderEncoding, nil, "")
	h.paths = newEndpointPaths(h.BasePath)
	h.endpoints = h.newEndpoints()
	hosts := merchant.NewHosts()
	if err := hosts.Add("shop.localhost", &merchant.Unit{MSN: "123456", Scope: "openid name"}); err != nil {
		t.Fatal(err)
	}
	h.hosts.Store(hosts)
	b.handler = h
	return b
}

// RoundTrip answers a call to Vipps MobilePay.
func (b *bubble) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	b.calls[r.URL.Path]++
	fault := b.fault
	b.mu.Unlock()
	if fault != nil {
		if resp, err := fault(r); resp != nil || err != nil {
			return resp, err
		}
	}
	return b.serve(r), nil
}

// setFault replaces what calls get; nil is the simulator's answer.
func (b *bubble) setFault(fault func(r *http.Request) (*http.Response, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = fault
}

// counted returns how often a path was called since it was last asked.
func (b *bubble) counted(path string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.calls[path]
	delete(b.calls, path)
	return n
}

// serve has the simulator answer.
func (b *bubble) serve(r *http.Request) *http.Response {
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr, in.Host = r.URL.RequestURI(), "127.0.0.1:1", r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	b.sim.ServeHTTP(w, in)
	return w.Result()
}

// ask sends a navigation to the site.
func (b *bubble) ask(target string, cookies map[string]string) *http.Response {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Accept", "text/html")
	for name, value := range cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, w, new(caddyhttp.Server))
	err := b.handler.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
	if err != nil {
		b.t.Fatal(err)
	}
	resp := w.Result()
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 {
			delete(cookies, c.Name)
		} else {
			cookies[c.Name] = c.Value
		}
	}
	return resp
}

var bubbleTransaction = regexp.MustCompile(`name="transaction" value="([^"]*)"`)

// approved has Kari approve a login, and returns the callback.
func (b *bubble) approved(location string) string {
	b.t.Helper()
	resp := b.serve(httptest.NewRequest(http.MethodGet, location, nil))
	for resp.StatusCode == http.StatusFound {
		next, err := url.Parse(location)
		if err == nil {
			next, err = next.Parse(resp.Header.Get("Location"))
		}
		if err != nil {
			b.t.Fatal(err)
		}
		location = next.String()
		resp = b.serve(httptest.NewRequest(http.MethodGet, location, nil))
	}
	page, _ := io.ReadAll(resp.Body)
	field := bubbleTransaction.FindSubmatch(page)
	if field == nil {
		b.t.Fatalf("no consent page: %d %s", resp.StatusCode, page)
	}
	action := bubbleVipps + "/_simulator/consent"
	if found := regexp.MustCompile(`<form[^>]* action="([^"]*)"`).FindSubmatch(page); found != nil {
		base, _ := url.Parse(location)
		to, err := base.Parse(html.UnescapeString(string(found[1])))
		if err != nil {
			b.t.Fatal(err)
		}
		action = to.String()
	}
	form := url.Values{"transaction": {html.UnescapeString(string(field[1]))}, "user": {"4712345678"}, "answer": {"approve"}}
	r := httptest.NewRequest(http.MethodPost, action, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp = b.serve(r)
	if resp.Header.Get("Location") == "" {
		body, _ := io.ReadAll(resp.Body)
		b.t.Fatalf("not approved: %d %s", resp.StatusCode, body)
	}
	return resp.Header.Get("Location")
}

// login logs Kari in, and returns the cookies and the status of what she sees in the end.
func (b *bubble) login() (cookies map[string]string, status int) {
	b.t.Helper()
	cookies = map[string]string{}
	start := b.ask("http://shop.localhost/", cookies)
	if start.StatusCode != http.StatusFound {
		return cookies, start.StatusCode
	}
	done := b.ask(b.approved(start.Header.Get("Location")), cookies)
	if done.StatusCode != http.StatusFound {
		return cookies, done.StatusCode
	}
	return cookies, b.ask(done.Header.Get("Location"), cookies).StatusCode
}

// TestADayOfLogins: every five minutes for 24 hours somebody logs in, while partner tokens live for an hour,
// the discovery document for an hour, and the keys rotate every two hours; an outage of an hour in the middle
// ends by itself. A clock of its own makes it seconds.
func TestADayOfLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, time.Hour)
		start := time.Now()
		first, status := b.login()
		if status != http.StatusOK {
			t.Fatalf("the first login: %d", status)
		}
		var lost, during int
		for i := range 24 * 12 {
			time.Sleep(5 * time.Minute)
			if i%24 == 23 {
				b.sim.RotateKey()
			}
			outage := i >= 120 && i < 132
			b.setFault(nil)
			if outage {
				b.setFault(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
			}
			if _, status := b.login(); outage {
				during++
				if status != http.StatusGatewayTimeout {
					t.Errorf("after %s, in the outage: %d", time.Since(start), status)
				}
			} else if status != http.StatusOK {
				lost++
				t.Errorf("after %s: %d", time.Since(start), status)
			}
			if got, want := b.ask("http://shop.localhost/", first).StatusCode, map[bool]int{true: 200, false: 302}[time.Since(start) < 12*time.Hour]; got != want && !outage {
				t.Errorf("the first session after %s: %d", time.Since(start), got)
			}
		}
		t.Logf("%d lost, %d in the outage", lost, during)
		for path, most := range map[string]int{"/accesstoken/get": 60, "/access-management-1.0/access/.well-known/openid-configuration": 90, "/access-management-1.0/access/.well-known/jwks.json": 80} {
			if n := b.counted(path); n < 20 || n > most {
				t.Errorf("%s was called %d times in a day", path, n)
			}
		}
		b.handler.app.shared.client.Stop()
	})
}

// silence never answers; trickle sends a byte a second for ever.
func silence(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func trickle(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(drip{r.Context()}), Request: r}, nil
}

type drip struct{ ctx context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		return copy(p[:1], " "), nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

// TestNoAnswerAtAnyCall: at whatever call Vipps MobilePay is silent, or sends byte by byte, the person has an
// answer before a browser gives up, and the next login works.
func TestNoAnswerAtAnyCall(t *testing.T) {
	for name, fault := range map[string]func(*http.Request) (*http.Response, error){"silence": silence, "byte by byte": trickle} {
		for _, path := range []string{"/accesstoken/get", "/access-management-1.0/access/.well-known/openid-configuration", "/access-management-1.0/access/.well-known/jwks.json",
			"/access-management-1.0/access/oauth2/token", "/vipps-userinfo-api/userinfo"} {
			t.Run(name+" "+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBubble(t, time.Hour)
					b.setFault(func(r *http.Request) (*http.Response, error) {
						if r.URL.Path != path {
							return nil, nil
						}
						return fault(r)
					})
					began := time.Now()
					if _, status := b.login(); status != http.StatusGatewayTimeout || time.Since(began) > 12*time.Second || time.Since(began) < 9*time.Second {
						t.Errorf("%d after %s", status, time.Since(began))
					}
					b.setFault(nil)
					began = time.Now()
					if _, status := b.login(); status != http.StatusOK || time.Since(began) > time.Second {
						t.Errorf("the next login: %d after %s", status, time.Since(began))
					}
					b.handler.app.shared.client.Stop()
				})
			})
		}
	}
}

// TestKeysBehindTheSignature: tokens are signed with a key that the key set has not got yet. Logins fail as
// 502, the key set is asked for every ten seconds at most, and logins work as soon as it has the key.
func TestKeysBehindTheSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, time.Hour)
		const keys = "/access-management-1.0/access/.well-known/jwks.json"
		old := b.serve(httptest.NewRequest(http.MethodGet, bubbleVipps+keys, nil))
		stale, _ := io.ReadAll(old.Body)
		b.login()
		b.sim.RotateKey()
		b.sim.RotateKey() // the old one is not in the key set any more either
		b.setFault(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != keys {
				return nil, nil
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(stale)), Request: r}, nil
		})
		b.counted(keys)
		for range 60 {
			time.Sleep(time.Second)
			if _, status := b.login(); status != http.StatusBadGateway {
				t.Fatalf("%d with a key that nobody knows", status)
			}
		}
		if n := b.counted(keys); n < 5 || n > 8 {
			t.Errorf("the keys were fetched %d times in a minute", n)
		}
		b.setFault(nil)
		time.Sleep(10 * time.Second)
		if _, status := b.login(); status != http.StatusOK {
			t.Errorf("%d after the keys are back", status)
		}
		b.handler.app.shared.client.Stop()
	})
}

// TestRequireMaxAge: a login is good for as long as max_age says, from when it was completed here, and logs in anew after
// that, as often as need be.
func TestRequireMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, time.Hour)
		defer b.handler.app.shared.client.Stop()
		b.handler.requirements = []requirement{{need: session.Need{MaxAge: 10 * time.Minute}}}
		const page = "http://shop.localhost/checkout/"
		cookies, status := b.login()
		if status != http.StatusOK {
			t.Fatalf("the first login: %d", status)
		}
		for range 3 {
			time.Sleep(10*time.Minute - time.Millisecond)
			if got := b.ask(page, cookies).StatusCode; got != http.StatusOK {
				t.Fatalf("just before: %d", got)
			}
			time.Sleep(time.Millisecond)
			start := b.ask(page, cookies)
			if start.StatusCode != http.StatusFound || strings.Contains(start.Header.Get("Location"), "max_age") {
				t.Fatalf("after ten minutes: %d %s", start.StatusCode, start.Header.Get("Location"))
			}
			time.Sleep(5 * time.Minute) // the person takes their time
			callback := b.approved(start.Header.Get("Location"))
			back := b.ask(callback, cookies)
			if got := b.ask(back.Header.Get("Location"), cookies).StatusCode; back.Header.Get("Location") != page || got != http.StatusOK {
				t.Fatalf("back: %s %d", back.Header.Get("Location"), got)
			}
		}
	})
}

// TestRequireLoops: clocks that differ by more than a max_age could send people round for ever. It ends with a page.
func TestRequireLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, time.Hour)
		defer b.handler.app.shared.client.Stop()
		b.handler.requirements = []requirement{{need: session.Need{MaxAge: time.Second}}}
		cookies, _ := b.login()
		for i := range 10 {
			time.Sleep(time.Second)
			start := b.ask("http://shop.localhost/", cookies)
			if start.StatusCode != http.StatusFound {
				t.Fatalf("login %d for more: %d", i+1, start.StatusCode)
			}
			b.ask(b.approved(start.Header.Get("Location")), cookies)
		}
		time.Sleep(time.Second)
		if got := b.ask("http://shop.localhost/", cookies); got.StatusCode != http.StatusLoopDetected || got.Header.Get("Retry-After") == "" {
			t.Errorf("the eleventh: %d", got.StatusCode)
		}
		time.Sleep(30 * time.Second)
		if got := b.ask("http://shop.localhost/", cookies).StatusCode; got != http.StatusFound {
			t.Errorf("half a minute later: %d", got)
		}
	})
}

// TestLoopEnds by itself after half a minute, and is seen where sessions end at once as well.
func TestLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, time.Hour)
		defer b.handler.app.shared.client.Stop()
		const address = "http://shop.localhost/vipps/login?return_to=/"
		cookies := map[string]string{}
		again := func() int {
			t.Helper()
			start := b.ask(address, cookies)
			if start.StatusCode != http.StatusFound {
				page, _ := io.ReadAll(start.Body)
				if !strings.Contains(string(page), "circles") {
					t.Errorf("%d: %s", start.StatusCode, page)
				}
				return start.StatusCode
			}
			return b.ask(b.approved(start.Header.Get("Location")), cookies).StatusCode
		}
		for i := range 3 {
			if status := again(); status != http.StatusFound {
				t.Fatalf("login %d: %d", i+1, status)
			}
			time.Sleep(10*time.Second - time.Millisecond)
		}
		if status := again(); status != http.StatusLoopDetected {
			t.Errorf("the fourth: %d", status)
		}
		time.Sleep(3 * time.Millisecond)
		if status := again(); status != http.StatusFound {
			t.Errorf("half a minute after the first: %d", status)
		}

		// Sessions that this instance takes for ones of the future, since its clock is behind by more than it forgives.
		cookies = map[string]string{}
		for range 3 {
			if status := again(); status != http.StatusFound {
				t.Fatalf("%d", status)
			}
			b.handler.lifetime = time.Nanosecond
			time.Sleep(2 * time.Second)
			if status := again(); status == http.StatusLoopDetected {
				return
			}
			b.handler.lifetime = 12 * time.Hour
		}
		t.Error("sessions that end at once make no loop")
	})
}
