package vippslogin_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

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
	w := newWorld(t)
	w.load(newLoginShops)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	said := func(path string, header ...string) string {
		t.Helper()
		b.get(shop+path, header...).wantStatus(t, http.StatusOK)
		return w.upstream.last(t).Header.Get("X-New-Login")
	}
	b.get(b.approved(shop+"/account/", kari).location()).wantStatus(t, http.StatusFound)
	script := []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}
	if got := said("/api", script...); got != "" {
		t.Errorf("a script is told %q", got)
	}
	b.get(shop+"/broken").wantStatus(t, http.StatusBadGateway) // no answer of the site's
	if got := said("/one", "X-New-Login: evil"); got != "true" {
		t.Errorf("the first page view is told %q", got)
	}
	for _, path := range []string{"/two", "/three"} {
		if got := said(path, "X-New-Login: evil"); got != "" {
			t.Errorf("a later page view is told %q", got)
		}
	}
	if cookies := b.cookies(shop); strings.Contains(cookies, "vipps_new") {
		t.Errorf("cookies: %s", cookies)
	}
	// Another login is new again, also after a logout, and one that nobody looked at leaves nothing behind.
	b.get(b.approved(shop+"/vipps/login", bjorn).location()).wantStatus(t, http.StatusFound)
	b.get(shop + "/vipps/logout")
	b.get(b.approved(shop+"/vipps/login", kari).location()).wantStatus(t, http.StatusFound)
	if n := strings.Count(b.cookies(shop), "vipps_new"); n != 1 {
		t.Errorf("%d cookies", n)
	}
	if got := said("/four"); got != "true" {
		t.Errorf("after another login: %q", got)
	}
	// Of another browser's cookie nothing follows.
	u, _ := url.Parse(shop)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "vipps_new_AAAAAAAA", Value: "AAAA", Path: "/"}})
	b.get(shop+"/five").wantStatus(t, http.StatusOK)
	if header := w.upstream.last(t).Header; header.Get("X-New-Login") != "" || strings.Contains(header.Get("Cookie"), "vipps") {
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
			w := worldWith(t, func(w *world) []simulator.Merchant {
				return []simulator.Merchant{{MSN: "123456", ClientID: id, ClientSecret: secret, RedirectURIs: []string{w.shop("shop-a.localhost") + "/vipps/callback"}}}
			})
			w.load("http://shop-a.localhost:$HTTP {\n\tvipps_login {\n\t\tmerchant 123456 shop-a.localhost {\n\t\t\tclient_id " + id + "\n\t\t\tclient_secret \"" + secret + "\"\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
			var refused atomic.Int64
			w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
				user, password, _ := r.BasicAuth()
				if !takes(user, password) {
					refused.Add(1)
					rw.WriteHeader(http.StatusUnauthorized)
					_, _ = rw.Write([]byte(`{"error":"invalid_client"}`))
					return
				}
				r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
				w.vipps.sim.ServeHTTP(rw, r)
			})
			for range 3 {
				newBrowser(t).login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)
			}
			if most := map[string]int64{"encoded": 0, "raw": 1}[name]; refused.Load() != most {
				t.Errorf("%d refused, want %d", refused.Load(), most)
			}
		})
	}
}

// TestMobilePayUntil: the pages say MobilePay until a day, and Vipps from then on.
func TestMobilePayUntil(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct{ line, language, want string }{
		{"mobilepay_until 2999-01-01", "da", "MobilePay"}, {"mobilepay_until 2020-01-01", "da", "Vipps"},
		{"mobilepay_until 2999-01-01", "en", "Vipps or MobilePay"}, {"mobilepay_until 2020-01-01", "en", "Vipps"},
		{"mobilepay_until 2999-01-01", "sv", "Vipps"},
	} {
		globals := strings.Replace(w.globals(), "vipps_login {", "vipps_login {\n\t\t"+test.line, 1)
		w.loadWhole(globals + "http://shop-a.localhost:$HTTP {\n\tvipps_login 123456 {\n\t\ton_unauthenticated deny\n\t}\n}\n")
		a := newBrowser(t).get(w.shop("shop-a.localhost")+"/", "Accept-Language: "+test.language).wantStatus(t, http.StatusUnauthorized)
		if !strings.Contains(a.body, test.want) || test.want == "Vipps" && strings.Contains(a.body, "MobilePay") || strings.Contains(a.body, "Vipps MobilePay") {
			t.Errorf("%v: %s", test, a.body)
		}
	}
}
