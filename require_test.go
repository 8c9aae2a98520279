package vippslogin_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
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
