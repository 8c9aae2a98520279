package vippslogin_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 has many calls on one connection
	}
	_ = conn.Close()
}

func truncated(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"sub":"`)
}

// TestProviderFaults: at every call, every kind of fault has its status, leaves no session, leaks
// nothing, and is gone at the next login.
func TestProviderFaults(t *testing.T) {
	huge := `{"access_token":"` + strings.Repeat("x", 2<<20) + `"}`
	for name, fault := range map[string]struct {
		answer http.HandlerFunc
		want   int
	}{
		"500":             {status(500, `{"secret":"leak"}`), 502},
		"502":             {status(502, "leak"), 502},
		"503":             {status(503, "leak"), 503},
		"429":             {status(429, "leak"), 503},
		"404":             {status(404, "leak"), 502},
		"204":             {status(204, ""), 502},
		"redirect":        {http.RedirectHandler("/_simulator/", http.StatusFound).ServeHTTP, 502},
		"empty":           {status(200, ""), 502},
		"HTML":            {status(200, "<html>leak</html>"), 502},
		"JSON string":     {status(200, `"leak"`), 502},
		"JSON array":      {status(200, `["leak"]`), 502},
		"empty object":    {status(200, `{}`), 502},
		"null":            {status(200, `null`), 502},
		"wrong types":     {status(200, `{"access_token":{"a":1},"id_token":7,"sub":["leak"],"issuer":4,"keys":"leak"}`), 502},
		"huge":            {status(200, huge), 502},
		"deep":            {status(200, strings.Repeat(`{"a":`, 200_000)), 502},
		"truncated":       {truncated, 502},
		"connection lost": {hangUp, 504},
	} {
		for _, path := range []string{pathDiscovery, pathKeys, pathAccessToken, pathToken, pathUserinfo} {
			t.Run(name+" "+path, func(t *testing.T) {
				w := newWorld(t)
				w.load(twoShops)
				w.vipps.answer(path, fault.answer)
				b := newBrowser(t)
				var a answer
				if path == pathDiscovery {
					a = b.get(w.shop("shop-a.localhost") + "/")
				} else {
					a = b.login(w.shop("shop-a.localhost")+"/", kari)
				}
				a.wantStatus(t, fault.want)
				if strings.Contains(a.body, "leak") || !strings.Contains(a.body, "Try again") {
					t.Errorf("page: %s", a.body)
				}
				if strings.Contains(w.logged(), "leak") {
					t.Error("the answer's text is in the log")
				}
				if strings.Contains(b.cookies(w.shop("shop-a.localhost")), "vipps_session") || w.upstream.count() > 0 {
					t.Error("a session, or the site reached")
				}
				w.vipps.answer(path, nil)
				newBrowser(t).login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)
			})
		}
	}
}

// TestProviderErrors: what Vipps says on purpose.
func TestProviderErrors(t *testing.T) {
	for name, test := range map[string]struct {
		path   string
		answer http.HandlerFunc
		want   int
	}{
		"code refused":           {pathToken, status(400, `{"error":"invalid_grant","error_description":"leak"}`), 400},
		"client refused":         {pathToken, status(401, `{"error":"invalid_client"}`), 502},
		"merchant refused":       {pathToken, status(400, `{"error":"unauthorized_client"}`), 502},
		"partner keys refused":   {pathAccessToken, status(401, `{"error":"leak"}`), 502},
		"partner keys malformed": {pathAccessToken, status(400, `leak`), 502},
		"userinfo refused":       {pathUserinfo, status(401, `leak`), 400},
		"userinfo of another":    {pathUserinfo, status(200, `{"sub":"leak"}`), 502},
		"userinfo of nobody":     {pathUserinfo, status(200, `{"name":"leak"}`), 502},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.load(twoShops)
			w.vipps.answer(test.path, test.answer)
			b := newBrowser(t)
			b.login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, test.want)
			if log := w.logged(); strings.Contains(log, "leak") || !strings.Contains(log, "login failed") {
				t.Errorf("log: %s", log)
			}
			if w.upstream.count() > 0 {
				t.Error("the site was reached")
			}
		})
	}
}

// TestNoAnswer: Vipps never answers, or byte by byte, and people still get an answer in time.
func TestNoAnswer(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) }) // before the servers close, which wait for their requests
	never := func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-ended:
		case <-r.Context().Done():
		}
	}
	byteByByte := func(rw http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			_, _ = io.WriteString(rw, " ")
			_ = http.NewResponseController(rw).Flush()
			select {
			case <-ended:
				return
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
		}
	}
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)

	// Both at the same time, since each takes as long as a call may take.
	w.vipps.answer(pathUserinfo, byteByByte)
	var done sync.WaitGroup
	start := time.Now()
	for _, answer := range []http.HandlerFunc{nil, never} {
		b := newBrowser(t)
		callback := b.approved(shop+"/", kari).location()
		if answer != nil {
			waitFor(t, func() bool { return len(w.vipps.requests(pathUserinfo)) == 2 })
			w.vipps.answer(pathToken, answer)
		}
		done.Go(func() { b.get(callback).wantStatus(t, http.StatusGatewayTimeout) })
	}
	done.Wait()
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("people waited for %s", took)
	}
	w.vipps.answer(pathToken, nil)
	w.vipps.answer(pathUserinfo, nil)
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
}

