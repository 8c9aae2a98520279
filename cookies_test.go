package vippslogin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

const secureShops = `
https://shop-a.localhost:$HTTPS {
	tls $CERT $KEY
	vipps_login 123456
	reverse_proxy $UPSTREAM
}
https://shop-b.localhost:$HTTPS {
	tls $CERT $KEY
	vipps_login 234567
	reverse_proxy $UPSTREAM
}
https://shop-c.localhost:$HTTPS {
	tls $CERT $KEY
	vipps_login 123456
	reverse_proxy $UPSTREAM
}
`

// TestCookieAttributes on HTTPS, over HTTP/2.
func TestCookieAttributes(t *testing.T) {
	w := newWorld(t)
	w.load(secureShops)
	shop := w.secureShop("shop-a.localhost")
	b := newBrowser(t)
	start := b.get(shop + "/")
	if start.ProtoMajor != 2 {
		t.Errorf("HTTP/%d", start.ProtoMajor)
	}
	if got := mustQuery(t, start.location()).Get("redirect_uri"); got != shop+"/vipps/callback" {
		t.Errorf("redirect_uri: %s", got)
	}
	callback := b.consent(b.follow(start), url.Values{"user": {kari}, "answer": {"approve"}}).location()
	done := b.get(callback).wantStatus(t, http.StatusFound)
	var names []string
	for _, c := range append(start.Cookies(), done.Cookies()...) {
		names = append(names, c.Name)
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("cookie %s", c.Raw)
		}
		if !strings.HasPrefix(c.Name, "__Host-vipps_") {
			t.Errorf("cookie name %s", c.Name)
		}
	}
	if !slices.Contains(names, "__Host-vipps_session") || len(names) != 3 {
		t.Errorf("cookies: %v", names)
	}
	b.get(shop+"/").wantStatus(t, http.StatusOK)
	if cookie := w.upstream.last(t).Header.Get("Cookie"); cookie != "" {
		t.Errorf("the site got %s", cookie)
	}
	b.get(shop+"/vipps/logout?return_to=/x").wantStatus(t, http.StatusFound)
	b.get(shop+"/").wantStatus(t, http.StatusFound)
}

// TestSessionBelongsToHostAndMerchant, and to its kind of cookie.
func TestSessionBelongsToHostAndMerchant(t *testing.T) {
	w := newWorld(t)
	w.load(secureShops)
	b := newBrowser(t)
	b.login(w.secureShop("shop-a.localhost")+"/", kari).wantStatus(t, http.StatusOK)
	session := b.cookies(w.secureShop("shop-a.localhost"))
	pending := newBrowser(t)
	pending.get(w.secureShop("shop-a.localhost") + "/")
	_, login, _ := strings.Cut(pending.cookies(w.secureShop("shop-a.localhost")), "=")

	for name, test := range map[string]struct{ host, cookie string }{
		"another merchant":   {"shop-b.localhost", session},
		"another host":       {"shop-c.localhost", session},
		"cookie of a login":  {"shop-a.localhost", "__Host-vipps_session=1" + login},
		"name without Host-": {"shop-a.localhost", strings.TrimPrefix(session, "__Host-")},
		"a chunk alone":      {"shop-a.localhost", strings.Replace(session, "session=", "session_1=", 1)},
		"wrong count":        {"shop-a.localhost", strings.Replace(session, "session=1", "session=2", 1)},
		"huge count":         {"shop-a.localhost", strings.Replace(session, "session=1", "session=9", 1)},
		"empty":              {"shop-a.localhost", "__Host-vipps_session="},
		"no base64":          {"shop-a.localhost", "__Host-vipps_session=1%%%"},
		"short":              {"shop-a.localhost", "__Host-vipps_session=1AAAA"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newBrowser(t).get(w.secureShop(test.host)+"/", "Cookie: "+test.cookie).wantStatus(t, http.StatusFound)
			if strings.Contains(test.cookie, "__Host-vipps_session") != strings.Contains(fmt.Sprint(a.Header["Set-Cookie"]), "__Host-vipps_session") && name != "empty" {
				t.Errorf("an unreadable cookie is to be cleared: %v", a.Header["Set-Cookie"])
			}
		})
	}
	newBrowser(t).get(w.secureShop("shop-a.localhost")+"/", "Cookie: "+session).wantStatus(t, http.StatusOK)
	if w.upstream.count() != 2 {
		t.Errorf("the site got %d requests", w.upstream.count())
	}
}

// withLargeHeaders are sites whose sessions are limited by their cookies alone.
func withLargeHeaders(sites string) string {
	return strings.ReplaceAll(sites, "vipps_login 123456\n", "vipps_login 123456 {\n\t\theader_limit 1MiB\n\t}\n")
}

