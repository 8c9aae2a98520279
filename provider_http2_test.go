package vippslogin_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestProviderOverHTTP2 runs the tests of what Vipps MobilePay may answer over HTTPS and HTTP/2, as it is reached in
// production. Without it they talk HTTP/1.1 in the clear.
func TestProviderOverHTTP2(t *testing.T) {
	overHTTP2 = true
	defer func() { overHTTP2 = false }()
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
	overHTTP2 = true
	defer func() { overHTTP2 = false }()
	w := newWorld(t)
	between := newRelay(t, strings.TrimPrefix(w.vipps.URL, "https://"))
	address := "https://" + between.Addr().String()
	w.vars = strings.NewReplacer("$VIPPS", address, "$HTTP", fmt.Sprint(w.http), "$UPSTREAM", strings.TrimPrefix(w.upstream.URL, "http://"))
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
	if between.opened == 0 {
		t.Fatal("nothing goes through the relay")
	}
	between.hang()
	failed, began := 0, time.Now()
	for range 10 {
		if a := newBrowser(t).login(shop+"/", kari); a.StatusCode != http.StatusOK {
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
			w := newWorld(t)
			w.load(twoShops)
			shop := w.shop("shop-a.localhost")
			newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
			w.vipps.answer(pathKeys, func(rw http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(slow):
				case <-r.Context().Done():
				}
				w.vipps.sim.ServeHTTP(rw, r)
			})
			type waiting struct {
				b        *browser
				callback string
			}
			var all []waiting
			for range 20 {
				b := newBrowser(t)
				all = append(all, waiting{b, b.approved(shop+"/", kari).location()})
			}
			w.vipps.sim.RotateKey()
			w.vipps.counted()
			var done sync.WaitGroup
			for _, each := range all {
				done.Go(func() {
					if a := each.b.get(each.callback); a.StatusCode != http.StatusFound {
						t.Errorf("%d", a.StatusCode)
					}
				})
			}
			done.Wait()
			if got := w.vipps.counted(); got[pathKeys] != 1 {
				t.Errorf("%d fetches of the key set", got[pathKeys])
			}
		})
	}
}

// TestOldKeyID: a code that was given before a rotation, and is redeemed after it, gives a token with the old key's
// id and the new key's signature.
func TestOldKeyID(t *testing.T) {
	for _, rotations := range []int{1, 2} { // with two, the old key is not in the set any more
		w := newWorld(t)
		w.load(twoShops)
		shop := w.shop("shop-a.localhost")
		newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
		var old any
		w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(header, _ map[string]any) { old = header["kid"] }})
		newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
		b := newBrowser(t)
		callback := b.approved(shop+"/", kari).location()
		for range rotations {
			w.vipps.sim.RotateKey()
		}
		w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(header, _ map[string]any) { header["kid"] = old }})
		b.get(callback).wantStatus(t, http.StatusFound)
		w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(header, _ map[string]any) { header["kid"] = "public:never-there" }})
		newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusBadGateway)
	}
}

// TestDocumentsThatMustNotBeKept are kept for minutes all the same: five logins take one fetch of each.
func TestDocumentsThatMustNotBeKept(t *testing.T) {
	w := newWorld(t)
	w.vipps.sim.SetFaults(simulator.Faults{NoStore: true})
	w.load(twoShops)
	for range 5 {
		newBrowser(t).login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)
	}
	if got := w.vipps.counted(); got[pathDiscovery] != 1 || got[pathKeys] != 1 {
		t.Errorf("calls: %v", got)
	}
}

// TestClosedConnection: the token call goes over a connection that the server has just closed. It is tried once more;
// a phone's, which may have been heard, is not.
func TestClosedConnection(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	var broken atomic.Int64
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		if broken.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		w.vipps.sim.ServeHTTP(rw, r)
	})
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
	// The code arrived, and the answer was lost: it is refused the second time.
	broken.Store(0)
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		if broken.Add(1) == 1 {
			w.vipps.sim.ServeHTTP(new(nobody), r)
			panic(http.ErrAbortHandler)
		}
		w.vipps.sim.ServeHTTP(rw, r)
	})
	b := newBrowser(t)
	b.get(b.approved(shop+"/", kari).location()).wantStatus(t, http.StatusBadRequest)
	if broken.Load() != 2 {
		t.Errorf("%d calls", broken.Load())
	}
	w.vipps.answer(pathToken, func(http.ResponseWriter, *http.Request) { broken.Add(1); panic(http.ErrAbortHandler) })
	broken.Store(0)
	b = newBrowser(t)
	b.get(b.approved(shop+"/", kari).location()).wantStatus(t, http.StatusGatewayTimeout)
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
func (*nobody) WriteHeader(int)             {}

// TestCodeRedeemedElsewhere: the code comes a second time, from another instance, and the first access token is
// revoked before userinfo was read.
func TestCodeRedeemedElsewhere(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		w.vipps.sim.ServeHTTP(rw, r)
		w.vipps.sim.ServeHTTP(new(nobody), r) // the other instance's
	})
	b := newBrowser(t)
	b.get(b.approved(shop+"/", kari).location()).wantStatus(t, http.StatusBadRequest)
	if line := lineWith(w.logged(), `"msg":"login failed"`); !strings.Contains(line, `"reason":"code_refused"`) || strings.Contains(line, `"level":"error"`) {
		t.Errorf("log: %s", line)
	}
}

// TestRevokedTokenBesideAMisconfiguredMerchant: a merchant for whom every token is refused does not cost a token for
// each of its logins, and does not keep a token that was really revoked from being replaced.
func TestRevokedTokenBesideAMisconfiguredMerchant(t *testing.T) {
	for name, refusal := range map[string]string{"about the token": `{"error":"invalid_token"}`, "about the client": `{"error":"invalid_client"}`} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.load(twoShops)
			revoked := ""
			w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
				switch {
				case r.Header.Get("Merchant-Serial-Number") == "234567":
					status(401, refusal)(rw, r)
				case r.Header.Get("Authorization") == revoked:
					status(401, `{"error":"invalid_token"}`)(rw, r)
				default:
					w.vipps.sim.ServeHTTP(rw, r)
				}
			})
			good, bad := w.shop("shop-a.localhost"), w.shop("shop-b.localhost")
			newBrowser(t).login(good+"/", kari).wantStatus(t, http.StatusOK)
			w.vipps.counted()
			for range 10 {
				newBrowser(t).login(bad+"/account/", kari).wantStatus(t, http.StatusBadGateway)
				newBrowser(t).login(good+"/", kari).wantStatus(t, http.StatusOK)
			}
			want := 1
			if name == "about the client" {
				want = 0
			}
			if got := w.vipps.counted(); got[pathAccessToken] != want {
				t.Errorf("%d tokens, want %d", got[pathAccessToken], want)
			}
			requests := w.vipps.requests(pathToken)
			revoked = requests[len(requests)-1].Header.Get("Authorization")
			newBrowser(t).login(good+"/", kari).wantStatus(t, http.StatusOK)
			newBrowser(t).login(good+"/", kari).wantStatus(t, http.StatusOK)
			if got := w.vipps.counted(); got[pathAccessToken] != 1 {
				t.Errorf("%d tokens after it was revoked", got[pathAccessToken])
			}
		})
	}
}