// waitFor waits until something is so.
func waitFor(t testing.TB, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestAnotherIssuer: a discovery document of another issuer is refused, and asked for again.
func TestAnotherIssuer(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	w.vipps.answer(pathDiscovery, func(rw http.ResponseWriter, _ *http.Request) {
		base := w.vipps.URL
		fmt.Fprintf(rw, `{"issuer":"https://api.vipps.no/access-management-1.0/access/","authorization_endpoint":"%[1]s/a","token_endpoint":"%[1]s/t","userinfo_endpoint":"%[1]s/u","jwks_uri":"%[1]s/j"}`, base)
	})
	for range 2 {
		newBrowser(t).get(w.shop("shop-a.localhost")+"/").wantStatus(t, http.StatusBadGateway)
	}
	if calls := w.vipps.counted(); calls[pathDiscovery] != 2 {
		t.Errorf("asked %d times, want once a login", calls[pathDiscovery])
	}
	for _, endpoint := range []string{"http://evil.example/t", "/t", "ftp://127.0.0.1/t", "http://user@127.0.0.1/t", ""} {
		w.vipps.answer(pathDiscovery, func(rw http.ResponseWriter, _ *http.Request) {
			base := w.vipps.URL
			fmt.Fprintf(rw, `{"issuer":"%[1]s/access-management-1.0/access/","authorization_endpoint":"%[1]s/a","token_endpoint":"%[2]s","userinfo_endpoint":"%[1]s/u","jwks_uri":"%[1]s/j"}`, base, endpoint)
		})
		newBrowser(t).get(w.shop("shop-a.localhost")+"/").wantStatus(t, http.StatusBadGateway)
	}
	w.vipps.answer(pathDiscovery, nil)
	newBrowser(t).login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)
}

// TestFiveHundredLoginsAtOnce with nothing fetched yet: all succeed, and each thing that all need is fetched
// once.
func TestFiveHundredLoginsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	const n = 500
	together := func(do func()) {
		var done sync.WaitGroup
		for range n {
			done.Go(do)
		}
		done.Wait()
	}
	callbacks := make(chan func(), n)
	together(func() {
		b := newBrowser(t)
		callback := b.approved(w.shop("shop-a.localhost")+"/", kari).location()
		callbacks <- func() { b.follow(b.get(callback)).wantStatus(t, http.StatusOK) }
	})
	together(func() { (<-callbacks)() })
	want := map[string]int{pathAccessToken: 1, pathDiscovery: 1, pathKeys: 1, pathToken: n, pathUserinfo: n}
	if got := w.vipps.counted(); !maps.Equal(got, want) {
		t.Errorf("calls: got %v, want %v", got, want)
	}
}

// TestPartnerTokenRenewedOn401, once, and the call repeated.
func TestPartnerTokenRenewedOn401(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	newBrowser(t).login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)
	old := w.vipps.requests(pathToken)[0].Header.Get("Authorization")
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == old {
			status(401, `{"error":"invalid_token"}`)(rw, r)
			return
		}
		w.vipps.sim.ServeHTTP(rw, r)
	})
	w.vipps.counted()
	newBrowser(t).login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)
	if got := w.vipps.counted(); got[pathAccessToken] != 1 || got[pathToken] != 2 {
		t.Errorf("calls: %v", got)
	}
	// Refused for ever: two tries a login, and not a new token for each.
	w.vipps.answer(pathToken, status(401, `{}`))
	for range 10 {
		newBrowser(t).login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusBadGateway)
	}
	if got := w.vipps.counted(); got[pathAccessToken] > 2 || got[pathToken] > 13 {
		t.Errorf("calls: %v", got)
	}
}

