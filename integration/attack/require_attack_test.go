package attack_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestRequirePathTricks: policy and site see different paths (CVE-2025-54576 and its like). Whatever a site may take for a
// protected path needs more, also of somebody who has a session; what is none needs nothing.
func TestRequirePathTricks(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(strings.Replace(requireSite("require /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire @query {\n\t\t\tscope email\n\t\t}"),
		"@adults path /wine /wine/*", "@query query page=secret", 1))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	cookies := "Cookie: " + b.Cookies(shop+"/")
	for _, path := range []string{
		"/wine/", "/wine/red", "/WINE/red", "//wine/red", "/./wine/red", "/x/../wine/red", "/x/..%2fwine/red", "/%77ine/red", "/%2577ine/red", "/wine%2fred",
		"/;x/wine/red", "/wine;x=1/red", "/wine./red", "/wine%20/red", `/x\..\wine\red`, `/wine\red`, "/wine%5cred", "/wine:x/red", "/wine%00/red", "/wine/../open", "/wine/%2e%2e/open",
		"/?page=secret", "/?page=%73ecret", "/?x=%&page=secret", "/?x;page=secret", "/?page=secret&page=open", "/?page=open&page=secret",
	} {
		w.Upstream.TakeCount()
		status, header := harness.RawRequest(t, w.HTTP, "GET "+path+" HTTP/1.1\r\nHost: shop-a.localhost\r\nSec-Fetch-Mode: cors\r\n"+cookies+"\r\nConnection: close\r\n\r\n")
		if status != http.StatusUnauthorized || !strings.Contains(header.Get("WWW-Authenticate"), "insufficient_user_authentication") || w.Upstream.TakeCount() > 0 {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, path := range []string{"/open", "/winery", "/open/wine/red", "/?page=open", "/?q=/wine/red", "/#/wine/red"} {
		if status, _ := harness.RawRequest(t, w.HTTP, "GET "+path+" HTTP/1.1\r\nHost: shop-a.localhost\r\nSec-Fetch-Mode: cors\r\n"+cookies+"\r\nConnection: close\r\n\r\n"); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, header := range []string{"X-Original-URL: /open", "X-Rewrite-URL: /open", "X-Forwarded-Uri: /open", "X-HTTP-Method-Override: OPTIONS"} {
		b.Lacks(shop+"/wine/red", header)
	}
}

// TestRequireBehindRewrites: the request as sent counts, and as it is after a rewrite.
func TestRequireBehindRewrites(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load("http://shop-a.localhost:$HTTP {\n\trewrite /public/* /wine/red\n\trewrite /wine/old /open\n\tvipps_login /account/* 123456 {\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	b.Lacks(shop + "/public/x")
	b.Lacks(shop + "/wine/old")
	if back := b.Login(shop+"/public/x?y=1", harness.Kari).WantStatus(t, http.StatusOK); back.Request.URL.RequestURI() != "/public/x?y=1" {
		t.Errorf("back at %s", back.Request.URL)
	}
}

// TestRequireWhoAsks: only a page view in a window is sent to Vipps MobilePay, whatever the method; nothing else reaches the
// site, and a websocket neither.
func TestRequireWhoAsks(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(requireSite("require @adults {\n\t\t\tscope birthDate\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Upstream.TakeCount()
	started := func(a harness.Answer) bool {
		return a.StatusCode == http.StatusFound && strings.Contains(a.RedirectTo(), harness.PathAuth)
	}
	for name, test := range map[string]struct {
		method string
		header []string
		sent   bool
		person bool
	}{
		"page":           {"GET", nil, true, true},
		"head":           {"HEAD", nil, true, true},
		"prefetch":       {"GET", []string{"Sec-Purpose: prefetch;prerender"}, false, false},
		"frame":          {"GET", []string{"Sec-Fetch-Dest: iframe"}, false, true},
		"image":          {"GET", []string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, false, false},
		"script":         {"GET", harness.AsScript, false, false},
		"XHR":            {"GET", []string{"X-Requested-With: XMLHttpRequest"}, false, false},
		"websocket":      {"GET", []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}, false, false},
		"form":           {"POST", nil, false, true},
		"form in script": {"POST", harness.AsScript, false, false},
		"put":            {"PUT", nil, false, false},
		"delete":         {"DELETE", harness.AsScript, false, false},
		"preflight":      {"OPTIONS", []string{"Origin: https://other.example", "Access-Control-Request-Method: PUT"}, false, false},
		"made up":        {"BREW", nil, false, false},
	} {
		a := b.Do(harness.NewRequest(t, test.method, shop+"/wine/red", nil, test.header...))
		html := strings.Contains(a.Header.Get("Content-Type"), "text/html")
		switch {
		case started(a) != test.sent:
			t.Errorf("%s: %d %s", name, a.StatusCode, a.RedirectTo())
		case !test.sent && (a.StatusCode != http.StatusUnauthorized || html != test.person || !strings.Contains(a.Header.Get("WWW-Authenticate"), "insufficient_user_authentication")):
			t.Errorf("%s: %d %v", name, a.StatusCode, a.Header)
		case a.Header.Get("Cache-Control") != "no-store":
			t.Errorf("%s may be cached: %v", name, a.Header)
		}
	}
	if n := w.Upstream.TakeCount(); n > 0 {
		t.Errorf("%d requests reached the site", n)
	}
	page := b.Do(harness.NewRequest(t, http.MethodPost, shop+"/wine/order", nil, "Referer: "+shop+"/shelf", "Accept-Language: nb")).WantStatus(t, http.StatusUnauthorized)
	if !strings.Contains(page.Text, "send det på nytt") || !strings.Contains(page.Text, "/vipps/login?return_to=%2Fshelf&amp;require=0") {
		t.Errorf("the page: %s", page.Text)
	}
}

// TestRequireAddress: the address of a login asks for what the config requires, and for nothing that somebody wrote into it.
func TestRequireAddress(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(requireSite("require /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /mail/* {\n\t\t\tscope email\n\t\t\tapp_confirmation\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	for query, want := range map[string]string{
		"return_to=/":                                             "openid name",
		"return_to=/&require=0":                                   "openid name birthDate",
		"return_to=/&require=0.1":                                 "openid name birthDate email",
		"return_to=/&require=1":                                   "openid name email",
		"return_to=/&require=2":                                   "openid name",
		"return_to=/&require=-1.x.99999999999.0x0.00.%30%30":      "openid name",
		"return_to=/&require=nin&scope=nin&scopes=nin":            "openid name",
		"return_to=/&scope=openid+nin&acr_values=urn:x":           "openid name",
		"return_to=/&require=" + strings.Repeat("9.", 5000) + "0": "openid name",
		"return_to=/wine/red%3Fx":                                 "openid name birthDate",
		"return_to=//evil.example/wine/":                          "openid name",
		"return_to=https://evil.example/wine/":                    "openid name",
		"return_to=/winery":                                       "openid name",
	} {
		a := b.Get(shop + "/vipps/login?" + query)
		if got := harness.ScopeAt(t, a); got != want {
			t.Errorf("%.60s asks for %q, want %q", query, got, want)
		}
		if acr := harness.MustQuery(t, a.RedirectTo()).Get("acr_values"); (acr == "urn:vipps:acr:app_auth") != strings.Contains(want, "email") || acr != "" && acr != "urn:vipps:acr:app_auth" {
			t.Errorf("%.60s: acr_values %q", query, acr)
		}
	}
}

// TestRequireOfThePhone: a login from a phone number that ends in the browser counts as confirmed, and has the scopes that
// the till asked for.
func TestRequireOfThePhone(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	w.Load(strings.Replace(harness.PhoneShops, "vipps_login /account/* 123456 {", "vipps_login /account/* 123456 {\n\t\trequire /checkout/* {\n\t\t\tapp_confirmation\n\t\t\tmax_age 10m\n\t\t}\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /mail/* {\n\t\t\tscope email\n\t\t}", 1))
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	_, authReqID := c.Start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/wine/","scope":"openid birthDate"}`)
	b := harness.NewBrowser(t)
	b.Follow(b.Get(harness.MustAnswer(t, w, authReqID, true))).WantStatus(t, http.StatusOK)
	b.Get(c.Shop+"/checkout/").WantStatus(t, http.StatusOK)
	b.Get(c.Shop+"/wine/").WantStatus(t, http.StatusOK)
	if p := b.Lacks(c.Shop + "/mail/"); !slices.Equal(p.Required.Scope, []string{"email"}) {
		t.Errorf("required: %+v", *p.Required)
	}
	a := b.Get(c.Shop + "/mail/")
	if got := harness.ScopeAt(t, a); !strings.Contains(got, "birthDate") || !strings.Contains(got, "email") || harness.MustQuery(t, a.RedirectTo()).Get("acr_values") == "" {
		t.Errorf("asked for %s", a.RedirectTo())
	}

	// In a browser with a session of that person, they add up.
	b = harness.NewBrowser(t)
	b.Login(c.Shop+"/mail/", harness.Kari).WantStatus(t, http.StatusOK)
	_, authReqID = c.Start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/wine/","scope":"openid birthDate"}`)
	b.Follow(b.Get(harness.MustAnswer(t, w, authReqID, true))).WantStatus(t, http.StatusOK)
	b.Get(c.Shop+"/mail/").WantStatus(t, http.StatusOK)
	b.Get(c.Shop+"/checkout/").WantStatus(t, http.StatusOK)
	if w.Upstream.Last(t).Header.Get("X-Vipps-Email") == "" {
		t.Error("what there was is lost")
	}
	_, authReqID = c.Start(w, fmt.Sprintf(`{"phone_number":%q,"finish":"browser","return_to":"/open","scope":"openid name"}`, harness.Bjorn))
	b.Follow(b.Get(harness.MustAnswer(t, w, authReqID, true))).WantStatus(t, http.StatusOK)
	b.Lacks(c.Shop + "/mail/")
	b.Lacks(c.Shop + "/wine/")
}

// TestRequireInAnyBrowser: a login that is completed in another browser has there what it asked for.
func TestRequireInAnyBrowser(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(requireSite("return_in_any_browser\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t\tapp_confirmation\n\t\t\tmax_age 10m\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	for _, path := range []string{"/wine/", "/wine/" + harness.RandomText(400) + "?q=" + harness.RandomText(600)} {
		b, other := harness.NewBrowser(t), harness.NewBrowser(t)
		b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
		callback := b.Approved(shop+path, harness.Kari).RedirectTo()
		if n := len(harness.MustQuery(t, callback).Get("state")); n >= 800 {
			t.Errorf("state has %d characters", n)
		}
		other.Get(callback).WantStatus(t, http.StatusFound)
		other.Get(shop+"/wine/red").WantStatus(t, http.StatusOK)
		if r := w.Upstream.Last(t); r.Header.Get("X-Vipps-Birthdate") == "" {
			t.Errorf("%v", r.Header)
		}
		b.Lacks(shop + "/wine/red")
	}
}

// TestRequireInTwoTabs: two tabs that are sent for more at once each get it, in whichever order they come back, and a
// callback that is sent twice changes nothing.
func TestRequireInTwoTabs(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(requireSite("require @adults {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /mail/* {\n\t\t\tscope email\n\t\t\tapp_confirmation\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		b := harness.NewBrowser(t)
		b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
		tabs := []string{b.Approved(shop+"/wine/", harness.Kari).RedirectTo(), b.Approved(shop+"/mail/", harness.Kari).RedirectTo()}
		for _, i := range order {
			b.Get(tabs[i]).WantStatus(t, http.StatusFound)
			b.Get(tabs[i]).WantStatus(t, http.StatusFound) // sent twice
		}
		b.Get(shop+"/wine/").WantStatus(t, http.StatusOK)
		r := w.Upstream.Last(t)
		if r.Header.Get("X-Vipps-Email") == "" || r.Header.Get("X-Vipps-Birthdate") == "" {
			t.Errorf("%v: one tab takes away what the other got: %v", order, r.Header)
		}
		if order[1] == 1 {
			b.Get(shop+"/mail/").WantStatus(t, http.StatusOK)
		} else {
			b.Login(shop+"/mail/", harness.Kari).WantStatus(t, http.StatusOK) // the last login was not confirmed
		}
	}
	// At the very same time: whichever answer wins, at most one more login is needed.
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	tabs := []string{b.Approved(shop+"/wine/", harness.Kari).RedirectTo(), b.Approved(shop+"/mail/", harness.Kari).RedirectTo()}
	var both sync.WaitGroup
	for _, callback := range tabs {
		both.Go(func() {
			if a := b.Get(callback); a.StatusCode != http.StatusFound {
				t.Errorf("at once: %d", a.StatusCode)
			}
		})
	}
	both.Wait()
	for _, path := range []string{"/wine/", "/mail/"} {
		if b.Get(shop+path).StatusCode != http.StatusOK {
			b.Login(shop+path, harness.Kari).WantStatus(t, http.StatusOK)
		}
	}
	b.Get(shop+"/wine/").WantStatus(t, http.StatusOK)
}

// TestRequireStolenSession: the cookies of one person's login for more are of no use with another's session, and a session
// that was replaced by a login for more is ended, in copies too.
func TestRequireStolenSession(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(requireSite("require @adults {\n\t\t\tscope birthDate\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	a, b := harness.NewBrowser(t), harness.NewBrowser(t)
	a.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	b.Login(shop+"/account/", harness.Bjorn).WantStatus(t, http.StatusOK)
	callback := a.Approved(shop+"/wine/", harness.Kari).RedirectTo()
	at, _ := url.Parse(shop + "/")
	var stolen []*http.Cookie
	for _, c := range a.Client.Jar.Cookies(at) {
		if strings.HasPrefix(c.Name, "vipps_login_") {
			stolen = append(stolen, c)
		}
	}
	b.Client.Jar.SetCookies(at, stolen) // what a sibling could plant over plain HTTP
	b.Get(callback).WantStatus(t, http.StatusFound)
	b.Get(shop+"/wine/").WantStatus(t, http.StatusOK)
	if r := w.Upstream.Last(t); r.Header.Get("X-Vipps-Name") != "Kari Nordmann" || r.Header.Get("X-Vipps-Birthdate") != "1990-05-17" {
		t.Errorf("a mixture: %v", r.Header)
	}
	before := a.Cookies(shop + "/")
	a.Login(shop+"/wine/", harness.Kari).WantStatus(t, http.StatusOK)
	copied := harness.NewBrowser(t)
	copied.Client.Jar = nil
	copied.Get(shop+"/account/", "Cookie: "+before).WantStatus(t, http.StatusFound)
}

// TestRequireOverHTTP2And3: the same tricks over the other transports, and websockets that are opened by CONNECT (RFC 8441,
// RFC 9220), of somebody whose session is not enough.
func TestRequireOverHTTP2And3(t *testing.T) {
	w := harness.NewWorld(t)
	t.Setenv("GODEBUG", "http2xconnect=1")
	w.StartHTTP3("https://shop-a.localhost:$HTTP {\n\ttls $CERT $KEY\n\t@socket header Upgrade websocket\n\tvipps_login /nothing/* 123456 {\n\t\trequire /account/* {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire @socket {\n\t\t\tscope email\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\n", "")
	shop := w.SecureShop("shop-a.localhost")
	for major, newBrowser := range transports {
		b := newBrowser(t)
		b.Follow(b.Consent(b.Follow(b.Get(shop+"/vipps/login")), harness.Approve(harness.Kari))).WantStatus(t, http.StatusOK)
		w.Upstream.TakeCount()
		ask := func(first ...string) int {
			status, _ := rawFields(t, major, w.HTTPS, append(first, ":scheme: https", ":authority: shop-a.localhost", "sec-fetch-mode: cors", "x-original-url: /public", "cookie: "+b.Cookies(shop+"/"))...)
			return status
		}
		for _, path := range closedPaths {
			if got := ask(":method: GET", ":path: "+path); got != http.StatusUnauthorized && got != http.StatusBadRequest || w.Upstream.Count() > 0 {
				t.Errorf("HTTP/%d, %s: got %d, and the site %d requests", major, path, got, w.Upstream.Count())
			}
		}
		for _, path := range openPaths {
			if got := ask(":method: GET", ":path: "+path); got != http.StatusOK {
				t.Errorf("HTTP/%d, %s: got %d, want the site's 200", major, path, got)
			}
		}
		w.Upstream.TakeCount()
		for _, path := range []string{"/account/socket", "/;x/account/socket", "/elsewhere"} {
			got, _ := rawFields(t, major, w.HTTPS, ":method: CONNECT", ":protocol: websocket", ":scheme: https", ":authority: shop-a.localhost", ":path: "+path, "sec-websocket-version: 13", "cookie: "+b.Cookies(shop+"/"))
			if got != http.StatusUnauthorized || w.Upstream.Count() > 0 {
				t.Errorf("HTTP/%d, a websocket at %s: %d", major, path, got)
			}
		}
	}
}

// TestRequireMatcherThatFails: where a requirement's matcher fails, nobody knows what is required, and nothing is shown.
func TestRequireMatcherThatFails(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(strings.Replace(requireSite("require @adults {\n\t\t\tmax_age 10m\n\t\t}"), "@adults path /wine /wine/*", "@adults expression `{http.auth.user.age} >= 18`", 1))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Get(shop+"/open").WantStatus(t, http.StatusInternalServerError)
	b.Follow(b.Consent(b.Follow(b.Get(shop+"/vipps/login")), harness.Approve(harness.Kari))).WantStatus(t, http.StatusInternalServerError)
	b.Get(shop+"/open", harness.AsScript...).WantStatus(t, http.StatusInternalServerError)
	if w.Upstream.Count() > 0 {
		t.Error("the site was asked")
	}
	if line := harness.LineWith(w.Logged(), `"reason":"matcher"`); line == "" {
		t.Error("nothing in the log")
	}
}

// TestRequirePlaceholders are resolved when the config is loaded, and several words in one are several scopes.
func TestRequirePlaceholders(t *testing.T) {
	w := harness.NewWorld(t)
	site := requireSite("header_limit {env.SIZE}\n\t\trequire @adults {\n\t\t\tscope {env.SCOPES}\n\t\t\tmax_age {env.AGE}\n\t\t}")
	good := map[string]string{"SIZE": "4KiB", "SCOPES": "birthDate  email", "AGE": "10m"}
	for name, value := range good {
		t.Setenv(name, value)
	}
	w.Load(site)
	p := harness.NewBrowser(t).Lacks(w.Shop("shop-a.localhost") + "/wine/")
	if p.Required.MaxAge != 600 || !slices.Equal(p.Required.Scope, []string{"birthDate", "email"}) {
		t.Errorf("required: %+v", *p.Required)
	}
	for name, values := range map[string][]string{"SIZE": {"", "0", "large", "-1"}, "SCOPES": {"", " ", "a,b"}, "AGE": {"", "0", "-1m", "10ms", "soon"}} {
		for _, value := range values {
			t.Setenv(name, value)
			if err := w.TryLoad(w.Globals() + site); err == nil {
				t.Errorf("%s is %q, and that is no mistake", name, value)
			}
		}
		t.Setenv(name, good[name])
	}
}