// TestLargeSessions are compressed, then split, then lose their largest claims, and never lock
// anybody out.
func TestLargeSessions(t *testing.T) {
	w := newWorld(t)
	w.load(withLargeHeaders(secureShops))
	shop := w.secureShop("shop-a.localhost")
	for name, test := range map[string]struct {
		claims  map[string]any
		cookies int
		dropped []string
	}{
		"small":        {map[string]any{"a": "x"}, 1, nil},
		"compressible": {map[string]any{"a": strings.Repeat("words", 2000)}, 1, nil},
		"two cookies":  {map[string]any{"a": randomText(4500)}, 2, nil},
		"three":        {map[string]any{"a": randomText(8000)}, 3, nil},
		"too large":    {map[string]any{"a": randomText(9500), "b": randomText(2000)}, 1, []string{"a"}},
		"many":         {map[string]any{"a": randomText(4000), "b": randomText(5000), "c": randomText(3500)}, 3, []string{"b"}},
		"a bomb":       {map[string]any{"a": strings.Repeat("A", 900_000)}, 1, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.vipps.sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) {
				for name, value := range test.claims {
					claims[name] = value
				}
			}})
			b := newBrowser(t)
			b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
			cookies := b.cookies(shop)
			if n := strings.Count(cookies, "session"); n != test.cookies || len(cookies) > 10<<10 {
				t.Errorf("%d cookies of %d bytes, want %d", n, len(cookies), test.cookies)
			}
			h := w.upstream.last(t).Header
			var claims map[string]any
			if err := json.Unmarshal([]byte(b.get(shop+"/vipps/userinfo").wantStatus(t, http.StatusOK).body), &claims); err != nil {
				t.Fatal(err)
			}
			for name, value := range test.claims {
				want := value.(string)
				if slices.Contains(test.dropped, name) {
					want = ""
				}
				if got := h.Get("X-Vipps-" + name); got != want {
					t.Errorf("X-Vipps-%s has %d bytes, want %d", name, len(got), len(want))
				}
				if got, _ := claims[name].(string); got != want {
					t.Errorf("%s has %d bytes, want %d", name, len(got), len(want))
				}
			}
			if len(test.dropped) > 0 && !strings.Contains(w.logged(), `"claims":["`+test.dropped[0]+`"]`) {
				t.Error("no warning names the claims")
			}

			// A smaller session after a larger one leaves nothing of it behind.
			w.vipps.sim.SetFaults(simulator.Faults{})
			page := b.consent(b.follow(b.get(shop+"/vipps/login")), url.Values{"user": {bjorn}, "answer": {"approve"}})
			b.follow(page).wantStatus(t, http.StatusOK)
			if n := strings.Count(b.cookies(shop), "session"); n != 1 {
				t.Errorf("%d session cookies are left", n)
			}
			if got := w.upstream.last(t).Header.Get("X-Vipps-Name"); got != "Bjørn Ærlig-Åsen" {
				t.Errorf("logged in as %q", got)
			}
			b.get(shop + "/vipps/logout")
			if cookies := b.cookies(shop); cookies != "" {
				t.Errorf("left after the logout: %s", cookies)
			}
		})
	}
}

// TestMixedChunks: parts of two sessions, or parts missing or in another order, are no session.
func TestMixedChunks(t *testing.T) {
	w := newWorld(t)
	w.load(withLargeHeaders(secureShops))
	shop := w.secureShop("shop-a.localhost")
	session := func() []string {
		w.vipps.sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["a"] = randomText(8000) }})
		b := newBrowser(t)
		b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
		pairs := strings.Split(b.cookies(shop), "; ")
		slices.Sort(pairs)
		return pairs
	}
	one, two := session(), session()
	rename := func(pair, name string) string { _, value, _ := strings.Cut(pair, "="); return name + "=" + value }
	get := func(pairs ...string) answer { return newBrowser(t).get(shop+"/", "Cookie: "+strings.Join(pairs, "; ")) }
	get(one...).wantStatus(t, http.StatusOK)
	get(one[2], one[0], one[1]).wantStatus(t, http.StatusOK) // the order of the header says nothing
	get(one[0], one[1], two[2]).wantStatus(t, http.StatusFound)
	get(one[0], one[1]).wantStatus(t, http.StatusFound)
	get(one[0], one[2]).wantStatus(t, http.StatusFound)
	get(one[1], one[2]).wantStatus(t, http.StatusFound)
	get(one[0], rename(one[2], "__Host-vipps_session_1"), rename(one[1], "__Host-vipps_session_2")).wantStatus(t, http.StatusFound)
}

