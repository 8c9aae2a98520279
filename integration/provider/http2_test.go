package provider_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestProviderOverHTTP2 runs the tests of what Vipps MobilePay may answer over HTTPS and HTTP/2, as it is reached in
// production. Without it they talk HTTP/1.1 in the clear.
func TestProviderOverHTTP2(t *testing.T) {
	harness.OverHTTP2 = true
	defer func() { harness.OverHTTP2 = false }()
	for name, test := range map[string]func(*testing.T){
		"ProviderFaults": TestProviderFaults, "ProviderErrors": TestProviderErrors, "NoAnswer": TestNoAnswer,
		"AnotherIssuer": TestAnotherIssuer, "PartnerTokenRenewedOn401": TestPartnerTokenRenewedOn401, "Reload": TestReload,
		"VippsDown": TestVippsDown, "KeyRotation": TestKeyRotation, "OwnKeys": TestOwnKeys,
		"KeysVanishAndReturn": TestKeysVanishAndReturn, "KeyRotationUnderLoad": TestKeyRotationUnderLoad,
	} {
		t.Run(name, test)
	}
}

// relay hands on TCP connections, until it is told to let those there are hang: they stay open, and nothing goes
// through any more. New ones work.
type relay struct {
	net.Listener
	mu      sync.Mutex
	hanging chan struct{} // closed for the connections of now
	opened  int
}

func newRelay(t *testing.T, to string) *relay {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: listener, hanging: make(chan struct{})}
	var conns sync.WaitGroup
	stop := make(chan struct{})
	conns.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			onward, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				continue
			}
			r.mu.Lock()
			r.opened++
			hanging := r.hanging
			r.mu.Unlock()
			conns.Go(func() { <-stop; from.Close(); onward.Close() })
			conns.Go(func() { pass(onward, from, hanging, stop) })
			conns.Go(func() { pass(from, onward, hanging, stop) })
		}
	})
	t.Cleanup(func() { listener.Close(); close(stop); conns.Wait() })
	return r
}

// pass hands on what comes, until it has to hang.
func pass(to, from net.Conn, hanging, stop <-chan struct{}) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-hanging:
			<-stop
			return
		default:
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

// hang lets the connections of now hang.
func (r *relay) hang() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.hanging)
	r.hanging = make(chan struct{})
}

// TestHungConnection: a connection over HTTP/2 that hangs costs a login or two some seconds, and no login more.
func TestHungConnection(t *testing.T) {
	harness.OverHTTP2 = true
	defer func() { harness.OverHTTP2 = false }()
	w := harness.NewWorld(t)
	between := newRelay(t, strings.TrimPrefix(w.Vipps.URL, "https://"))
	address := "https://" + between.Addr().String()
	w.Vars = strings.NewReplacer("$VIPPS", address, "$HTTP", fmt.Sprint(w.HTTP), "$UPSTREAM", strings.TrimPrefix(w.Upstream.URL, "http://"))
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	if between.opened == 0 {
		t.Fatal("nothing goes through the relay")
	}
	between.hang()
	failed, began := 0, time.Now()
	for range 10 {
		if a := harness.NewBrowser(t).Login(shop+"/", harness.Kari); a.StatusCode != http.StatusOK {
			failed++
		}
	}
	t.Logf("%d of 10 logins failed, in %s", failed, time.Since(began).Round(time.Millisecond))
	if failed > 1 || time.Since(began) > 10*time.Second {
		t.Error("a connection that hangs is not dropped")
	}
}

// TestKeyRotationUnderLoad: of twenty callbacks at once with a key that nobody knows yet, all complete, and the key
// set is fetched once.
func TestKeyRotationUnderLoad(t *testing.T) {
	for name, slow := range map[string]time.Duration{"at once": 0, "a key set that takes a while": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			w := harness.NewWorld(t)
			w.Load(harness.TwoShops)
			shop := w.Shop("shop-a.localhost")
			harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
			w.Vipps.Answer(harness.PathKeys, func(rw http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(slow):
				case <-r.Context().Done():
				}
				w.Vipps.Sim.ServeHTTP(rw, r)
			})
			type waiting struct {
				b        *harness.Browser
				callback string
			}
			var all []waiting
			for range 20 {
				b := harness.NewBrowser(t)
				all = append(all, waiting{b, b.Approved(shop+"/", harness.Kari).RedirectTo()})
			}
			w.Vipps.Sim.RotateKey()
			w.Vipps.Counted()
			var done sync.WaitGroup
			for _, each := range all {
				done.Go(func() {
					if a := each.b.Get(each.callback); a.StatusCode != http.StatusFound {
						t.Errorf("%d", a.StatusCode)
					}
				})
			}
			done.Wait()
			if got := w.Vipps.Counted(); got[harness.PathKeys] != 1 {
				t.Errorf("%d fetches of the key set", got[harness.PathKeys])
			}
		})
	}
}

// TestOldKeyID: a code that was given before a rotation, and is redeemed after it, gives a token with the old key's
// id and the new key's signature.
func TestOldKeyID(t *testing.T) {
	for _, rotations := range []int{1, 2} { // with two, the old key is not in the set any more
		w := harness.NewWorld(t)
		w.Load(harness.TwoShops)
		shop := w.Shop("shop-a.localhost")
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
		var old any
		w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(header, _ map[string]any) { old = header["kid"] }})
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
		b := harness.NewBrowser(t)
		callback := b.Approved(shop+"/", harness.Kari).RedirectTo()
		for range rotations {
			w.Vipps.Sim.RotateKey()
		}
		w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(header, _ map[string]any) { header["kid"] = old }})
		b.Get(callback).WantStatus(t, http.StatusFound)
		w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(header, _ map[string]any) { header["kid"] = "public:never-there" }})
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusBadGateway)
	}
}

