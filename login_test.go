package vippslogin_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestLoginEndToEnd(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	b := newBrowser(t)
	page := w.shop("shop-a.localhost") + "/basket?item=1&x=%C3%A6&y=a+b"

	first := b.get(page).wantStatus(t, http.StatusFound)
	if got := first.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control of the redirect: %q", got)
	}
	if w.upstream.count() != 0 {
		t.Fatal("the upstream saw the request before the login")
	}
	to, err := url.Parse(first.location())
	if err != nil {
		t.Fatal(err)
	}
	query := to.Query()
	if query.Get("msn") != "123456" || query.Has("client_id") || query.Get("scope") != "openid name" ||
		query.Get("redirect_uri") != w.shop("shop-a.localhost")+"/vipps/callback" || query.Get("code_challenge_method") != "S256" {
		t.Errorf("authentication request: %s", to)
	}

	last := b.login(page, kari).wantStatus(t, http.StatusOK)
	if last.Request.URL.String() != page {
		t.Errorf("ended at %s, want %s", last.Request.URL, page)
	}
	r := w.upstream.last(t)
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
	w := newWorld(t)
	w.load(twoShops)
	b := newBrowser(t)
	shop := w.shop("shop-a.localhost")
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)

	info := b.get(shop+"/vipps/userinfo").wantStatus(t, http.StatusOK)
	var claims map[string]any
	if err := json.Unmarshal([]byte(info.body), &claims); err != nil {
		t.Fatal(err)
	}
	if claims["name"] != "Kari Nordmann" || claims["sub"] == "" {
		t.Errorf("userinfo: %s", info.body)
	}
	for field, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := info.Header.Get(field); got != want {
			t.Errorf("%s: got %q, want %q", field, got, want)
		}
	}

	b.get(shop+"/vipps/logout", "Sec-Fetch-Site: cross-site").wantStatus(t, http.StatusForbidden)
	// A page of another merchant of the same domain can have it opened, but not hide it in an image.
	b.get(shop+"/vipps/logout", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image").wantStatus(t, http.StatusForbidden)
	b.get(shop+"/vipps/userinfo").wantStatus(t, http.StatusOK)
	b.get(shop+"/vipps/logout", "Sec-Purpose: prefetch").wantStatus(t, http.StatusForbidden)
	b.get(shop+"/vipps/userinfo").wantStatus(t, http.StatusOK)

	out := b.get(shop+"/vipps/logout?return_to=/bye").wantStatus(t, http.StatusFound)
	if out.location() != shop+"/bye" {
		t.Errorf("after the logout: %s", out.location())
	}
	b.get(shop+"/vipps/userinfo").wantStatus(t, http.StatusUnauthorized)
	if cookies := b.cookies(shop + "/"); cookies != "" {
		t.Errorf("cookies left: %s", cookies)
	}
}

// TestFigures counts the calls of twenty logins at two merchants.
func TestFigures(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	for range 10 {
		b := newBrowser(t)
		b.login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)
		b.login(w.shop("shop-b.localhost")+"/account/", bjorn).wantStatus(t, http.StatusOK)
		w.upstream.last(t)
	}
	want := map[string]int{pathAccessToken: 1, pathDiscovery: 1, pathKeys: 1, pathToken: 20, pathUserinfo: 20}
	if got := w.vipps.counted(); !maps.Equal(got, want) {
		t.Errorf("calls: got %v, want %v", got, want)
	}

	b := newBrowser(t)
	b.login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)
	w.vipps.counted()
	for range 10 {
		b.get(w.shop("shop-a.localhost")+"/").wantStatus(t, http.StatusOK)
	}
	if got := w.vipps.counted(); len(got) != 0 {
		t.Errorf("authenticated requests called Vipps: %v", got)
	}
}

func TestPartnerCredentials(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	newBrowser(t).login(w.shop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)

	token := w.vipps.requests(pathToken)[0]
	if !strings.HasPrefix(token.Header.Get("Authorization"), "Bearer ") || token.Header.Get("Merchant-Serial-Number") != "123456" {
		t.Errorf("token call: %v", token.Header)
	}
	userinfo := w.vipps.requests(pathUserinfo)[0]
	if userinfo.Header.Get("Ocp-Apim-Subscription-Key") != "" || userinfo.Header.Get("Merchant-Serial-Number") != "" {
		t.Errorf("userinfo call: %v", userinfo.Header)
	}
	for _, path := range []string{pathDiscovery, pathKeys, pathAccessToken, pathToken, pathUserinfo} {
		for _, field := range []string{"Vipps-System-Name", "Vipps-System-Version", "Vipps-System-Plugin-Name", "Vipps-System-Plugin-Version"} {
			if got := w.vipps.requests(path)[0].Header.Get(field); got == "" || len(got) > 30 {
				t.Errorf("%s: %s is %q", path, field, got)
			}
		}
	}
}
