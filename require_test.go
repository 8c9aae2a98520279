package vippslogin_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// asScript are the headers of a script's request.
var asScript = []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: application/json"}

// requireSite is a site of MSN 123456, of which /account needs a login, with further lines in the directive.
func requireSite(lines string) string {
	return "http://shop-a.localhost:$HTTP {\n\t@adults path /wine /wine/*\n\tvipps_login /account/* 123456 {\n\t\t" + lines + "\n\t}\n\treverse_proxy $UPSTREAM\n}\n"
}

// problem is the JSON of a refusal.
type problem struct {
	Status   int
	LoginURL string `json:"login_url"`
	Required *struct {
		MaxAge          int `json:"max_age"`
		Scope           []string
		AppConfirmation bool `json:"app_confirmation"`
	}
}

// lacks is a script's request that is refused for want of more, and what it is told.
func (b *browser) lacks(address string, header ...string) problem {
	b.t.Helper()
	a := b.get(address, append(slices.Clone(asScript), header...)...).wantStatus(b.t, http.StatusUnauthorized)
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Required == nil {
		b.t.Fatalf("%s: %v\n%s", address, err, a.body)
	}
	if challenge := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `Bearer error="insufficient_user_authentication"`) {
		b.t.Errorf("%s: challenge %s", address, challenge)
	}
	return p
}

// scopeAt returns the scopes that a redirect to Vipps MobilePay asks for.
func scopeAt(t *testing.T, a answer) string {
	t.Helper()
	a.wantStatus(t, http.StatusFound)
	if !strings.Contains(a.location(), pathAuth) {
		t.Fatalf("not sent to Vipps MobilePay but to %s", a.location())
	}
	return mustQuery(t, a.location()).Get("scope")
}