// TestSecretRotation: the first secret seals, all open, and a withdrawn one opens nothing.
func TestSecretRotation(t *testing.T) {
	w := newWorld(t)
	shop := w.shop("shop-a.localhost")
	load := func(secrets string) {
		w.loadWhole(strings.Replace(w.globals(), "cookie_secret "+cookieSecret, "cookie_secret "+secrets, 1) + twoShops)
	}
	const other = "another-cookie-secret-for-the-tests-of-32-bytes"
	load(cookieSecret)
	old, pending := newBrowser(t), newBrowser(t)
	old.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	callback := pending.approved(shop+"/x", kari).location()

	load(other + " " + cookieSecret)
	old.get(shop+"/").wantStatus(t, http.StatusOK)
	pending.follow(pending.get(callback)).wantStatus(t, http.StatusOK) // sealed with the new one now

	load(other)
	pending.get(shop+"/").wantStatus(t, http.StatusOK)
	a := old.get(shop+"/").wantStatus(t, http.StatusFound)
	if !strings.Contains(fmt.Sprint(a.Header["Set-Cookie"]), "vipps_session=;") {
		t.Errorf("an unreadable cookie is to be cleared: %v", a.Header["Set-Cookie"])
	}
}

// TestGeneratedSecret is made once, and shared by all that share the storage.
func TestGeneratedSecret(t *testing.T) {
	w := newWorld(t)
	globals := strings.Replace(w.globals(), "cookie_secret "+cookieSecret, "", 1)
	shop := w.shop("shop-a.localhost")
	w.loadWhole(globals + twoShops)
	b := newBrowser(t)
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	w.loadWhole(globals + twoShops)
	b.get(shop+"/").wantStatus(t, http.StatusOK)

	// Storage without a folder to be in: no start, rather than a secret of its own.
	broken := strings.Replace(globals, fmt.Sprintf("file_system %q", w.storage), `file_system "/dev/null/x"`, 1)
	if err := w.tryLoad(broken + twoShops); err == nil || !strings.Contains(err.Error(), "cookie secret") {
		t.Errorf("error: %v", err)
	}
}

// TestSessionBelongsToEnvironment: whoever logs in at a simulator is nobody in production, where the same secret is
// used there.
func TestSessionBelongsToEnvironment(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	w.loadWhole(strings.Replace(w.globals(), "environment $VIPPS", "environment production", 1) + strings.Replace(twoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\ton_unauthenticated deny\n\t}\n", 1))
	b.get(shop+"/").wantStatus(t, http.StatusUnauthorized)
}

// TestNoCacheKeepsACookie: what the site lets shared caches keep, they must not keep with a cookie of ours, which
// would end the sessions of all who get it, or give them one.
func TestNoCacheKeepsACookie(t *testing.T) {
	w := newWorld(t)
	w.upstream.handler = func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Cache-Control", "public, max-age=60") }
	shop := w.shop("shop-b.localhost")
	for _, before := range []string{"", "header Cache-Control \"public, max-age=60\""} {
		w.load("http://shop-b.localhost:$HTTP {\n\t" + before + "\n\tvipps_login /account/* 234567 {\n\t\tsession {\n\t\t\tidle_timeout 1s\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
		check := func(name string, a answer) {
			t.Helper()
			if len(a.Cookies()) == 0 || !slices.Contains(a.Header["Cache-Control"], "private") {
				t.Errorf("%s, %q: %q with %d cookies", name, before, a.Header["Cache-Control"], len(a.Cookies()))
			}
		}
		if a := newBrowser(t).get(shop+"/style.css", "Cookie: vipps_session=1junk"); len(a.Cookies()) > 0 {
			t.Errorf("on its way through, the site's answer got %q", a.Header["Set-Cookie"])
		}
		b := newBrowser(t)
		b.login(shop+"/account/", kari)
		var renewed answer
		waitFor(t, func() bool { renewed = b.get(shop + "/style.css"); return len(renewed.Cookies()) > 0 })
		check("renewed", renewed)
		if a := newBrowser(t).get(shop + "/style.css"); slices.Contains(a.Header["Cache-Control"], "private") {
			t.Errorf("without a cookie: %q", a.Header["Cache-Control"])
		}
	}
}

// TestSessionEnds after its lifetime, and when it was idle; a session in use goes on.
func TestSessionEnds(t *testing.T) {
	w := newWorld(t)
	w.load(strings.Replace(twoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\tsession {\n\t\t\tlifetime 3s\n\t\t\tidle_timeout 1500ms\n\t\t}\n\t}\n", 1))
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	idle := b.cookies(shop)
	start := time.Now()
	renewed := false
	for b.get(shop+"/").StatusCode == http.StatusOK {
		renewed = renewed || b.cookies(shop) != idle
		if time.Since(start) > 6*time.Second {
			t.Fatal("the session does not end")
		}
	}
	if took := time.Since(start); took < 2900*time.Millisecond || !renewed {
		t.Errorf("the session in use ended after %s, renewed: %v", took, renewed)
	}
	newBrowser(t).get(shop+"/", "Cookie: "+idle).wantStatus(t, http.StatusFound)
}