// TestDocumentsThatMustNotBeKept are kept for minutes all the same: five logins take one fetch of each.
func TestDocumentsThatMustNotBeKept(t *testing.T) {
	w := harness.NewWorld(t)
	w.Vipps.Sim.SetFaults(simulator.Faults{NoStore: true})
	w.Load(harness.TwoShops)
	for range 5 {
		harness.NewBrowser(t).Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
	}
	if got := w.Vipps.Counted(); got[harness.PathDiscovery] != 1 || got[harness.PathKeys] != 1 {
		t.Errorf("calls: %v", got)
	}
}

// TestClosedConnection: the token call goes over a connection that the server has just closed. It is tried once more;
// a phone's, which may have been heard, is not.
func TestClosedConnection(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	var broken atomic.Int64
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		if broken.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	// The code arrived, and the answer was lost: it is refused the second time.
	broken.Store(0)
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		if broken.Add(1) == 1 {
			w.Vipps.Sim.ServeHTTP(new(nobody), r)
			panic(http.ErrAbortHandler)
		}
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	b := harness.NewBrowser(t)
	b.Get(b.Approved(shop+"/", harness.Kari).RedirectTo()).WantStatus(t, http.StatusBadRequest)
	if broken.Load() != 2 {
		t.Errorf("%d calls", broken.Load())
	}
	w.Vipps.Answer(harness.PathToken, func(http.ResponseWriter, *http.Request) { broken.Add(1); panic(http.ErrAbortHandler) })
	broken.Store(0)
	b = harness.NewBrowser(t)
	b.Get(b.Approved(shop+"/", harness.Kari).RedirectTo()).WantStatus(t, http.StatusGatewayTimeout)
	if broken.Load() != 2 {
		t.Errorf("%d calls", broken.Load())
	}
}

// nobody hears an answer.
type nobody struct{ header http.Header }

func (n *nobody) Header() http.Header {
	if n.header == nil {
		n.header = make(http.Header)
	}
	return n.header
}

func (*nobody) Write(b []byte) (int, error) { return len(b), nil }

func (*nobody) WriteHeader(int) {}

// TestCodeRedeemedElsewhere: the code comes a second time, from another instance, and the first access token is
// revoked before userinfo was read.
func TestCodeRedeemedElsewhere(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		w.Vipps.Sim.ServeHTTP(rw, r)
		w.Vipps.Sim.ServeHTTP(new(nobody), r) // the other instance's
	})
	b := harness.NewBrowser(t)
	b.Get(b.Approved(shop+"/", harness.Kari).RedirectTo()).WantStatus(t, http.StatusBadRequest)
	if line := harness.LineWith(w.Logged(), `"msg":"login failed"`); !strings.Contains(line, `"reason":"code_refused"`) || strings.Contains(line, `"level":"error"`) {
		t.Errorf("log: %s", line)
	}
}

// TestRevokedTokenBesideAMisconfiguredMerchant: a merchant for whom every token is refused does not cost a token for
// each of its logins, and does not keep a token that was really revoked from being replaced.
func TestRevokedTokenBesideAMisconfiguredMerchant(t *testing.T) {
	for name, refusal := range map[string]string{"about the token": `{"error":"invalid_token"}`, "about the client": `{"error":"invalid_client"}`} {
		t.Run(name, func(t *testing.T) {
			w := harness.NewWorld(t)
			w.Load(harness.TwoShops)
			revoked := ""
			w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
				switch {
				case r.Header.Get("Merchant-Serial-Number") == "234567":
					harness.WithStatus(401, refusal)(rw, r)
				case r.Header.Get("Authorization") == revoked:
					harness.WithStatus(401, `{"error":"invalid_token"}`)(rw, r)
				default:
					w.Vipps.Sim.ServeHTTP(rw, r)
				}
			})
			good, bad := w.Shop("shop-a.localhost"), w.Shop("shop-b.localhost")
			harness.NewBrowser(t).Login(good+"/", harness.Kari).WantStatus(t, http.StatusOK)
			w.Vipps.Counted()
			for range 10 {
				harness.NewBrowser(t).Login(bad+"/account/", harness.Kari).WantStatus(t, http.StatusBadGateway)
				harness.NewBrowser(t).Login(good+"/", harness.Kari).WantStatus(t, http.StatusOK)
			}
			want := 1
			if name == "about the client" {
				want = 0
			}
			if got := w.Vipps.Counted(); got[harness.PathAccessToken] != want {
				t.Errorf("%d tokens, want %d", got[harness.PathAccessToken], want)
			}
			requests := w.Vipps.Requests(harness.PathToken)
			revoked = requests[len(requests)-1].Header.Get("Authorization")
			harness.NewBrowser(t).Login(good+"/", harness.Kari).WantStatus(t, http.StatusOK)
			harness.NewBrowser(t).Login(good+"/", harness.Kari).WantStatus(t, http.StatusOK)
			if got := w.Vipps.Counted(); got[harness.PathAccessToken] != 1 {
				t.Errorf("%d tokens after it was revoked", got[harness.PathAccessToken])
			}
		})
	}
}