// TestRequireScope: a page that needs a further scope sends people to Vipps MobilePay for it and back; scopes add up, and
// what is asked for and not given is asked for once.
func TestRequireScope(t *testing.T) {
	w := newWorld(t)
	w.load(requireSite("scope openid name\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /mail/* {\n\t\t\tscope email\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.get(shop+"/open").wantStatus(t, http.StatusOK)
	b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
	if r := w.upstream.last(t); r.Header.Get("X-Vipps-Birthdate") != "" {
		t.Error("a birthdate nobody asked for")
	}
	b.get(shop+"/open").wantStatus(t, http.StatusOK)
	if got := scopeAt(t, b.get(shop+"/wine/red?x=1")); got != "openid name birthDate" {
		t.Errorf("asked for %q", got)
	}
	b.login(shop+"/wine/red?x=1", kari).wantStatus(t, http.StatusOK)
	r := w.upstream.last(t)
	if r.URL.String() != "/wine/red?x=1" || r.Header.Get("X-Vipps-Birthdate") == "" || r.Header.Get("X-Vipps-Name") == "" {
		t.Errorf("%s %v", r.URL, r.Header)
	}
	if got := scopeAt(t, b.get(shop+"/mail/")); got != "openid name email birthDate" {
		t.Errorf("asked for %q", got)
	}
	b.login(shop+"/mail/", kari).wantStatus(t, http.StatusOK)
	r = w.upstream.last(t)
	if r.Header.Get("X-Vipps-Email") == "" || r.Header.Get("X-Vipps-Birthdate") == "" {
		t.Errorf("what there was is lost: %v", r.Header)
	}
	b.get(shop+"/wine").wantStatus(t, http.StatusOK)
	for _, path := range []string{"/wine/..%2fwine/x", "/x/../wine/red", "//wine/red", "/wine;x/red", "/WINE/red", "/%77ine/red", "/wine./x"} {
		newBrowser(t).get(shop+path).wantStatus(t, http.StatusFound)
	}
}

// TestRequireWithoutSession: a requirement needs a session where the directive's matcher does not say so, and the first
// login asks for everything.
func TestRequireWithoutSession(t *testing.T) {
	w := newWorld(t)
	w.load(requireSite("scope openid name\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t\tapp_confirmation\n\t\t\tmax_age 10m\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	a := b.get(shop + "/wine/")
	if got := scopeAt(t, a); got != "openid name birthDate" || mustQuery(t, a.location()).Get("acr_values") == "" {
		t.Errorf("asked for %s", a.location())
	}
	p := b.lacks(shop+"/wine/api", "Referer: "+shop+"/shelf?x=1")
	if p.Required.MaxAge != 600 || !slices.Equal(p.Required.Scope, []string{"birthDate"}) || !p.Required.AppConfirmation {
		t.Errorf("required: %+v", *p.Required)
	}
	form := newRequest(t, http.MethodPost, shop+"/wine/order", strings.NewReader("a=b"), "Content-Type: application/x-www-form-urlencoded", "Origin: "+shop)
	page := b.do(form).wantStatus(t, http.StatusUnauthorized)
	if got := page.Header.Get("WWW-Authenticate"); got != `Bearer error="insufficient_user_authentication", max_age="600", acr_values="urn:vipps:acr:app_auth"` {
		t.Errorf("challenge: %s", got)
	}
	if !strings.Contains(page.Header.Get("Content-Type"), "text/html") || !strings.Contains(page.body, "Continue") {
		t.Errorf("the page: %s", page.body)
	}
	if p.LoginURL == "" {
		t.Fatal("no login_url")
	}
	back := b.follow(b.consent(b.follow(b.get(shop+p.LoginURL)), url.Values{"user": {kari}, "answer": {"approve"}}))
	if back.Request.URL.RequestURI() != "/shelf?x=1" {
		t.Errorf("back at %s", back.Request.URL)
	}
	b.get(shop+"/wine/api", asScript...).wantStatus(t, http.StatusOK)
}

// noACR has a Vipps MobilePay leave out that a login was confirmed, or not.
func noACR(w *world, off bool) {
	if !off {
		w.vipps.sim.SetFaults(simulator.Faults{})
		return
	}
	w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { delete(claims, "acr") }})
}

// TestRequireConfirmation: the last login was confirmed in the app, and a login for more of somebody who was is confirmed
// again. Where Vipps MobilePay does not say so, the session stays as it was.
func TestRequireConfirmation(t *testing.T) {
	w := newWorld(t)
	w.load(requireSite("require /checkout/* {\n\t\t\tapp_confirmation\n\t\t}\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	asksFor := func(a answer) (acr, scope string) {
		t.Helper()
		scope = scopeAt(t, a)
		return mustQuery(t, a.location()).Get("acr_values"), scope
	}
	b := newBrowser(t)
	a := b.get(shop + "/account/")
	if acr, _ := asksFor(a); acr != "" {
		t.Error("every login is confirmed")
	}
	b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
	if acr, _ := asksFor(b.get(shop + "/checkout/")); acr != "urn:vipps:acr:app_auth" {
		t.Errorf("acr_values: %q", acr)
	}
	noACR(w, true)
	failed := b.login(shop+"/checkout/", kari).wantStatus(t, http.StatusForbidden)
	if !strings.Contains(failed.body, "/vipps/login?return_to=%2Fcheckout%2F") {
		t.Errorf("no way to try again: %s", failed.body)
	}
	b.get(shop+"/account/").wantStatus(t, http.StatusOK)
	b.get(shop+"/checkout/").wantStatus(t, http.StatusFound)
	noACR(w, false)
	b.login(shop+"/checkout/", kari).wantStatus(t, http.StatusOK)
	if acr, scope := asksFor(b.get(shop + "/wine/")); acr == "" || scope != "openid name birthDate" {
		t.Errorf("a login for more loses the confirmation: %q %q", acr, scope)
	}
	b.login(shop+"/wine/", kari).wantStatus(t, http.StatusOK)
	b.get(shop+"/checkout/").wantStatus(t, http.StatusOK)
	// A login that asks for no confirmation is one without: it is the one that counts from then on.
	if acr, scope := asksFor(b.get(shop + "/vipps/login?return_to=/account/")); acr != "" || scope != "openid name" {
		t.Errorf("a plain login asks for %q %q", acr, scope)
	}
	b.login(shop+"/vipps/login?return_to=/account/", kari).wantStatus(t, http.StatusOK)
	if r := w.upstream.last(t); r.Header.Get("X-Vipps-Birthdate") == "" {
		t.Error("a plain login of the same person loses what the session had")
	}
	b.get(shop+"/wine/").wantStatus(t, http.StatusOK)
	p := b.lacks(shop + "/checkout/")
	if !p.Required.AppConfirmation || p.Required.MaxAge != 0 || len(p.Required.Scope) != 0 {
		t.Errorf("required: %+v", *p.Required)
	}
	// A link to a login knows what the page behind it needs.
	if acr, _ := asksFor(b.get(shop + "/vipps/login?return_to=/checkout/pay%3Fx=1")); acr == "" {
		t.Error("a link to a login asks for less than its page needs")
	}
}

// TestRequireOfAnother: nothing of one person's session goes into that of another who logs in for more.
func TestRequireOfAnother(t *testing.T) {
	w := newWorld(t)
	w.load(requireSite("scope openid name delegatedConsents\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /mail/* {\n\t\t\tscope email\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	newBrowser(t).login(shop+"/mail/", bjorn).wantStatus(t, http.StatusOK) // he consented long ago
	b.login(shop+"/mail/", kari).wantStatus(t, http.StatusOK)
	before := b.cookies(shop + "/")
	if w.upstream.last(t).Header.Get("X-Vipps-Delegatedconsents") == "" {
		t.Fatal("no consents")
	}
	b.login(shop+"/wine/", kari).wantStatus(t, http.StatusOK)
	r := w.upstream.last(t)
	for _, field := range []string{"X-Vipps-Delegatedconsents", "X-Vipps-Email", "X-Vipps-Birthdate"} {
		if r.Header.Get(field) == "" {
			t.Errorf("the same person loses %s", field)
		}
	}
	old := newBrowser(t)
	old.client.Jar = nil
	old.get(shop+"/mail/", "Cookie: "+before).wantStatus(t, http.StatusFound) // it is ended

	b = newBrowser(t)
	b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
	b.login(shop+"/vipps/login?return_to=/account/", bjorn).wantStatus(t, http.StatusOK)
	r = w.upstream.last(t)
	if r.Header.Get("X-Vipps-Name") != "Bjørn Ærlig-Åsen" || r.Header.Get("X-Vipps-Delegatedconsents") != "" {
		t.Errorf("another person has %v", r.Header)
	}
	b = newBrowser(t)
	b.login(shop+"/mail/", kari).wantStatus(t, http.StatusOK)
	b.login(shop+"/vipps/login?return_to=/account/", bjorn).wantStatus(t, http.StatusOK)
	if r := w.upstream.last(t); r.Header.Get("X-Vipps-Email") != "" {
		t.Errorf("another person has %v", r.Header)
	}
	if p := b.lacks(shop + "/mail/"); !slices.Equal(p.Required.Scope, []string{"email"}) {
		t.Errorf("another person has the first one's scopes: %+v", *p.Required)
	}
}

// TestRequireWhereNobodyIsSent: with deny and pass, a requirement answers 401 and lets nothing pass.
func TestRequireWhereNobodyIsSent(t *testing.T) {
	w := newWorld(t)
	shop := w.shop("shop-a.localhost")
	for _, how := range []string{"deny", "pass"} {
		w.load(requireSite("on_unauthenticated " + how + "\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t\tmax_age 5m\n\t\t}"))
		b := newBrowser(t)
		for range 2 {
			page := b.get(shop+"/wine/?x=1").wantStatus(t, http.StatusUnauthorized)
			if !strings.HasPrefix(page.Header.Get("WWW-Authenticate"), `Bearer error="insufficient_user_authentication"`) || !strings.Contains(page.body, "/vipps/login?return_to=%2Fwine%2F%3Fx%3D1&amp;require=0") {
				t.Errorf("%s: %v\n%s", how, page.Header, page.body)
			}
			b.lacks(shop + "/wine/")
			b.get(shop+"/wine/", "Sec-Purpose: prefetch").wantStatus(t, http.StatusUnauthorized)
			b.login(shop+"/vipps/login?return_to=/open", kari).wantStatus(t, http.StatusOK)
		}
		b.login(shop+"/vipps/login?return_to=/wine/", kari).wantStatus(t, http.StatusOK)
		b.get(shop+"/wine/x").wantStatus(t, http.StatusOK)
		if how == "pass" {
			newBrowser(t).get(shop+"/account/").wantStatus(t, http.StatusOK)
		}
	}
}

// TestRequireErrorRoutes: with error_pages off the site shows the refusal, and is not asked for what was refused.
func TestRequireErrorRoutes(t *testing.T) {
	w := newWorld(t)
	shop := w.shop("shop-a.localhost")
	w.load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456 {\n\t\ton_unauthenticated deny\n\t\terror_pages off\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t}\n\trespond /missing/* 404\n\treverse_proxy $UPSTREAM\n" +
		"\thandle_errors {\n\t\tvipps_login 123456 {\n\t\t\trequire /wine/* {\n\t\t\t\tscope birthDate\n\t\t\t}\n\t\t}\n\t\t@more vars {http.vipps_login.error} more_required\n\t\trespond @more \"{http.vipps_login.error} {http.vipps_login.login_url}\" 401\n\t\treverse_proxy $UPSTREAM\n\t}\n}\n")
	b := newBrowser(t)
	b.login(shop+"/vipps/login?return_to=/account/", kari).wantStatus(t, http.StatusOK)
	w.upstream.last(t)
	a := b.get(shop+"/wine/red").wantStatus(t, http.StatusUnauthorized)
	if w.upstream.count() != 0 || !strings.Contains(a.Header.Get("WWW-Authenticate"), "insufficient_user_authentication") {
		t.Errorf("%d requests, %v, %s", w.upstream.count(), a.Header, a.body)
	}
	b.lacks(shop + "/wine/red")
	if w.upstream.count() != 0 {
		t.Error("the site was asked for what was refused")
	}

	// What failed before the directive was asked is not shown either.
	w.load("http://shop-a.localhost:$HTTP {\n\ttry_files {path}/nothing =404\n\tvipps_login 123456 {\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n" +
		"\thandle_errors {\n\t\tvipps_login 123456 {\n\t\t\trequire /wine/* {\n\t\t\t\tscope birthDate\n\t\t\t}\n\t\t}\n\t\treverse_proxy $UPSTREAM\n\t}\n}\n")
	b.get(shop+"/wine/red").wantStatus(t, http.StatusNotFound)
	if w.upstream.count() != 0 {
		t.Error("the site was asked for what is required more for, as its error page")
	}
	b.get(shop + "/account/x")
	if w.upstream.count() != 1 {
		t.Error("the error page is not shown to people with a session")
	}
}

// TestRequireInDocumentation: the documented Caddyfile does as the page says.
func TestRequireInDocumentation(t *testing.T) {
	shop := documentedSite(t, "docs/directive.md", "require @adults").shop("shop-a.localhost")
	b := newBrowser(t)
	b.get(shop+"/").wantStatus(t, http.StatusOK)
	if got := scopeAt(t, b.get(shop+"/account/")); got != "openid name" {
		t.Errorf("asked for %s", got)
	}
	b.login(shop+"/wine/", kari).wantStatus(t, http.StatusOK)
	a := b.get(shop + "/checkout/")
	if got := scopeAt(t, a); got != "openid name birthDate" || mustQuery(t, a.location()).Get("acr_values") == "" {
		t.Errorf("asked for %s", a.location())
	}
	p := b.lacks(shop + "/checkout/")
	if p.Required.MaxAge != 0 || !p.Required.AppConfirmation || len(p.Required.Scope) != 0 {
		t.Errorf("required: %+v", *p.Required)
	}
	b.login(shop+"/checkout/", kari).wantStatus(t, http.StatusOK)
	b.get(shop+"/wine/").wantStatus(t, http.StatusOK)
}

// TestRequireReason: a refusal for want of more is counted and logged by its name.
func TestRequireReason(t *testing.T) {
	w := newWorld(t)
	w.load(metricsSite + requireSite("require @adults {\n\t\t\tscope birthDate\n\t\t}"))
	before := w.scrape()
	newBrowser(t).lacks(w.shop("shop-a.localhost") + "/wine/")
	wantMore(t, before, w.scrape(), map[string]float64{"logins_failed_total{flow=browser,reason=more_required}": 1})
	if line := lineWith(w.logged(), `"reason":"more_required"`); !strings.Contains(line, `"level":"debug"`) {
		t.Errorf("logged: %s", line)
	}
}
