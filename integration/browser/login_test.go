package browser_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

func TestLoginEndToEnd(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	b := harness.NewBrowser(t)
	page := w.Shop("shop-a.localhost") + "/basket?item=1&x=%C3%A6&y=a+b"

	first := b.Get(page).WantStatus(t, http.StatusFound)
	if got := first.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control of the redirect: %q", got)
	}
	if w.Upstream.Count() != 0 {
		t.Fatal("the upstream saw the request before the login")
	}
	to, err := url.Parse(first.RedirectTo())
	if err != nil {
		t.Fatal(err)
	}
	query := to.Query()
	if query.Get("msn") != "123456" || query.Has("client_id") || query.Get("scope") != "openid name" ||
		query.Get("redirect_uri") != w.Shop("shop-a.localhost")+"/vipps/callback" || query.Get("code_challenge_method") != "S256" {
		t.Errorf("authentication request: %s", to)
	}

	last := b.Login(page, harness.Kari).WantStatus(t, http.StatusOK)
	if last.Request.URL.String() != page {
		t.Errorf("ended at %s, want %s", last.Request.URL, page)
	}
	r := w.Upstream.Last(t)
	for field, want := range map[string]string{
		"X-Vipps-Msn": "123456", "X-Vipps-Name": "Kari Nordmann", "X-Vipps-Given-Name": "Kari", "X-Vipps-Family-Name": "Nordmann",
	} {
		if got := r.Header.Get(field); got != want {
			t.Errorf("%s: got %q, want %q", field, got, want)
		}
	}
	if r.Header.Get("X-Vipps-Sub") == "" {
		t.Error("no X-Vipps-Sub")
	}
	if cookie := r.Header.Get("Cookie"); cookie != "" {
		t.Errorf("the upstream got cookies: %q", cookie)
	}
	if r.RequestURI != "/basket?item=1&x=%C3%A6&y=a+b" {
		t.Errorf("the upstream got %s", r.RequestURI)
	}
}

func TestUserinfoAndLogout(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	b := harness.NewBrowser(t)
	shop := w.Shop("shop-a.localhost")
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)

	info := b.Get(shop+"/vipps/userinfo").WantStatus(t, http.StatusOK)
	var claims map[string]any
	if err := json.Unmarshal([]byte(info.Text), &claims); err != nil {
		t.Fatal(err)
	}
	if claims["name"] != "Kari Nordmann" || claims["sub"] == "" {
		t.Errorf("userinfo: %s", info.Text)
	}
	for field, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := info.Header.Get(field); got != want {
			t.Errorf("%s: got %q, want %q", field, got, want)
		}
	}

	b.Get(shop+"/vipps/logout", "Sec-Fetch-Site: cross-site").WantStatus(t, http.StatusForbidden)
	// A page of another merchant of the same domain can have it opened, but not hide it in an image.
	b.Get(shop+"/vipps/logout", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image").WantStatus(t, http.StatusForbidden)
	b.Get(shop+"/vipps/userinfo").WantStatus(t, http.StatusOK)
	b.Get(shop+"/vipps/logout", "Sec-Purpose: prefetch").WantStatus(t, http.StatusForbidden)
	b.Get(shop+"/vipps/userinfo").WantStatus(t, http.StatusOK)

	out := b.Get(shop+"/vipps/logout?return_to=/bye").WantStatus(t, http.StatusFound)
	if out.RedirectTo() != shop+"/bye" {
		t.Errorf("after the logout: %s", out.RedirectTo())
	}
	b.Get(shop+"/vipps/userinfo").WantStatus(t, http.StatusUnauthorized)
	if cookies := b.Cookies(shop + "/"); cookies != "" {
		t.Errorf("cookies left: %s", cookies)
	}
}

// TestFigures counts the calls of twenty logins at two merchants.
func TestFigures(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	for range 10 {
		b := harness.NewBrowser(t)
		b.Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
		b.Login(w.Shop("shop-b.localhost")+"/account/", harness.Bjorn).WantStatus(t, http.StatusOK)
		w.Upstream.Last(t)
	}
	want := map[string]int{harness.PathAccessToken: 1, harness.PathDiscovery: 1, harness.PathKeys: 1, harness.PathToken: 20, harness.PathUserinfo: 20}
	if got := w.Vipps.Counted(); !maps.Equal(got, want) {
		t.Errorf("calls: got %v, want %v", got, want)
	}

	b := harness.NewBrowser(t)
	b.Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Vipps.Counted()
	for range 10 {
		b.Get(w.Shop("shop-a.localhost")+"/").WantStatus(t, http.StatusOK)
	}
	if got := w.Vipps.Counted(); len(got) != 0 {
		t.Errorf("authenticated requests called Vipps: %v", got)
	}
}

func TestPartnerCredentials(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	harness.NewBrowser(t).Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)

	token := w.Vipps.Requests(harness.PathToken)[0]
	if !strings.HasPrefix(token.Header.Get("Authorization"), "Bearer ") || token.Header.Get("Merchant-Serial-Number") != "123456" {
		t.Errorf("token call: %v", token.Header)
	}
	userinfo := w.Vipps.Requests(harness.PathUserinfo)[0]
	if userinfo.Header.Get("Ocp-Apim-Subscription-Key") != "" || userinfo.Header.Get("Merchant-Serial-Number") != "" {
		t.Errorf("userinfo call: %v", userinfo.Header)
	}
	for _, path := range []string{harness.PathDiscovery, harness.PathKeys, harness.PathAccessToken, harness.PathToken, harness.PathUserinfo} {
		for _, field := range []string{"Vipps-System-Name", "Vipps-System-Version", "Vipps-System-Plugin-Name", "Vipps-System-Plugin-Version"} {
			if got := w.Vipps.Requests(path)[0].Header.Get(field); got == "" || len(got) > 30 {
				t.Errorf("%s: %s is %q", path, field, got)
			}
		}
	}
}
