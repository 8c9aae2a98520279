package provider_test

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

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestProviderFaults: at every call, every kind of fault has its status, leaves no session, leaks
// nothing, and is gone at the next login.
func TestProviderFaults(t *testing.T) {
	huge := `{"access_token":"` + strings.Repeat("x", 2<<20) + `"}`
	for name, fault := range map[string]struct {
		answer http.HandlerFunc
		want   int
	}{
		"500":             {harness.WithStatus(500, `{"secret":"leak"}`), 502},
		"502":             {harness.WithStatus(502, "leak"), 502},
		"503":             {harness.WithStatus(503, "leak"), 503},
		"429":             {harness.WithStatus(429, "leak"), 503},
		"404":             {harness.WithStatus(404, "leak"), 502},
		"204":             {harness.WithStatus(204, ""), 502},
		"redirect":        {http.RedirectHandler("/_simulator/", http.StatusFound).ServeHTTP, 502},
		"empty":           {harness.WithStatus(200, ""), 502},
		"HTML":            {harness.WithStatus(200, "<html>leak</html>"), 502},
		"JSON string":     {harness.WithStatus(200, `"leak"`), 502},
		"JSON array":      {harness.WithStatus(200, `["leak"]`), 502},
		"empty object":    {harness.WithStatus(200, `{}`), 502},
		"null":            {harness.WithStatus(200, `null`), 502},
		"wrong types":     {harness.WithStatus(200, `{"access_token":{"a":1},"id_token":7,"sub":["leak"],"issuer":4,"keys":"leak"}`), 502},
		"huge":            {harness.WithStatus(200, huge), 502},
		"deep":            {harness.WithStatus(200, strings.Repeat(`{"a":`, 200_000)), 502},
		"truncated":       {harness.TruncatedAnswer, 502},
		"connection lost": {harness.HangUp, 504},
	} {
		for _, path := range []string{harness.PathDiscovery, harness.PathKeys, harness.PathAccessToken, harness.PathToken, harness.PathUserinfo} {
			t.Run(name+" "+path, func(t *testing.T) {
				w := harness.NewWorld(t)
				w.Load(harness.TwoShops)
				w.Vipps.Answer(path, fault.answer)
				b := harness.NewBrowser(t)
				var a harness.Answer
				if path == harness.PathDiscovery {
					a = b.Get(w.Shop("shop-a.localhost") + "/")
				} else {
					a = b.Login(w.Shop("shop-a.localhost")+"/", harness.Kari)
				}
				a.WantStatus(t, fault.want)
				if strings.Contains(a.Text, "leak") || !strings.Contains(a.Text, "Try again") {
					t.Errorf("page: %s", a.Text)
				}
				if strings.Contains(w.Logged(), "leak") {
					t.Error("the answer's text is in the log")
				}
				if strings.Contains(b.Cookies(w.Shop("shop-a.localhost")), "vipps_session") || w.Upstream.Count() > 0 {
					t.Error("a session, or the site reached")
				}
				w.Vipps.Answer(path, nil)
				harness.NewBrowser(t).Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
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
		"code refused":           {harness.PathToken, harness.WithStatus(400, `{"error":"invalid_grant","error_description":"leak"}`), 400},
		"client refused":         {harness.PathToken, harness.WithStatus(401, `{"error":"invalid_client"}`), 502},
		"merchant refused":       {harness.PathToken, harness.WithStatus(400, `{"error":"unauthorized_client"}`), 502},
		"partner keys refused":   {harness.PathAccessToken, harness.WithStatus(401, `{"error":"leak"}`), 502},
		"partner keys malformed": {harness.PathAccessToken, harness.WithStatus(400, `leak`), 502},
		"userinfo refused":       {harness.PathUserinfo, harness.WithStatus(401, `leak`), 400},
		"userinfo of another":    {harness.PathUserinfo, harness.WithStatus(200, `{"sub":"leak"}`), 502},
		"userinfo of nobody":     {harness.PathUserinfo, harness.WithStatus(200, `{"name":"leak"}`), 502},
	} {
		t.Run(name, func(t *testing.T) {
			w := harness.NewWorld(t)
			w.Load(harness.TwoShops)
			w.Vipps.Answer(test.path, test.answer)
			b := harness.NewBrowser(t)
			b.Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, test.want)
			if log := w.Logged(); strings.Contains(log, "leak") || !strings.Contains(log, "login failed") {
				t.Errorf("log: %s", log)
			}
			if w.Upstream.Count() > 0 {
				t.Error("the site was reached")
			}
		})
	}
}

// TestNoAnswer: Vipps never answers, or byte by byte, and people still get an answer in time.
func TestNoAnswer(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
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
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)

	// Both at the same time, since each takes as long as a call may take.
	w.Vipps.Answer(harness.PathUserinfo, byteByByte)
	var done sync.WaitGroup
	start := time.Now()
	for _, answer := range []http.HandlerFunc{nil, never} {
		b := harness.NewBrowser(t)
		callback := b.Approved(shop+"/", harness.Kari).RedirectTo()
		if answer != nil {
			harness.WaitFor(t, func() bool { return len(w.Vipps.Requests(harness.PathUserinfo)) == 2 })
			w.Vipps.Answer(harness.PathToken, answer)
		}
		done.Go(func() { b.Get(callback).WantStatus(t, http.StatusGatewayTimeout) })
	}
	done.Wait()
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("people waited for %s", took)
	}
	w.Vipps.Answer(harness.PathToken, nil)
	w.Vipps.Answer(harness.PathUserinfo, nil)
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
}

