package browser_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

const newLoginShops = `
http://shop-a.localhost:$HTTP {
	vipps_login 123456 {
		header X-New-Login new_login
	}
	@broken path /broken
	reverse_proxy @broken 127.0.0.1:1
	header X-Said "{http.vipps_login.new_login}"
	reverse_proxy $UPSTREAM
}
`

// TestNewLogin: the site is told which page view is the first of a login that it has answered, once.
func TestNewLogin(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(newLoginShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	said := func(path string, header ...string) string {
		t.Helper()
		b.Get(shop+path, header...).WantStatus(t, http.StatusOK)
		return w.Upstream.Last(t).Header.Get("X-New-Login")
	}
	b.Get(b.Approved(shop+"/account/", harness.Kari).RedirectTo()).WantStatus(t, http.StatusFound)
	script := []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}
	if got := said("/api", script...); got != "" {
		t.Errorf("a script is told %q", got)
	}
	b.Get(shop+"/broken").WantStatus(t, http.StatusBadGateway) // no answer of the site's
	if got := said("/one", "X-New-Login: evil"); got != "true" {
		t.Errorf("the first page view is told %q", got)
	}
	for _, path := range []string{"/two", "/three"} {
		if got := said(path, "X-New-Login: evil"); got != "" {
			t.Errorf("a later page view is told %q", got)
		}
	}
	if cookies := b.Cookies(shop); strings.Contains(cookies, "vipps_new") {
		t.Errorf("cookies: %s", cookies)
	}
	// Another login is new again, also after a logout, and one that nobody looked at leaves nothing behind.
	b.Get(b.Approved(shop+"/vipps/login", harness.Bjorn).RedirectTo()).WantStatus(t, http.StatusFound)
	b.Get(shop + "/vipps/logout")
	b.Get(b.Approved(shop+"/vipps/login", harness.Kari).RedirectTo()).WantStatus(t, http.StatusFound)
	if n := strings.Count(b.Cookies(shop), "vipps_new"); n != 1 {
		t.Errorf("%d cookies", n)
	}
	if got := said("/four"); got != "true" {
		t.Errorf("after another login: %q", got)
	}
	// Of another browser's cookie nothing follows.
	u, _ := url.Parse(shop)
	b.Client.Jar.SetCookies(u, []*http.Cookie{{Name: "vipps_new_AAAAAAAA", Value: "AAAA", Path: "/"}})
	b.Get(shop+"/five").WantStatus(t, http.StatusOK)
	if header := w.Upstream.Last(t).Header; header.Get("X-New-Login") != "" || strings.Contains(header.Get("Cookie"), "vipps") {
		t.Errorf("made up: %v", header)
	}
}

// TestBasicForms: of client_secret_basic Vipps MobilePay may take the encoded form or the raw one; the other one is tried
// once, and remembered.
func TestBasicForms(t *testing.T) {
	const id, secret = "own-client-of-a", "a+secret/of the=unit"
	for name, takes := range map[string]func(user, password string) bool{
		"encoded": func(user, password string) bool { return password == url.QueryEscape(secret) },
		"raw":     func(user, password string) bool { return password == secret },
	} {
		t.Run(name, func(t *testing.T) {
			w := harness.WorldWith(t, func(w *harness.World) []simulator.Merchant {
				return []simulator.Merchant{{MSN: "123456", ClientID: id, ClientSecret: secret, RedirectURIs: []string{w.Shop("shop-a.localhost") + "/vipps/callback"}}}
			})
			w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login {\n\t\tmerchant 123456 shop-a.localhost {\n\t\t\tclient_id " + id + "\n\t\t\tclient_secret \"" + secret + "\"\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
			var refused atomic.Int64
			w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
				user, password, _ := r.BasicAuth()
				if !takes(user, password) {
					refused.Add(1)
					rw.WriteHeader(http.StatusUnauthorized)
					_, _ = rw.Write([]byte(`{"error":"invalid_client"}`))
					return
				}
				r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
				w.Vipps.Sim.ServeHTTP(rw, r)
			})
			for range 3 {
				harness.NewBrowser(t).Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
			}
			if most := map[string]int64{"encoded": 0, "raw": 1}[name]; refused.Load() != most {
				t.Errorf("%d refused, want %d", refused.Load(), most)
			}
		})
	}
}

// TestMobilePayUntil: the pages say MobilePay until a day, and Vipps from then on.
func TestMobilePayUntil(t *testing.T) {
	w := harness.NewWorld(t)
	for _, test := range []struct{ line, language, want string }{
		{"mobilepay_until 2999-01-01", "da", "MobilePay"}, {"mobilepay_until 2020-01-01", "da", "Vipps"},
		{"mobilepay_until 2999-01-01", "en", "Vipps or MobilePay"}, {"mobilepay_until 2020-01-01", "en", "Vipps"},
		{"mobilepay_until 2999-01-01", "sv", "Vipps"},
	} {
		globals := strings.Replace(w.Globals(), "vipps_login {", "vipps_login {\n\t\t"+test.line, 1)
		w.LoadWhole(globals + "http://shop-a.localhost:$HTTP {\n\tvipps_login 123456 {\n\t\ton_unauthenticated deny\n\t}\n}\n")
		a := harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/", "Accept-Language: "+test.language).WantStatus(t, http.StatusUnauthorized)
		if !strings.Contains(a.Text, test.want) || test.want == "Vipps" && strings.Contains(a.Text, "MobilePay") || strings.Contains(a.Text, "Vipps MobilePay") {
			t.Errorf("%v: %s", test, a.Text)
		}
	}
}
