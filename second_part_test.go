package vippslogin_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// siteWith is a site of MSN 123456 with lines in its directive.
func siteWith(lines string) string {
	return "http://shop-a.localhost:$HTTP {\n\tvipps_login 123456 {\n\t\t" + lines + "\n\t}\n\treverse_proxy $UPSTREAM\n}\n"
}

// TestAudience: the ID token's aud must be the one that the config pins, or contain it.
func TestAudience(t *testing.T) {
	w := newWorld(t)
	shop := w.shop("shop-a.localhost")
	for _, test := range []struct {
		aud    any
		status int
	}{
		{"the-client", http.StatusOK}, {[]string{"x", "the-client"}, http.StatusOK},
		{"another", http.StatusBadGateway}, {[]string{"x"}, http.StatusBadGateway}, {nil, http.StatusBadGateway},
	} {
		w.load(siteWith("audience the-client"))
		w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
			claims["aud"] = test.aud
		}})
		b := newBrowser(t)
		if a := b.follow(b.approved(shop+"/", kari)); a.StatusCode != test.status {
			t.Errorf("%v: %d", test.aud, a.StatusCode)
		}
	}
}

// TestKeptClaims: of userinfo a session keeps what the config says, and sub. A merchant's own list counts in place of the
// site's.
func TestKeptClaims(t *testing.T) {
	w := newWorld(t)
	shop := w.shop("shop-a.localhost")
	for lines, want := range map[string]string{
		"claims name": "X-Vipps-Name",
		"claims sub family_name\n\t\theader Remote-User family_name":                          "X-Vipps-Family-Name",
		"merchant 123456 shop-a.localhost {\n\t\t\tclaims given_name\n\t\t}\n\t\tclaims name": "X-Vipps-Given-Name",
	} {
		w.load(siteWith("scope openid name email phoneNumber\n\t\t" + lines))
		b := newBrowser(t)
		b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
		for field := range w.upstream.last(t).Header {
			if strings.HasPrefix(field, "X-Vipps-") && field != "X-Vipps-Msn" && field != "X-Vipps-Sub" && field != want {
				t.Errorf("%s: the site gets %s", lines, field)
			}
		}
		if a := b.get(shop + "/vipps/userinfo"); strings.Contains(a.body, "email") || !strings.Contains(a.body, `"sub"`) {
			t.Errorf("userinfo: %s", a.body)
		}
	}
	if err := w.tryLoad(w.globals() + siteWith("claims name\n\t\theader Remote-User email")); err == nil || !strings.Contains(err.Error(), "which claims does not keep") {
		t.Errorf("a header for a claim that is not kept: %v", err)
	}
}

// TestLogoutConfig: where a logout leads to, and what the browser is told to clear.
func TestLogoutConfig(t *testing.T) {
	w := newWorld(t)
	shop := w.shop("shop-a.localhost")
	w.load(siteWith("public_origin https://{host}\n\t\tlogout {\n\t\t\treturn_to /goodbye?x=1\n\t\t\tclear_site_data cache storage\n\t\t}"))
	b := newBrowser(t)
	for query, want := range map[string]string{"": "/goodbye?x=1", "?return_to=/elsewhere": "/elsewhere", "?return_to=//evil.example": "/"} {
		a := b.get(shop+"/vipps/logout"+query).wantStatus(t, http.StatusFound)
		if !strings.HasPrefix(a.location(), "https://shop-a.localhost") || !strings.HasSuffix(a.location(), want) && want != "/" {
			t.Errorf("%s leads to %s", query, a.location())
		}
		if got := a.Header.Get("Clear-Site-Data"); got != `"cache", "storage"` {
			t.Errorf("Clear-Site-Data: %s", got)
		}
	}
	w.load(siteWith("logout {\n\t\t\tclear_site_data cache\n\t\t}"))
	if a := b.get(shop + "/vipps/logout"); a.Header.Get("Clear-Site-Data") != "" || a.location() != shop+"/" {
		t.Errorf("over HTTP: %v", a.Header)
	}
}

// TestBrowserSession: on a shared computer the cookies end with the browser.
func TestBrowserSession(t *testing.T) {
	w := newWorld(t)
	w.load(siteWith("header X-New new_login\n\t\tsession {\n\t\t\tbrowser\n\t\t\tidle_timeout 10s\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	a := b.get(b.approved(shop+"/", kari).location()).wantStatus(t, http.StatusFound)
	found := 0
	for _, line := range a.Header["Set-Cookie"] {
		if strings.HasPrefix(line, "vipps_session=") || strings.HasPrefix(line, "vipps_new_") {
			found++
			if strings.Contains(line, "Max-Age") || strings.Contains(line, "Expires") {
				t.Errorf("it outlives the browser: %s", line)
			}
		}
	}
	if found != 2 {
		t.Errorf("cookies: %v", a.Header["Set-Cookie"])
	}
	b.get(shop+"/").wantStatus(t, http.StatusOK)
	if a := b.get(shop + "/vipps/logout"); !strings.Contains(strings.Join(a.Header["Set-Cookie"], "\n"), "Max-Age=0") {
		t.Errorf("the logout clears nothing: %v", a.Header["Set-Cookie"])
	}
}

// TestRefusedCodes: a client that makes up codes is answered without a call, and its state stays good. Good codes do not
// count.
func TestRefusedCodes(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	for range 25 {
		newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusOK)
	}
	late := newBrowser(t)
	good := late.approved(shop+"/wanted", kari).location()
	for i := range 20 {
		b := newBrowser(t)
		b.get(withQuery(t, b.approved(shop+"/", kari).location(), fmt.Sprintf("code=made-up-%d", i))).wantStatus(t, http.StatusBadRequest)
	}
	w.vipps.counted()
	a := late.get(good).wantStatus(t, http.StatusTooManyRequests)
	if seconds := a.Header.Get("Retry-After"); seconds == "" || seconds == "0" {
		t.Errorf("Retry-After: %q", seconds)
	}
	if calls := w.vipps.counted(); calls[pathToken] != 0 {
		t.Errorf("calls: %v", calls)
	}
	if line := lineWith(w.logged(), `"reason":"too_many_codes"`); line == "" {
		t.Error("nothing in the log")
	}
	late.get(withQuery(t, good, "-code", "error=access_denied")).wantStatus(t, http.StatusForbidden) // no code: no call
}