// TestAnotherIssuer: a discovery document of another issuer is refused, and asked for again.
func TestAnotherIssuer(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	w.Vipps.Answer(harness.PathDiscovery, func(rw http.ResponseWriter, _ *http.Request) {
		base := w.Vipps.URL
		fmt.Fprintf(rw, `{"issuer":"https://api.vipps.no/access-management-1.0/access/","authorization_endpoint":"%[1]s/a","token_endpoint":"%[1]s/t","userinfo_endpoint":"%[1]s/u","jwks_uri":"%[1]s/j"}`, base)
	})
	for range 2 {
		harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/").WantStatus(t, http.StatusBadGateway)
	}
	if calls := w.Vipps.Counted(); calls[harness.PathDiscovery] != 2 {
		t.Errorf("asked %d times, want once a login", calls[harness.PathDiscovery])
	}
	for _, endpoint := range []string{"http://evil.example/t", "/t", "ftp://127.0.0.1/t", "http://user@127.0.0.1/t", ""} {
		w.Vipps.Answer(harness.PathDiscovery, func(rw http.ResponseWriter, _ *http.Request) {
			base := w.Vipps.URL
			fmt.Fprintf(rw, `{"issuer":"%[1]s/access-management-1.0/access/","authorization_endpoint":"%[1]s/a","token_endpoint":"%[2]s","userinfo_endpoint":"%[1]s/u","jwks_uri":"%[1]s/j"}`, base, endpoint)
		})
		harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/").WantStatus(t, http.StatusBadGateway)
	}
	w.Vipps.Answer(harness.PathDiscovery, nil)
	harness.NewBrowser(t).Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
}

// TestFiveHundredLoginsAtOnce with nothing fetched yet: all succeed, and each thing that all need is fetched
// once.
func TestFiveHundredLoginsAtOnce(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
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
		b := harness.NewBrowser(t)
		callback := b.Approved(w.Shop("shop-a.localhost")+"/", harness.Kari).RedirectTo()
		callbacks <- func() { b.Follow(b.Get(callback)).WantStatus(t, http.StatusOK) }
	})
	together(func() { (<-callbacks)() })
	want := map[string]int{harness.PathAccessToken: 1, harness.PathDiscovery: 1, harness.PathKeys: 1, harness.PathToken: n, harness.PathUserinfo: n}
	if got := w.Vipps.Counted(); !maps.Equal(got, want) {
		t.Errorf("calls: got %v, want %v", got, want)
	}
}

// TestPartnerTokenRenewedOn401, once, and the call repeated.
func TestPartnerTokenRenewedOn401(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	harness.NewBrowser(t).Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
	old := w.Vipps.Requests(harness.PathToken)[0].Header.Get("Authorization")
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == old {
			harness.WithStatus(401, `{"error":"invalid_token"}`)(rw, r)
			return
		}
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	w.Vipps.Counted()
	harness.NewBrowser(t).Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
	if got := w.Vipps.Counted(); got[harness.PathAccessToken] != 1 || got[harness.PathToken] != 2 {
		t.Errorf("calls: %v", got)
	}
	// Refused for ever: two tries a login, and not a new token for each.
	w.Vipps.Answer(harness.PathToken, harness.WithStatus(401, `{}`))
	for range 10 {
		harness.NewBrowser(t).Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusBadGateway)
	}
	if got := w.Vipps.Counted(); got[harness.PathAccessToken] > 2 || got[harness.PathToken] > 13 {
		t.Errorf("calls: %v", got)
	}
}

