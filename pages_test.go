package vippslogin_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// refused opens a page that needs a login, and has the login fail with an OAuth error.
func (b *browser) refused(address, code string) answer {
	b.t.Helper()
	page := b.follow(b.get(address))
	if code == "access_denied" {
		return b.get(b.consent(page, url.Values{"answer": {"cancel"}}).location())
	}
	return b.get(b.consent(page, url.Values{"answer": {"fail"}, "error": {code}}).location())
}

var shownReference = regexp.MustCompile(`<code>([2-9a-z]{8})</code>`)

// logLine returns the line of the log that holds all parts.
func (w *world) logLine(parts ...string) map[string]any {
	w.t.Helper()
lines:
	for line := range strings.Lines(w.logged()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			w.t.Fatal(err)
		}
		return fields
	}
	w.t.Fatalf("no line in the log has %q", parts)
	return nil
}

// TestErrorPages: each in the browser's language and with the market's words, a reference that is in the
// log, and a button that keeps the page that was wanted.
func TestErrorPages(t *testing.T) {
	w := worldWith(t, func(w *world) []simulator.Merchant {
		return []simulator.Merchant{{MSN: "123456", RedirectURIs: []string{
			w.shop("shop-a.localhost") + "/vipps/callback", w.shop("shop-b.localhost") + "/vipps/callback",
		}}}
	})
	w.loadWhole(strings.Replace(w.globals(), "vipps_login {", "vipps_login {\n\t\tmobilepay_until 2999-01-01", 1) + `
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
			b := newBrowser(t)
			b.header.Set("Accept-Language", test.language)
			wanted := w.shop(test.host+".localhost") + "/kurv?vare=1&x=%C3%A6"
			a := b.refused(wanted, test.code).wantStatus(t, test.status)
			if !strings.Contains(a.body, "<h1>"+test.title+"</h1>") || !strings.Contains(a.body, test.body) ||
				!strings.Contains(a.body, `<html lang="`+test.language+`">`) || a.Header.Get("Content-Language") != test.language {
				t.Errorf("page: %s", a.body)
			}
			wantQuietPage(t, a)
			reference := shownReference.FindStringSubmatch(a.body)
			if reference == nil {
				t.Fatalf("no reference: %s", a.body)
			}
			line := w.logLine("login failed", reference[1])
			if line["reason"] != test.reason || line["flow"] != "browser" || line["msn"] != "123456" || line["duration"] == nil {
				t.Errorf("log: %v", line)
			}
			again := b.clickButton(a)
			if end := b.follow(b.consent(b.follow(again), url.Values{"user": {kari}, "answer": {"approve"}})); end.Request.URL.String() != wanted {
				t.Errorf("came to %s, not to %s", end.Request.URL, wanted)
			}
		})
	}
}

// clickButton follows the page's one link.
func (b *browser) clickButton(page answer) answer {
	b.t.Helper()
	link := regexp.MustCompile(`<a class="button" href="([^"]*)">`).FindAllStringSubmatch(page.body, -1)
	if len(link) != 1 {
		b.t.Fatalf("%d buttons: %s", len(link), page.body)
	}
	target, err := page.Request.URL.Parse(strings.ReplaceAll(link[0][1], "&amp;", "&"))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.get(target.String())
}

// wantQuietPage checks that a page can run and load nothing, and is not kept.
func wantQuietPage(t *testing.T, a answer) {
	t.Helper()
	policy := a.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy %q lacks %s", policy, part)
		}
	}
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, "src=") || strings.Contains(a.body, "<link") || strings.Contains(a.body, "http") {
		t.Errorf("the page loads something: %s", a.body)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Vary") != "Accept-Language" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers: %v", a.Header)
	}
}

// TestOtherBrowser: who comes back in another browser than the one it began in is told so, and one
// click later is where they wanted to be.
func TestOtherBrowser(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	wanted := w.shop("shop-a.localhost") + "/billett/7?plass=12"
	callback := newBrowser(t).approved(wanted, kari).location()
	w.vipps.counted()
	safari := newBrowser(t)
	a := safari.get(callback).wantStatus(t, http.StatusBadRequest)
	if !strings.Contains(a.body, "Continue in this browser") || w.logLine("login failed", shownReference.FindStringSubmatch(a.body)[1])["reason"] != "other_browser" {
		t.Errorf("page: %s", a.body)
	}
	if calls := w.vipps.counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	end := safari.follow(safari.consent(safari.follow(safari.clickButton(a)), url.Values{"user": {kari}, "answer": {"approve"}}))
	if end.wantStatus(t, http.StatusOK).Request.URL.String() != wanted {
		t.Errorf("came to %s", end.Request.URL)
	}
	// The link once more, now with a session: on to the page.
	if a := safari.get(callback).wantStatus(t, http.StatusFound); a.location() != wanted {
		t.Errorf("sent to %s", a.location())
	}
	// At another merchant the state says nothing.
	other := strings.Replace(callback, "shop-a", "shop-b", 1)
	if a := newBrowser(t).get(other).wantStatus(t, http.StatusBadRequest); strings.Contains(a.body, "billett") {
		t.Errorf("the page wanted at another merchant: %s", a.body)
	}
}

// TestUsedTwice: the second use of a login without a session says so.
func TestUsedTwice(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	b := newBrowser(t)
	page := b.follow(b.get(w.shop("shop-a.localhost") + "/x"))
	callback := b.consent(page, url.Values{"answer": {"cancel"}}).location()
	b.get(callback).wantStatus(t, http.StatusForbidden)
	if a := b.get(callback).wantStatus(t, http.StatusBadRequest); !strings.Contains(a.body, "works only once") {
		t.Errorf("page: %s", a.body)
	}
}

// TestSessionLost: a state that was made with another secret says nothing.
func TestSessionLost(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	b := newBrowser(t)
	callback := b.approved(w.shop("shop-a.localhost")+"/x", kari).location()
	w.reload(strings.Replace(w.globals(), cookieSecret, "another-cookie-secret-of-32-bytes-and-more", 1) + twoShops)
	a := b.get(callback).wantStatus(t, http.StatusBadRequest)
	if !strings.Contains(a.body, "lost track of your login") || w.logLine("login failed", shownReference.FindStringSubmatch(a.body)[1])["reason"] != "no_login" {
		t.Errorf("page: %s", a.body)
	}
}

// TestErrorPlaceholders: the site's own error pages know what happened, and the reference.
func TestErrorPlaceholders(t *testing.T) {
	w := newWorld(t)
	w.load(`
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
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	if a := b.get(shop+"/").wantStatus(t, http.StatusUnauthorized); a.body != "login_required  /vipps/login?return_to=%2F" {
		t.Errorf("got %q", a.body)
	}
	a := b.refused(shop+"/vipps/login?return_to=/kurv", "wrong_challenge").wantStatus(t, http.StatusForbidden)
	parts := strings.Split(a.body, " ")
	if len(parts) != 3 || parts[0] != "wrong_challenge" || len(parts[1]) != 8 || parts[2] != "/vipps/login?return_to=%2Fkurv" ||
		w.logLine("login failed", parts[1])["reason"] != parts[0] {
		t.Errorf("got %q", a.body)
	}
	// An error that is not ours has none of it.
	b.login(shop+"/vipps/login", kari)
	if a := b.get(shop+"/broken").wantStatus(t, 418); a.body != "   " && a.body != "  " {
		t.Errorf("got %q", a.body)
	}
}
