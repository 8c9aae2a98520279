package browser_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestErrorPages: each in the browser's language and with the market's words, a reference that is in the
// log, and a button that keeps the page that was wanted.
func TestErrorPages(t *testing.T) {
	w := harness.WorldWith(t, func(w *harness.World) []simulator.Merchant {
		return []simulator.Merchant{{MSN: "123456", RedirectURIs: []string{
			w.Shop("shop-a.localhost") + "/vipps/callback", w.Shop("shop-b.localhost") + "/vipps/callback",
		}}}
	})
	w.LoadWhole(strings.Replace(w.Globals(), "vipps_login {", "vipps_login {\n\t\tmobilepay_until 2999-01-01", 1) + `
http://shop-a.localhost:$HTTP, http://shop-b.localhost:$HTTP {
	vipps_login {
		merchant 123456 shop-a.localhost {
			market DK
		}
		merchant 123456 shop-b.localhost
	}
	reverse_proxy $UPSTREAM
}
`)
	for _, test := range []struct {
		host, language, code, reason string
		status                       int
		title, body                  string
	}{
		{"shop-a", "da", "access_denied", "cancelled", 403, "Du afbrød dit login", "Ingen oplysninger blev delt."},
		{"shop-a", "fi", "outdated_app_version", "outdated_app", 403, "Sovellus on päivitettävä", "sovelluskaupassa"},
		{"shop-a", "nb", "outdated_app_version", "outdated_app", 403, "MobilePay-appen må oppdateres", "appbutikk"},
		{"shop-b", "nb", "outdated_app_version", "outdated_app", 403, "Vipps-appen må oppdateres", "appbutikk"},
		{"shop-b", "sv", "wrong_challenge", "wrong_challenge", 403, "Det var inte rätt siffra", "Försök igen"},
		{"shop-b", "en", "server_error", "server_error", 502, "Login does not work right now", "Vipps or MobilePay had a problem."},
		{"shop-b", "en", "some_undocumented_error", "refused", 403, "The login was not approved", "nothing was shared"},
	} {
		t.Run(test.host+" "+test.language+" "+test.code, func(t *testing.T) {
			b := harness.NewBrowser(t)
			b.Header.Set("Accept-Language", test.language)
			wanted := w.Shop(test.host+".localhost") + "/kurv?vare=1&x=%C3%A6"
			a := b.Refused(wanted, test.code).WantStatus(t, test.status)
			if !strings.Contains(a.Text, "<h1>"+test.title+"</h1>") || !strings.Contains(a.Text, test.body) ||
				!strings.Contains(a.Text, `<html lang="`+test.language+`">`) || a.Header.Get("Content-Language") != test.language {
				t.Errorf("page: %s", a.Text)
			}
			wantQuietPage(t, a)
			reference := harness.ShownReference.FindStringSubmatch(a.Text)
			if reference == nil {
				t.Fatalf("no reference: %s", a.Text)
			}
			line := w.LogLine("login failed", reference[1])
			if line["reason"] != test.reason || line["flow"] != "browser" || line["msn"] != "123456" || line["duration"] == nil {
				t.Errorf("log: %v", line)
			}
			again := b.ClickButton(a)
			if end := b.Follow(b.Consent(b.Follow(again), url.Values{"user": {harness.Kari}, "answer": {"approve"}})); end.Request.URL.String() != wanted {
				t.Errorf("came to %s, not to %s", end.Request.URL, wanted)
			}
		})
	}
}

// wantQuietPage checks that a page can run and load nothing, and is not kept.
func wantQuietPage(t *testing.T, a harness.Answer) {
	t.Helper()
	policy := a.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy %q lacks %s", policy, part)
		}
	}
	if strings.Contains(a.Text, "<script") || strings.Contains(a.Text, "src=") || strings.Contains(a.Text, "<link") || strings.Contains(a.Text, "http") {
		t.Errorf("the page loads something: %s", a.Text)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Vary") != "Accept-Language" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers: %v", a.Header)
	}
}