// TestReload: the token, the discovery document and the keys live on, and so do sessions and logins in
// progress; other keys begin anew.
func TestReload(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	pending := harness.NewBrowser(t)
	callback := pending.Approved(shop+"/x", harness.Kari).RedirectTo()
	w.Vipps.Counted()

	w.Reload(w.Globals() + harness.TwoShops + "\nhttp://another.localhost:$HTTP {\n}\n")
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	pending.Follow(pending.Get(callback)).WantStatus(t, http.StatusOK)
	want := map[string]int{harness.PathToken: 1, harness.PathUserinfo: 1}
	if got := w.Vipps.Counted(); !maps.Equal(got, want) {
		t.Errorf("calls after the reload: got %v, want %v", got, want)
	}
	w.Reload(strings.Replace(w.Globals(), "client_id", "system acme 3.1.2\n\t\tclient_id", 1) + harness.TwoShops)
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	if got := w.Vipps.Counted(); got[harness.PathAccessToken] != 1 || got[harness.PathDiscovery] != 1 {
		t.Errorf("calls with another system name: %v", got)
	}
	requests := w.Vipps.Requests(harness.PathToken)
	if h := requests[len(requests)-1].Header; h.Get("Vipps-System-Name") != "acme" || h.Get("Vipps-System-Version") != "3.1.2" {
		t.Errorf("system headers: %v", h)
	}
}

// TestVippsDown: Caddy starts, reloads and serves sessions.
func TestVippsDown(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Vipps.Close()
	w.LoadWhole(strings.Replace(w.Globals(), "client_id", "system fresh\n\t\tclient_id", 1) + harness.TwoShops)
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	harness.NewBrowser(t).Get(shop+"/").WantStatus(t, http.StatusGatewayTimeout)
}

// TestKeyRotation: a new key is found at once, and an unknown one is asked for once.
func TestKeyRotation(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Vipps.Sim.RotateKey()
	w.Vipps.Counted()
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	if got := w.Vipps.Counted(); got[harness.PathKeys] != 1 {
		t.Errorf("the rotation took %d fetches", got[harness.PathKeys])
	}
	w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(header, _ map[string]any) { header["kid"] = "public:unknown" }})
	for range 5 {
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusBadGateway)
	}
	if got := w.Vipps.Counted(); got[harness.PathKeys] > 1 {
		t.Errorf("unknown keys took %d fetches", got[harness.PathKeys])
	}
}

// TestIDTokenOfAnother: what a signed ID token can say that is not for this login.
func TestIDTokenOfAnother(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
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
			w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { change(claims) }})
			b := harness.NewBrowser(t)
			b.Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusBadGateway)
			if strings.Contains(b.Cookies(w.Shop("shop-a.localhost")), "session") || w.Upstream.Count() > 0 {
				t.Error("a session, or the site reached")
			}
		})
	}
}

// TestOwnKeys: a sales unit with its own keys logs in without any partner, and its aud is checked.
func TestOwnKeys(t *testing.T) {
	const id, secret = "own id:1", "s+cret/%"
	w := harness.WorldWith(t, func(w *harness.World) []simulator.Merchant {
		return []simulator.Merchant{{MSN: "123456", ClientID: id, ClientSecret: secret, RedirectURIs: []string{w.Shop("own.localhost") + "/vipps/callback"}}}
	})
	globals := w.Globals()
	globals = globals[:strings.Index(globals, "\tvipps_login {")] + "\tvipps_login {\n\t\tenvironment $VIPPS\n\t}\n}\n"
	w.LoadWhole(globals + `
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
	b := harness.NewBrowser(t)
	shop := w.Shop("own.localhost")
	to := harness.MustQuery(t, b.Get(shop+"/").RedirectTo())
	if to.Get("client_id") != id || to.Has("msn") || to.Get("scope") != "openid name email" {
		t.Errorf("authentication request: %v", to)
	}
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	token := w.Vipps.Requests(harness.PathToken)[0]
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("own+id%3A1:s%2Bcret%2F%25")); token.Header.Get("Authorization") != want {
		t.Errorf("Authorization: %s", token.Header.Get("Authorization"))
	}
	if got := w.Vipps.Counted(); got[harness.PathAccessToken] != 0 {
		t.Error("a partner token was fetched")
	}
	w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["aud"] = []string{"another"} }})
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusBadGateway)
}
