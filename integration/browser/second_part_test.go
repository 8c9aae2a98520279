package browser_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestAudience: the ID token's aud must be the one that the config pins, or contain it.
func TestAudience(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	for _, test := range []struct {
		aud    any
		status int
	}{
		{"the-client", http.StatusOK}, {[]string{"x", "the-client"}, http.StatusOK},
		{"another", http.StatusBadGateway}, {[]string{"x"}, http.StatusBadGateway}, {nil, http.StatusBadGateway},
	} {
		w.Load(harness.SiteWith("audience the-client"))
		w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
			claims["aud"] = test.aud
		}})
		b := harness.NewBrowser(t)
		if a := b.Follow(b.Approved(shop+"/", harness.Kari)); a.StatusCode != test.status {
			t.Errorf("%v: %d", test.aud, a.StatusCode)
		}
	}
}

// TestKeptClaims: of userinfo a session keeps what the config says, and sub. A merchant's own list counts in place of the
// site's.
func TestKeptClaims(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	for lines, want := range map[string]string{
		"claims name": "X-Vipps-Name",
		"claims sub family_name\n\t\theader Remote-User family_name":                          "X-Vipps-Family-Name",
		"merchant 123456 shop-a.localhost {\n\t\t\tclaims given_name\n\t\t}\n\t\tclaims name": "X-Vipps-Given-Name",
	} {
		w.Load(harness.SiteWith("scope openid name email phoneNumber\n\t\t" + lines))
		b := harness.NewBrowser(t)
		b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
		for field := range w.Upstream.Last(t).Header {
			if strings.HasPrefix(field, "X-Vipps-") && field != "X-Vipps-Msn" && field != "X-Vipps-Sub" && field != want {
				t.Errorf("%s: the site gets %s", lines, field)
			}
		}
		if a := b.Get(shop + "/vipps/userinfo"); strings.Contains(a.Text, "email") || !strings.Contains(a.Text, `"sub"`) {
			t.Errorf("userinfo: %s", a.Text)
		}
	}
	if err := w.TryLoad(w.Globals() + harness.SiteWith("claims name\n\t\theader Remote-User email")); err == nil || !strings.Contains(err.Error(), "which claims does not keep") {
		t.Errorf("a header for a claim that is not kept: %v", err)
	}
}

// TestLogoutConfig: where a logout leads to, and what the browser is told to clear.
func TestLogoutConfig(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	w.Load(harness.SiteWith("public_origin https://{host}\n\t\tlogout {\n\t\t\treturn_to /goodbye?x=1\n\t\t\tclear_site_data cache storage\n\t\t}"))
	b := harness.NewBrowser(t)
	for query, want := range map[string]string{"": "/goodbye?x=1", "?return_to=/elsewhere": "/elsewhere", "?return_to=//evil.example": "/"} {
		a := b.Get(shop+"/vipps/logout"+query).WantStatus(t, http.StatusFound)
		if !strings.HasPrefix(a.RedirectTo(), "https://shop-a.localhost") || !strings.HasSuffix(a.RedirectTo(), want) && want != "/" {
			t.Errorf("%s leads to %s", query, a.RedirectTo())
		}
		if got := a.Header.Get("Clear-Site-Data"); got != `"cache", "storage"` {
			t.Errorf("Clear-Site-Data: %s", got)
		}
	}
	w.Load(harness.SiteWith("logout {\n\t\t\tclear_site_data cache\n\t\t}"))
	if a := b.Get(shop + "/vipps/logout"); a.Header.Get("Clear-Site-Data") != "" || a.RedirectTo() != shop+"/" {
		t.Errorf("over HTTP: %v", a.Header)
	}
}

// TestBrowserSession: on a shared computer the cookies end with the browser.
func TestBrowserSession(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.SiteWith("header X-New new_login\n\t\tsession {\n\t\t\tbrowser\n\t\t\tidle_timeout 10s\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	a := b.Get(b.Approved(shop+"/", harness.Kari).RedirectTo()).WantStatus(t, http.StatusFound)
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
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	if a := b.Get(shop + "/vipps/logout"); !strings.Contains(strings.Join(a.Header["Set-Cookie"], "\n"), "Max-Age=0") {
		t.Errorf("the logout clears nothing: %v", a.Header["Set-Cookie"])
	}
}

// TestRefusedCodes: a client that makes up codes is answered without a call, and its state stays good. Good codes do not
// count.
func TestRefusedCodes(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	for range 25 {
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	}
	late := harness.NewBrowser(t)
	good := late.Approved(shop+"/wanted", harness.Kari).RedirectTo()
	for i := range 20 {
		b := harness.NewBrowser(t)
		b.Get(harness.WithQuery(t, b.Approved(shop+"/", harness.Kari).RedirectTo(), fmt.Sprintf("code=made-up-%d", i))).WantStatus(t, http.StatusBadRequest)
	}
	w.Vipps.Counted()
	a := late.Get(good).WantStatus(t, http.StatusTooManyRequests)
	if seconds := a.Header.Get("Retry-After"); seconds == "" || seconds == "0" {
		t.Errorf("Retry-After: %q", seconds)
	}
	if calls := w.Vipps.Counted(); calls[harness.PathToken] != 0 {
		t.Errorf("calls: %v", calls)
	}
	if line := harness.LineWith(w.Logged(), `"reason":"too_many_codes"`); line == "" {
		t.Error("nothing in the log")
	}
	late.Get(harness.WithQuery(t, good, "-code", "error=access_denied")).WantStatus(t, http.StatusForbidden) // no code: no call
}