// TestOtherBrowser: who comes back in another browser than the one it began in is told so, and one
// click later is where they wanted to be.
func TestOtherBrowser(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	wanted := w.Shop("shop-a.localhost") + "/billett/7?plass=12"
	callback := harness.NewBrowser(t).Approved(wanted, harness.Kari).RedirectTo()
	w.Vipps.Counted()
	safari := harness.NewBrowser(t)
	a := safari.Get(callback).WantStatus(t, http.StatusBadRequest)
	if !strings.Contains(a.Text, "Continue in this browser") || w.LogLine("login failed", harness.ShownReference.FindStringSubmatch(a.Text)[1])["reason"] != "other_browser" {
		t.Errorf("page: %s", a.Text)
	}
	if calls := w.Vipps.Counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	end := safari.Follow(safari.Consent(safari.Follow(safari.ClickButton(a)), url.Values{"user": {harness.Kari}, "answer": {"approve"}}))
	if end.WantStatus(t, http.StatusOK).Request.URL.String() != wanted {
		t.Errorf("came to %s", end.Request.URL)
	}
	// The link once more, now with a session: on to the page.
	if a := safari.Get(callback).WantStatus(t, http.StatusFound); a.RedirectTo() != wanted {
		t.Errorf("sent to %s", a.RedirectTo())
	}
	// At another merchant the state says nothing.
	other := strings.Replace(callback, "shop-a", "shop-b", 1)
	if a := harness.NewBrowser(t).Get(other).WantStatus(t, http.StatusBadRequest); strings.Contains(a.Text, "billett") {
		t.Errorf("the page wanted at another merchant: %s", a.Text)
	}
}

// TestUsedTwice: the second use of a login without a session says so.
func TestUsedTwice(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	b := harness.NewBrowser(t)
	page := b.Follow(b.Get(w.Shop("shop-a.localhost") + "/x"))
	callback := b.Consent(page, url.Values{"answer": {"cancel"}}).RedirectTo()
	b.Get(callback).WantStatus(t, http.StatusForbidden)
	if a := b.Get(callback).WantStatus(t, http.StatusBadRequest); !strings.Contains(a.Text, "works only once") {
		t.Errorf("page: %s", a.Text)
	}
}

// TestSessionLost: a state that was made with another secret says nothing.
func TestSessionLost(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	b := harness.NewBrowser(t)
	callback := b.Approved(w.Shop("shop-a.localhost")+"/x", harness.Kari).RedirectTo()
	w.Reload(strings.Replace(w.Globals(), harness.CookieSecret, "another-cookie-secret-of-32-bytes-and-more", 1) + harness.TwoShops)
	a := b.Get(callback).WantStatus(t, http.StatusBadRequest)
	if !strings.Contains(a.Text, "lost track of your login") || w.LogLine("login failed", harness.ShownReference.FindStringSubmatch(a.Text)[1])["reason"] != "no_login" {
		t.Errorf("page: %s", a.Text)
	}
}

// TestErrorPlaceholders: the site's own error pages know what happened, and the reference.
func TestErrorPlaceholders(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(`
http://shop-a.localhost:$HTTP {
	vipps_login 123456 {
		on_unauthenticated deny
		error_pages off
	}
	reverse_proxy $UPSTREAM
	handle_errors {
		respond "{http.vipps_login.error} {http.vipps_login.error_id} {http.vipps_login.login_url}"
	}
	@broken path /broken
	error @broken 418
}
`)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	if a := b.Get(shop+"/").WantStatus(t, http.StatusUnauthorized); a.Text != "login_required  /vipps/login?return_to=%2F" {
		t.Errorf("got %q", a.Text)
	}
	a := b.Refused(shop+"/vipps/login?return_to=/kurv", "wrong_challenge").WantStatus(t, http.StatusForbidden)
	parts := strings.Split(a.Text, " ")
	if len(parts) != 3 || parts[0] != "wrong_challenge" || len(parts[1]) != 8 || parts[2] != "/vipps/login?return_to=%2Fkurv" ||
		w.LogLine("login failed", parts[1])["reason"] != parts[0] {
		t.Errorf("got %q", a.Text)
	}
	// An error that is not ours has none of it.
	b.Login(shop+"/vipps/login", harness.Kari)
	if a := b.Get(shop+"/broken").WantStatus(t, 418); a.Text != "   " && a.Text != "  " {
		t.Errorf("got %q", a.Text)
	}
}