// TestReload: the token, the discovery document and the keys live on, and so do sessions and logins in
// progress; other keys begin anew.
func TestReload(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	pending := newBrowser(t)
	callback := pending.approved(shop+"/x", kari).location()
	w.vipps.counted()

	w.reload(w.globals() + twoShops + "\nhttp://another.localhost:$HTTP {\n}\n")
	b.get(shop+"/").wantStatus(t, http.StatusOK)
	pending.follow(pending.get(callback)).wantStatus(t, http.StatusOK)
	want := map[string]int{pathToken: 1, pathUserinfo: 1}
	if got := w.vipps.counted(); !maps.Equal(got, want) {
		t.Errorf("calls after the reload: got %v, want %v", got, want)
	}
	w.reload(strings.Replace(w.globals(), "client_id", "system acme 3.1.2\n\t\tclient_id", 1) + twoShops)
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
	if got := w.vipps.counted(); got[pathAccessToken] != 1 || got[pathDiscovery] != 1 {
		t.Errorf("calls with another system name: %v", got)
	}
	requests := w.vipps.requests(pathToken)
	if h := requests[len(requests)-1].Header; h.Get("Vipps-System-Name") != "acme" || h.Get("Vipps-System-Version") != "3.1.2" {
		t.Errorf("system headers: %v", h)
	}
}

// TestVippsDown: Caddy starts, reloads and serves sessions.
func TestVippsDown(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	w.vipps.Close()
	w.loadWhole(strings.Replace(w.globals(), "client_id", "system fresh\n\t\tclient_id", 1) + twoShops)
	b.get(shop+"/").wantStatus(t, http.StatusOK)
	newBrowser(t).get(shop+"/").wantStatus(t, http.StatusGatewayTimeout)
}

// TestKeyRotation: a new key is found at once, and an unknown one is asked for once.
func TestKeyRotation(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
	w.vipps.sim.RotateKey()
	w.vipps.counted()
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
	if got := w.vipps.counted(); got[pathKeys] != 1 {
		t.Errorf("the rotation took %d fetches", got[pathKeys])
	}
	w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(header, _ map[string]any) { header["kid"] = "public:unknown" }})
	for range 5 {
		newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusBadGateway)
	}
	if got := w.vipps.counted(); got[pathKeys] > 1 {
		t.Errorf("unknown keys took %d fetches", got[pathKeys])
	}
}

// TestIDTokenOfAnother: what a signed ID token can say that is not for this login.
func TestIDTokenOfAnother(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	for name, change := range map[string]func(claims map[string]any){
		"another merchant":    func(c map[string]any) { c["msn"] = "234567" },
		"no merchant":         func(c map[string]any) { delete(c, "msn") },
		"merchant as number":  func(c map[string]any) { c["msn"] = 123456 },
		"another nonce":       func(c map[string]any) { c["nonce"] = "x" },
		"no nonce":            func(c map[string]any) { delete(c, "nonce") },
		"another issuer":      func(c map[string]any) { c["iss"] = "https://apitest.vipps.no/access-management-1.0/access/" },
		"expired":             func(c map[string]any) { c["exp"] = time.Now().Add(-2 * time.Minute).Unix() },
		"another at_hash":     func(c map[string]any) { c["at_hash"] = "x" },
		"somebody else's sub": func(c map[string]any) { c["sub"] = "x" },
	} {
		t.Run(name, func(t *testing.T) {
			w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { change(claims) }})
			b := newBrowser(t)
			b.login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusBadGateway)
			if strings.Contains(b.cookies(w.shop("shop-a.localhost")), "session") || w.upstream.count() > 0 {
				t.Error("a session, or the site reached")
			}
		})
	}
}

// TestOwnKeys: a sales unit with its own keys logs in without any partner, and its aud is checked.
func TestOwnKeys(t *testing.T) {
	const id, secret = "own id:1", "s+cret/%"
	w := worldWith(t, func(w *world) []simulator.Merchant {
		return []simulator.Merchant{{MSN: "123456", ClientID: id, ClientSecret: secret, RedirectURIs: []string{w.shop("own.localhost") + "/vipps/callback"}}}
	})
	globals := w.globals()
	globals = globals[:strings.Index(globals, "\tvipps_login {")] + "\tvipps_login {\n\t\tenvironment $VIPPS\n\t}\n}\n"
	w.loadWhole(globals + `
http://own.localhost:$HTTP {
	vipps_login {
		merchant 123456 own.localhost {
			client_id "` + id + `"
			client_secret "` + secret + `"
			scope name email
		}
	}
	reverse_proxy $UPSTREAM
}
`)
	b := newBrowser(t)
	shop := w.shop("own.localhost")
	to := mustQuery(t, b.get(shop+"/").location())
	if to.Get("client_id") != id || to.Has("msn") || to.Get("scope") != "openid name email" {
		t.Errorf("authentication request: %v", to)
	}
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	token := w.vipps.requests(pathToken)[0]
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("own+id%3A1:s%2Bcret%2F%25")); token.Header.Get("Authorization") != want {
		t.Errorf("Authorization: %s", token.Header.Get("Authorization"))
	}
	if got := w.vipps.counted(); got[pathAccessToken] != 0 {
		t.Error("a partner token was fetched")
	}
	w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["aud"] = []string{"another"} }})
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusBadGateway)
}
