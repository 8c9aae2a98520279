package attack_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/integration/scrape"
	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// requireSite is a site of MSN 123456, of which /account needs a login, with further lines in the directive.
func requireSite(lines string) string {
	return "http://shop-a.localhost:$HTTP {\n\t@adults path /wine /wine/*\n\tvipps_login /account/* 123456 {\n\t\t" + lines + "\n\t}\n\treverse_proxy $UPSTREAM\n}\n"
}

// TestRequireScope: a page that needs a further scope sends people to Vipps MobilePay for it and back; scopes add up, and
// what is asked for and not given is asked for once.
func TestRequireScope(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(requireSite("scope openid name\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /mail/* {\n\t\t\tscope email\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Get(shop+"/open").WantStatus(t, http.StatusOK)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	if r := w.Upstream.Last(t); r.Header.Get("X-Vipps-Birthdate") != "" {
		t.Error("a birthdate nobody asked for")
	}
	b.Get(shop+"/open").WantStatus(t, http.StatusOK)
	if got := harness.ScopeAt(t, b.Get(shop+"/wine/red?x=1")); got != "openid name birthDate" {
		t.Errorf("asked for %q", got)
	}
	b.Login(shop+"/wine/red?x=1", harness.Kari).WantStatus(t, http.StatusOK)
	r := w.Upstream.Last(t)
	if r.URL.String() != "/wine/red?x=1" || r.Header.Get("X-Vipps-Birthdate") == "" || r.Header.Get("X-Vipps-Name") == "" {
		t.Errorf("%s %v", r.URL, r.Header)
	}
	if got := harness.ScopeAt(t, b.Get(shop+"/mail/")); got != "openid name email birthDate" {
		t.Errorf("asked for %q", got)
	}
	b.Login(shop+"/mail/", harness.Kari).WantStatus(t, http.StatusOK)
	r = w.Upstream.Last(t)
	if r.Header.Get("X-Vipps-Email") == "" || r.Header.Get("X-Vipps-Birthdate") == "" {
		t.Errorf("what there was is lost: %v", r.Header)
	}
	b.Get(shop+"/wine").WantStatus(t, http.StatusOK)
	for _, path := range []string{"/wine/..%2fwine/x", "/x/../wine/red", "//wine/red", "/wine;x/red", "/WINE/red", "/%77ine/red", "/wine./x"} {
		harness.NewBrowser(t).Get(shop+path).WantStatus(t, http.StatusFound)
	}
}

// TestRequireWithoutSession: a requirement needs a session where the directive's matcher does not say so, and the first
// login asks for everything.
func TestRequireWithoutSession(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(requireSite("scope openid name\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t\tapp_confirmation\n\t\t\tmax_age 10m\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	a := b.Get(shop + "/wine/")
	if got := harness.ScopeAt(t, a); got != "openid name birthDate" || harness.MustQuery(t, a.RedirectTo()).Get("acr_values") == "" {
		t.Errorf("asked for %s", a.RedirectTo())
	}
	p := b.Lacks(shop+"/wine/api", "Referer: "+shop+"/shelf?x=1")
	if p.Required.MaxAge != 600 || !slices.Equal(p.Required.Scope, []string{"birthDate"}) || !p.Required.AppConfirmation {
		t.Errorf("required: %+v", *p.Required)
	}
	form := harness.NewRequest(t, http.MethodPost, shop+"/wine/order", strings.NewReader("a=b"), "Content-Type: application/x-www-form-urlencoded", "Origin: "+shop)
	page := b.Do(form).WantStatus(t, http.StatusUnauthorized)
	if got := page.Header.Get("WWW-Authenticate"); got != `Bearer error="insufficient_user_authentication", max_age="600", acr_values="urn:vipps:acr:app_auth"` {
		t.Errorf("challenge: %s", got)
	}
	if !strings.Contains(page.Header.Get("Content-Type"), "text/html") || !strings.Contains(page.Text, "Continue") {
		t.Errorf("the page: %s", page.Text)
	}
	if p.LoginURL == "" {
		t.Fatal("no login_url")
	}
	back := b.Follow(b.Consent(b.Follow(b.Get(shop+p.LoginURL)), url.Values{"user": {harness.Kari}, "answer": {"approve"}}))
	if back.Request.URL.RequestURI() != "/shelf?x=1" {
		t.Errorf("back at %s", back.Request.URL)
	}
	b.Get(shop+"/wine/api", harness.AsScript...).WantStatus(t, http.StatusOK)
}

// noACR has a Vipps MobilePay leave out that a login was confirmed, or not.
func noACR(w *harness.World, off bool) {
	if !off {
		w.Vipps.Sim.SetFaults(simulator.Faults{})
		return
	}
	w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { delete(claims, "acr") }})
}

// TestRequireConfirmation: the last login was confirmed in the app, and a login for more of somebody who was is confirmed
// again. Where Vipps MobilePay does not say so, the session stays as it was.
func TestRequireConfirmation(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(requireSite("require /checkout/* {\n\t\t\tapp_confirmation\n\t\t}\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	asksFor := func(a harness.Answer) (acr, scope string) {
		t.Helper()
		scope = harness.ScopeAt(t, a)
		return harness.MustQuery(t, a.RedirectTo()).Get("acr_values"), scope
	}
	b := harness.NewBrowser(t)
	a := b.Get(shop + "/account/")
	if acr, _ := asksFor(a); acr != "" {
		t.Error("every login is confirmed")
	}
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	if acr, _ := asksFor(b.Get(shop + "/checkout/")); acr != "urn:vipps:acr:app_auth" {
		t.Errorf("acr_values: %q", acr)
	}
	noACR(w, true)
	failed := b.Login(shop+"/checkout/", harness.Kari).WantStatus(t, http.StatusForbidden)
	if !strings.Contains(failed.Text, "/vipps/login?return_to=%2Fcheckout%2F") {
		t.Errorf("no way to try again: %s", failed.Text)
	}
	b.Get(shop+"/account/").WantStatus(t, http.StatusOK)
	b.Get(shop+"/checkout/").WantStatus(t, http.StatusFound)
	noACR(w, false)
	b.Login(shop+"/checkout/", harness.Kari).WantStatus(t, http.StatusOK)
	if acr, scope := asksFor(b.Get(shop + "/wine/")); acr == "" || scope != "openid name birthDate" {
		t.Errorf("a login for more loses the confirmation: %q %q", acr, scope)
	}
	b.Login(shop+"/wine/", harness.Kari).WantStatus(t, http.StatusOK)
	b.Get(shop+"/checkout/").WantStatus(t, http.StatusOK)
	// A login that asks for no confirmation is one without: it is the one that counts from then on.
	if acr, scope := asksFor(b.Get(shop + "/vipps/login?return_to=/account/")); acr != "" || scope != "openid name" {
		t.Errorf("a plain login asks for %q %q", acr, scope)
	}
	b.Login(shop+"/vipps/login?return_to=/account/", harness.Kari).WantStatus(t, http.StatusOK)
	if r := w.Upstream.Last(t); r.Header.Get("X-Vipps-Birthdate") == "" {
		t.Error("a plain login of the same person loses what the session had")
	}
	b.Get(shop+"/wine/").WantStatus(t, http.StatusOK)
	p := b.Lacks(shop + "/checkout/")
	if !p.Required.AppConfirmation || p.Required.MaxAge != 0 || len(p.Required.Scope) != 0 {
		t.Errorf("required: %+v", *p.Required)
	}
	// A link to a login knows what the page behind it needs.
	if acr, _ := asksFor(b.Get(shop + "/vipps/login?return_to=/checkout/pay%3Fx=1")); acr == "" {
		t.Error("a link to a login asks for less than its page needs")
	}
}

// TestRequireOfAnother: nothing of one person's session goes into that of another who logs in for more.
func TestRequireOfAnother(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(requireSite("scope openid name delegatedConsents\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /mail/* {\n\t\t\tscope email\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	harness.NewBrowser(t).Login(shop+"/mail/", harness.Bjorn).WantStatus(t, http.StatusOK) // he consented long ago
	b.Login(shop+"/mail/", harness.Kari).WantStatus(t, http.StatusOK)
	before := b.Cookies(shop + "/")
	if w.Upstream.Last(t).Header.Get("X-Vipps-Delegatedconsents") == "" {
		t.Fatal("no consents")
	}
	b.Login(shop+"/wine/", harness.Kari).WantStatus(t, http.StatusOK)
	r := w.Upstream.Last(t)
	for _, field := range []string{"X-Vipps-Delegatedconsents", "X-Vipps-Email", "X-Vipps-Birthdate"} {
		if r.Header.Get(field) == "" {
			t.Errorf("the same person loses %s", field)
		}
	}
	old := harness.NewBrowser(t)
	old.Client.Jar = nil
	old.Get(shop+"/mail/", "Cookie: "+before).WantStatus(t, http.StatusFound) // it is ended

	b = harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	b.Login(shop+"/vipps/login?return_to=/account/", harness.Bjorn).WantStatus(t, http.StatusOK)
	r = w.Upstream.Last(t)
	if r.Header.Get("X-Vipps-Name") != "Bjørn Ærlig-Åsen" || r.Header.Get("X-Vipps-Delegatedconsents") != "" {
		t.Errorf("another person has %v", r.Header)
	}
	b = harness.NewBrowser(t)
	b.Login(shop+"/mail/", harness.Kari).WantStatus(t, http.StatusOK)
	b.Login(shop+"/vipps/login?return_to=/account/", harness.Bjorn).WantStatus(t, http.StatusOK)
	if r := w.Upstream.Last(t); r.Header.Get("X-Vipps-Email") != "" {
		t.Errorf("another person has %v", r.Header)
	}
	if p := b.Lacks(shop + "/mail/"); !slices.Equal(p.Required.Scope, []string{"email"}) {
		t.Errorf("another person has the first one's scopes: %+v", *p.Required)
	}
}

// TestRequireWhereNobodyIsSent: with deny and pass, a requirement answers 401 and lets nothing pass.
func TestRequireWhereNobodyIsSent(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	for _, how := range []string{"deny", "pass"} {
		w.Load(requireSite("on_unauthenticated " + how + "\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t\tmax_age 5m\n\t\t}"))
		b := harness.NewBrowser(t)
		for range 2 {
			page := b.Get(shop+"/wine/?x=1").WantStatus(t, http.StatusUnauthorized)
			if !strings.HasPrefix(page.Header.Get("WWW-Authenticate"), `Bearer error="insufficient_user_authentication"`) || !strings.Contains(page.Text, "/vipps/login?return_to=%2Fwine%2F%3Fx%3D1&amp;require=0") {
				t.Errorf("%s: %v\n%s", how, page.Header, page.Text)
			}
			b.Lacks(shop + "/wine/")
			b.Get(shop+"/wine/", "Sec-Purpose: prefetch").WantStatus(t, http.StatusUnauthorized)
			b.Login(shop+"/vipps/login?return_to=/open", harness.Kari).WantStatus(t, http.StatusOK)
		}
		b.Login(shop+"/vipps/login?return_to=/wine/", harness.Kari).WantStatus(t, http.StatusOK)
		b.Get(shop+"/wine/x").WantStatus(t, http.StatusOK)
		if how == "pass" {
			harness.NewBrowser(t).Get(shop+"/account/").WantStatus(t, http.StatusOK)
		}
	}
}

// TestRequireErrorRoutes: with error_pages off the site shows the refusal, and is not asked for what was refused.
func TestRequireErrorRoutes(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456 {\n\t\ton_unauthenticated deny\n\t\terror_pages off\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t}\n\trespond /missing/* 404\n\treverse_proxy $UPSTREAM\n" +
		"\thandle_errors {\n\t\tvipps_login 123456 {\n\t\t\trequire /wine/* {\n\t\t\t\tscope birthDate\n\t\t\t}\n\t\t}\n\t\t@more vars {http.vipps_login.error} more_required\n\t\trespond @more \"{http.vipps_login.error} {http.vipps_login.login_url}\" 401\n\t\treverse_proxy $UPSTREAM\n\t}\n}\n")
	b := harness.NewBrowser(t)
	b.Login(shop+"/vipps/login?return_to=/account/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Upstream.Last(t)
	a := b.Get(shop+"/wine/red").WantStatus(t, http.StatusUnauthorized)
	if w.Upstream.Count() != 0 || !strings.Contains(a.Header.Get("WWW-Authenticate"), "insufficient_user_authentication") {
		t.Errorf("%d requests, %v, %s", w.Upstream.Count(), a.Header, a.Text)
	}
	b.Lacks(shop + "/wine/red")
	if w.Upstream.Count() != 0 {
		t.Error("the site was asked for what was refused")
	}

	// What failed before the directive was asked is not shown either.
	w.Load("http://shop-a.localhost:$HTTP {\n\ttry_files {path}/nothing =404\n\tvipps_login 123456 {\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n" +
		"\thandle_errors {\n\t\tvipps_login 123456 {\n\t\t\trequire /wine/* {\n\t\t\t\tscope birthDate\n\t\t\t}\n\t\t}\n\t\treverse_proxy $UPSTREAM\n\t}\n}\n")
	b.Get(shop+"/wine/red").WantStatus(t, http.StatusNotFound)
	if w.Upstream.Count() != 0 {
		t.Error("the site was asked for what is required more for, as its error page")
	}
	b.Get(shop + "/account/x")
	if w.Upstream.Count() != 1 {
		t.Error("the error page is not shown to people with a session")
	}
}

// TestRequireReason: a refusal for want of more is counted and logged by its name.
func TestRequireReason(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(scrape.Site + requireSite("require @adults {\n\t\t\tscope birthDate\n\t\t}"))
	before := scrape.Metrics(w)
	harness.NewBrowser(t).Lacks(w.Shop("shop-a.localhost") + "/wine/")
	scrape.WantMore(t, before, scrape.Metrics(w), map[string]float64{"logins_failed_total{flow=browser,reason=more_required}": 1})
	if line := harness.LineWith(w.Logged(), `"reason":"more_required"`); !strings.Contains(line, `"level":"debug"`) {
		t.Errorf("logged: %s", line)
	}
}
