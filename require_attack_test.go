package vippslogin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestRequirePathTricks: policy and site see different paths (CVE-2025-54576 and its like). Whatever a site may take for a
// protected path needs more, also of somebody who has a session; what is none needs nothing.
func TestRequirePathTricks(t *testing.T) {
	w := newWorld(t)
	w.load(strings.Replace(requireSite("require /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire @query {\n\t\t\tscope email\n\t\t}"),
		"@adults path /wine /wine/*", "@query query page=secret", 1))
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
	cookies := "Cookie: " + b.cookies(shop+"/")
	for _, path := range []string{
		"/wine/", "/wine/red", "/WINE/red", "//wine/red", "/./wine/red", "/x/../wine/red", "/x/..%2fwine/red", "/%77ine/red", "/%2577ine/red", "/wine%2fred",
		"/;x/wine/red", "/wine;x=1/red", "/wine./red", "/wine%20/red", `/x\..\wine\red`, `/wine\red`, "/wine%5cred", "/wine:x/red", "/wine%00/red", "/wine/../open", "/wine/%2e%2e/open",
		"/?page=secret", "/?page=%73ecret", "/?x=%&page=secret", "/?x;page=secret", "/?page=secret&page=open", "/?page=open&page=secret",
	} {
		w.upstream.last0()
		status, header := rawRequest(t, w.http, "GET "+path+" HTTP/1.1\r\nHost: shop-a.localhost\r\nSec-Fetch-Mode: cors\r\n"+cookies+"\r\nConnection: close\r\n\r\n")
		if status != http.StatusUnauthorized || !strings.Contains(header.Get("WWW-Authenticate"), "insufficient_user_authentication") || w.upstream.last0() > 0 {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, path := range []string{"/open", "/winery", "/open/wine/red", "/?page=open", "/?q=/wine/red", "/#/wine/red"} {
		if status, _ := rawRequest(t, w.http, "GET "+path+" HTTP/1.1\r\nHost: shop-a.localhost\r\nSec-Fetch-Mode: cors\r\n"+cookies+"\r\nConnection: close\r\n\r\n"); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, header := range []string{"X-Original-URL: /open", "X-Rewrite-URL: /open", "X-Forwarded-Uri: /open", "X-HTTP-Method-Override: OPTIONS"} {
		b.lacks(shop+"/wine/red", header)
	}
}

// last0 returns how many requests the site got, and forgets them.
func (u *upstream) last0() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := len(u.requests)
	u.requests = nil
	return n
}

// TestRequireBehindRewrites: the request as sent counts, and as it is after a rewrite.
func TestRequireBehindRewrites(t *testing.T) {
	w := newWorld(t)
	w.load("http://shop-a.localhost:$HTTP {\n\trewrite /public/* /wine/red\n\trewrite /wine/old /open\n\tvipps_login /account/* 123456 {\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
	b.lacks(shop + "/public/x")
	b.lacks(shop + "/wine/old")
	if back := b.login(shop+"/public/x?y=1", kari).wantStatus(t, http.StatusOK); back.Request.URL.RequestURI() != "/public/x?y=1" {
		t.Errorf("back at %s", back.Request.URL)
	}
}

// TestRequireWhoAsks: only a page view in a window is sent to Vipps MobilePay, whatever the method; nothing else reaches the
// site, and a websocket neither.
func TestRequireWhoAsks(t *testing.T) {
	w := newWorld(t)
	w.load(requireSite("require @adults {\n\t\t\tscope birthDate\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
	w.upstream.last0()
	started := func(a answer) bool {
		return a.StatusCode == http.StatusFound && strings.Contains(a.location(), pathAuth)
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
		"script":         {"GET", asScript, false, false},
		"XHR":            {"GET", []string{"X-Requested-With: XMLHttpRequest"}, false, false},
		"websocket":      {"GET", []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}, false, false},
		"form":           {"POST", nil, false, true},
		"form in script": {"POST", asScript, false, false},
		"put":            {"PUT", nil, false, false},
		"delete":         {"DELETE", asScript, false, false},
		"preflight":      {"OPTIONS", []string{"Origin: https://other.example", "Access-Control-Request-Method: PUT"}, false, false},
		"made up":        {"BREW", nil, false, false},
	} {
		a := b.do(newRequest(t, test.method, shop+"/wine/red", nil, test.header...))
		html := strings.Contains(a.Header.Get("Content-Type"), "text/html")
		switch {
		case started(a) != test.sent:
			t.Errorf("%s: %d %s", name, a.StatusCode, a.location())
		case !test.sent && (a.StatusCode != http.StatusUnauthorized || html != test.person || !strings.Contains(a.Header.Get("WWW-Authenticate"), "insufficient_user_authentication")):
			t.Errorf("%s: %d %v", name, a.StatusCode, a.Header)
		case a.Header.Get("Cache-Control") != "no-store":
			t.Errorf("%s may be cached: %v", name, a.Header)
		}
	}
	if n := w.upstream.last0(); n > 0 {
		t.Errorf("%d requests reached the site", n)
	}
	page := b.do(newRequest(t, http.MethodPost, shop+"/wine/order", nil, "Referer: "+shop+"/shelf", "Accept-Language: nb")).wantStatus(t, http.StatusUnauthorized)
	if !strings.Contains(page.body, "send det på nytt") || !strings.Contains(page.body, "/vipps/login?return_to=%2Fshelf&amp;require=0") {
		t.Errorf("the page: %s", page.body)
	}
}

// TestRequireAddress: the address of a login asks for what the config requires, and for nothing that somebody wrote into it.
func TestRequireAddress(t *testing.T) {
	w := newWorld(t)
	w.load(requireSite("require /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /mail/* {\n\t\t\tscope email\n\t\t\tapp_confirmation\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
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
		a := b.get(shop + "/vipps/login?" + query)
		if got := scopeAt(t, a); got != want {
			t.Errorf("%.60s asks for %q, want %q", query, got, want)
		}
		if acr := mustQuery(t, a.location()).Get("acr_values"); (acr == "urn:vipps:acr:app_auth") != strings.Contains(want, "email") || acr != "" && acr != "urn:vipps:acr:app_auth" {
			t.Errorf("%.60s: acr_values %q", query, acr)
		}
	}
}

// TestRequireOfThePhone: a login from a phone number that ends in the browser counts as confirmed, and has the scopes that
// the till asked for.
func TestRequireOfThePhone(t *testing.T) {
	w := newPhoneWorld(t)
	w.load(strings.Replace(phoneShops, "vipps_login /account/* 123456 {", "vipps_login /account/* 123456 {\n\t\trequire /checkout/* {\n\t\t\tapp_confirmation\n\t\t\tmax_age 10m\n\t\t}\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /mail/* {\n\t\t\tscope email\n\t\t}", 1))
	c := newTill(t, w.shop("shop-a.localhost"))
	_, authReqID := c.start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/wine/","scope":"openid birthDate"}`)
	b := newBrowser(t)
	b.follow(b.get(mustAnswer(t, w, authReqID, true))).wantStatus(t, http.StatusOK)
	b.get(c.shop+"/checkout/").wantStatus(t, http.StatusOK)
	b.get(c.shop+"/wine/").wantStatus(t, http.StatusOK)
	if p := b.lacks(c.shop + "/mail/"); !slices.Equal(p.Required.Scope, []string{"email"}) {
		t.Errorf("required: %+v", *p.Required)
	}
	a := b.get(c.shop + "/mail/")
	if got := scopeAt(t, a); !strings.Contains(got, "birthDate") || !strings.Contains(got, "email") || mustQuery(t, a.location()).Get("acr_values") == "" {
		t.Errorf("asked for %s", a.location())
	}

	// In a browser with a session of that person, they add up.
	b = newBrowser(t)
	b.login(c.shop+"/mail/", kari).wantStatus(t, http.StatusOK)
	_, authReqID = c.start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/wine/","scope":"openid birthDate"}`)
	b.follow(b.get(mustAnswer(t, w, authReqID, true))).wantStatus(t, http.StatusOK)
	b.get(c.shop+"/mail/").wantStatus(t, http.StatusOK)
	b.get(c.shop+"/checkout/").wantStatus(t, http.StatusOK)
	if w.upstream.last(t).Header.Get("X-Vipps-Email") == "" {
		t.Error("what there was is lost")
	}
	_, authReqID = c.start(w, fmt.Sprintf(`{"phone_number":%q,"finish":"browser","return_to":"/open","scope":"openid name"}`, bjorn))
	b.follow(b.get(mustAnswer(t, w, authReqID, true))).wantStatus(t, http.StatusOK)
	b.lacks(c.shop + "/mail/")
	b.lacks(c.shop + "/wine/")
}

// TestRequireInAnyBrowser: a login that is completed in another browser has there what it asked for.
func TestRequireInAnyBrowser(t *testing.T) {
	w := newWorld(t)
	w.load(requireSite("return_in_any_browser\n\t\trequire @adults {\n\t\t\tscope birthDate\n\t\t\tapp_confirmation\n\t\t\tmax_age 10m\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	for _, path := range []string{"/wine/", "/wine/" + randomText(400) + "?q=" + randomText(600)} {
		b, other := newBrowser(t), newBrowser(t)
		b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
		callback := b.approved(shop+path, kari).location()
		if n := len(mustQuery(t, callback).Get("state")); n >= 800 {
			t.Errorf("state has %d characters", n)
		}
		other.get(callback).wantStatus(t, http.StatusFound)
		other.get(shop+"/wine/red").wantStatus(t, http.StatusOK)
		if r := w.upstream.last(t); r.Header.Get("X-Vipps-Birthdate") == "" {
			t.Errorf("%v", r.Header)
		}
		b.lacks(shop + "/wine/red")
	}
}

// TestRequireInTwoTabs: two tabs that are sent for more at once each get it, in whichever order they come back, and a
// callback that is sent twice changes nothing.
func TestRequireInTwoTabs(t *testing.T) {
	w := newWorld(t)
	w.load(requireSite("require @adults {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /mail/* {\n\t\t\tscope email\n\t\t\tapp_confirmation\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		b := newBrowser(t)
		b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
		tabs := []string{b.approved(shop+"/wine/", kari).location(), b.approved(shop+"/mail/", kari).location()}
		for _, i := range order {
			b.get(tabs[i]).wantStatus(t, http.StatusFound)
			b.get(tabs[i]).wantStatus(t, http.StatusFound) // sent twice
		}
		b.get(shop+"/wine/").wantStatus(t, http.StatusOK)
		r := w.upstream.last(t)
		if r.Header.Get("X-Vipps-Email") == "" || r.Header.Get("X-Vipps-Birthdate") == "" {
			t.Errorf("%v: one tab takes away what the other got: %v", order, r.Header)
		}
		if order[1] == 1 {
			b.get(shop+"/mail/").wantStatus(t, http.StatusOK)
		} else {
			b.login(shop+"/mail/", kari).wantStatus(t, http.StatusOK) // the last login was not confirmed
		}
	}
	// At the very same time: whichever answer wins, at most one more login is needed.
	b := newBrowser(t)
	b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
	tabs := []string{b.approved(shop+"/wine/", kari).location(), b.approved(shop+"/mail/", kari).location()}
	var both sync.WaitGroup
	for _, callback := range tabs {
		both.Go(func() {
			if a := b.get(callback); a.StatusCode != http.StatusFound {
				t.Errorf("at once: %d", a.StatusCode)
			}
		})
	}
	both.Wait()
	for _, path := range []string{"/wine/", "/mail/"} {
		if b.get(shop+path).StatusCode != http.StatusOK {
			b.login(shop+path, kari).wantStatus(t, http.StatusOK)
		}
	}
	b.get(shop+"/wine/").wantStatus(t, http.StatusOK)
}

// TestRequireStolenSession: the cookies of one person's login for more are of no use with another's session, and a session
// that was replaced by a login for more is ended, in copies too.
func TestRequireStolenSession(t *testing.T) {
	w := newWorld(t)
	w.load(requireSite("require @adults {\n\t\t\tscope birthDate\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	a, b := newBrowser(t), newBrowser(t)
	a.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
	b.login(shop+"/account/", bjorn).wantStatus(t, http.StatusOK)
	callback := a.approved(shop+"/wine/", kari).location()
	at, _ := url.Parse(shop + "/")
	var stolen []*http.Cookie
	for _, c := range a.client.Jar.Cookies(at) {
		if strings.HasPrefix(c.Name, "vipps_login_") {
			stolen = append(stolen, c)
		}
	}
	b.client.Jar.SetCookies(at, stolen) // what a sibling could plant over plain HTTP
	b.get(callback).wantStatus(t, http.StatusFound)
	b.get(shop+"/wine/").wantStatus(t, http.StatusOK)
	if r := w.upstream.last(t); r.Header.Get("X-Vipps-Name") != "Kari Nordmann" || r.Header.Get("X-Vipps-Birthdate") != "1990-05-17" {
		t.Errorf("a mixture: %v", r.Header)
	}
	before := a.cookies(shop + "/")
	a.login(shop+"/wine/", kari).wantStatus(t, http.StatusOK)
	copied := newBrowser(t)
	copied.client.Jar = nil
	copied.get(shop+"/account/", "Cookie: "+before).wantStatus(t, http.StatusFound)
}

// TestRequireOverHTTP2And3: the same tricks over the other transports, and websockets that are opened by CONNECT (RFC 8441,
// RFC 9220), of somebody whose session is not enough.
func TestRequireOverHTTP2And3(t *testing.T) {
	w := newWorld(t)
	t.Setenv("GODEBUG", "http2xconnect=1")
	w.startHTTP3("https://shop-a.localhost:$HTTP {\n\ttls $CERT $KEY\n\t@socket header Upgrade websocket\n\tvipps_login /nothing/* 123456 {\n\t\trequire /account/* {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire @socket {\n\t\t\tscope email\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\n", "")
	shop := w.secureShop("shop-a.localhost")
	for major, newBrowser := range transports {
		b := newBrowser(t)
		b.follow(b.consent(b.follow(b.get(shop+"/vipps/login")), approve(kari))).wantStatus(t, http.StatusOK)
		w.upstream.last0()
		ask := func(first ...string) int {
			status, _ := rawFields(t, major, w.https, append(first, ":scheme: https", ":authority: shop-a.localhost", "sec-fetch-mode: cors", "x-original-url: /public", "cookie: "+b.cookies(shop+"/"))...)
			return status
		}
		for _, path := range closedPaths {
			if got := ask(":method: GET", ":path: "+path); got != http.StatusUnauthorized && got != http.StatusBadRequest || w.upstream.count() > 0 {
				t.Errorf("HTTP/%d, %s: got %d, and the site %d requests", major, path, got, w.upstream.count())
			}
		}
		for _, path := range openPaths {
			if got := ask(":method: GET", ":path: "+path); got != http.StatusOK {
				t.Errorf("HTTP/%d, %s: got %d, want the site's 200", major, path, got)
			}
		}
		w.upstream.last0()
		for _, path := range []string{"/account/socket", "/;x/account/socket", "/elsewhere"} {
			got, _ := rawFields(t, major, w.https, ":method: CONNECT", ":protocol: websocket", ":scheme: https", ":authority: shop-a.localhost", ":path: "+path, "sec-websocket-version: 13", "cookie: "+b.cookies(shop+"/"))
			if got != http.StatusUnauthorized || w.upstream.count() > 0 {
				t.Errorf("HTTP/%d, a websocket at %s: %d", major, path, got)
			}
		}
	}
}

// TestRequireMatcherThatFails: where a requirement's matcher fails, nobody knows what is required, and nothing is shown.
func TestRequireMatcherThatFails(t *testing.T) {
	w := newWorld(t)
	w.load(strings.Replace(requireSite("require @adults {\n\t\t\tmax_age 10m\n\t\t}"), "@adults path /wine /wine/*", "@adults expression `{http.auth.user.age} >= 18`", 1))
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.get(shop+"/open").wantStatus(t, http.StatusInternalServerError)
	b.follow(b.consent(b.follow(b.get(shop+"/vipps/login")), approve(kari))).wantStatus(t, http.StatusInternalServerError)
	b.get(shop+"/open", asScript...).wantStatus(t, http.StatusInternalServerError)
	if w.upstream.count() > 0 {
		t.Error("the site was asked")
	}
	if line := lineWith(w.logged(), `"reason":"matcher"`); line == "" {
		t.Error("nothing in the log")
	}
}

// TestRequirePlaceholders are resolved when the config is loaded, and several words in one are several scopes.
func TestRequirePlaceholders(t *testing.T) {
	w := newWorld(t)
	site := requireSite("header_limit {env.SIZE}\n\t\trequire @adults {\n\t\t\tscope {env.SCOPES}\n\t\t\tmax_age {env.AGE}\n\t\t}")
	good := map[string]string{"SIZE": "4KiB", "SCOPES": "birthDate  email", "AGE": "10m"}
	for name, value := range good {
		t.Setenv(name, value)
	}
	w.load(site)
	p := newBrowser(t).lacks(w.shop("shop-a.localhost") + "/wine/")
	if p.Required.MaxAge != 600 || !slices.Equal(p.Required.Scope, []string{"birthDate", "email"}) {
		t.Errorf("required: %+v", *p.Required)
	}
	for name, values := range map[string][]string{"SIZE": {"", "0", "large", "-1"}, "SCOPES": {"", " ", "a,b"}, "AGE": {"", "0", "-1m", "10ms", "soon"}} {
		for _, value := range values {
			t.Setenv(name, value)
			if err := w.tryLoad(w.globals() + site); err == nil {
				t.Errorf("%s is %q, and that is no mistake", name, value)
			}
		}
		t.Setenv(name, good[name])
	}
}
