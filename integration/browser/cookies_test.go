package browser_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestCookieAttributes on HTTPS, over HTTP/2.
func TestCookieAttributes(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.SecureShops)
	shop := w.SecureShop("shop-a.localhost")
	b := harness.NewBrowser(t)
	start := b.Get(shop + "/")
	if start.ProtoMajor != 2 {
		t.Errorf("HTTP/%d", start.ProtoMajor)
	}
	if got := harness.MustQuery(t, start.RedirectTo()).Get("redirect_uri"); got != shop+"/vipps/callback" {
		t.Errorf("redirect_uri: %s", got)
	}
	callback := b.Consent(b.Follow(start), url.Values{"user": {harness.Kari}, "answer": {"approve"}}).RedirectTo()
	done := b.Get(callback).WantStatus(t, http.StatusFound)
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
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	if cookie := w.Upstream.Last(t).Header.Get("Cookie"); cookie != "" {
		t.Errorf("the site got %s", cookie)
	}
	b.Get(shop+"/vipps/logout?return_to=/x").WantStatus(t, http.StatusFound)
	b.Get(shop+"/").WantStatus(t, http.StatusFound)
}

// TestSessionBelongsToHostAndMerchant, and to its kind of cookie.
func TestSessionBelongsToHostAndMerchant(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.SecureShops)
	b := harness.NewBrowser(t)
	b.Login(w.SecureShop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
	session := b.Cookies(w.SecureShop("shop-a.localhost"))
	pending := harness.NewBrowser(t)
	pending.Get(w.SecureShop("shop-a.localhost") + "/")
	_, login, _ := strings.Cut(pending.Cookies(w.SecureShop("shop-a.localhost")), "=")

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
			a := harness.NewBrowser(t).Get(w.SecureShop(test.host)+"/", "Cookie: "+test.cookie).WantStatus(t, http.StatusFound)
			if strings.Contains(test.cookie, "__Host-vipps_session") != strings.Contains(fmt.Sprint(a.Header["Set-Cookie"]), "__Host-vipps_session") && name != "empty" {
				t.Errorf("an unreadable cookie is to be cleared: %v", a.Header["Set-Cookie"])
			}
		})
	}
	harness.NewBrowser(t).Get(w.SecureShop("shop-a.localhost")+"/", "Cookie: "+session).WantStatus(t, http.StatusOK)
	if w.Upstream.Count() != 2 {
		t.Errorf("the site got %d requests", w.Upstream.Count())
	}
}

// withLargeHeaders are sites whose sessions are limited by their cookies alone.
func withLargeHeaders(sites string) string {
	return strings.ReplaceAll(sites, "vipps_login 123456\n", "vipps_login 123456 {\n\t\theader_limit 1MiB\n\t}\n")
}

// TestLargeSessions are compressed, then split, then lose their largest claims, and never lock
// anybody out.
func TestLargeSessions(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(withLargeHeaders(harness.SecureShops))
	shop := w.SecureShop("shop-a.localhost")
	for name, test := range map[string]struct {
		claims  map[string]any
		cookies int
		dropped []string
	}{
		"small":        {map[string]any{"a": "x"}, 1, nil},
		"compressible": {map[string]any{"a": strings.Repeat("words", 2000)}, 1, nil},
		"two cookies":  {map[string]any{"a": harness.RandomText(4500)}, 2, nil},
		"three":        {map[string]any{"a": harness.RandomText(8000)}, 3, nil},
		"too large":    {map[string]any{"a": harness.RandomText(9500), "b": harness.RandomText(2000)}, 1, []string{"a"}},
		"many":         {map[string]any{"a": harness.RandomText(4000), "b": harness.RandomText(5000), "c": harness.RandomText(3500)}, 3, []string{"b"}},
		"a bomb":       {map[string]any{"a": strings.Repeat("A", 900_000)}, 1, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.Vipps.Sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) {
				for name, value := range test.claims {
					claims[name] = value
				}
			}})
			b := harness.NewBrowser(t)
			b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
			cookies := b.Cookies(shop)
			if n := strings.Count(cookies, "session"); n != test.cookies || len(cookies) > 10<<10 {
				t.Errorf("%d cookies of %d bytes, want %d", n, len(cookies), test.cookies)
			}
			h := w.Upstream.Last(t).Header
			var claims map[string]any
			if err := json.Unmarshal([]byte(b.Get(shop+"/vipps/userinfo").WantStatus(t, http.StatusOK).Text), &claims); err != nil {
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
			if len(test.dropped) > 0 && !strings.Contains(w.Logged(), `"claims":["`+test.dropped[0]+`"]`) {
				t.Error("no warning names the claims")
			}

			// A smaller session after a larger one leaves nothing of it behind.
			w.Vipps.Sim.SetFaults(simulator.Faults{})
			page := b.Consent(b.Follow(b.Get(shop+"/vipps/login")), url.Values{"user": {harness.Bjorn}, "answer": {"approve"}})
			b.Follow(page).WantStatus(t, http.StatusOK)
			if n := strings.Count(b.Cookies(shop), "session"); n != 1 {
				t.Errorf("%d session cookies are left", n)
			}
			if got := w.Upstream.Last(t).Header.Get("X-Vipps-Name"); got != "Bjørn Ærlig-Åsen" {
				t.Errorf("logged in as %q", got)
			}
			b.Get(shop + "/vipps/logout")
			if cookies := b.Cookies(shop); cookies != "" {
				t.Errorf("left after the logout: %s", cookies)
			}
		})
	}
}

// TestMixedChunks: parts of two sessions, or parts missing or in another order, are no session.
func TestMixedChunks(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(withLargeHeaders(harness.SecureShops))
	shop := w.SecureShop("shop-a.localhost")
	session := func() []string {
		w.Vipps.Sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["a"] = harness.RandomText(8000) }})
		b := harness.NewBrowser(t)
		b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
		pairs := strings.Split(b.Cookies(shop), "; ")
		slices.Sort(pairs)
		return pairs
	}
	one, two := session(), session()
	rename := func(pair, name string) string { _, value, _ := strings.Cut(pair, "="); return name + "=" + value }
	get := func(pairs ...string) harness.Answer {
		return harness.NewBrowser(t).Get(shop+"/", "Cookie: "+strings.Join(pairs, "; "))
	}
	get(one...).WantStatus(t, http.StatusOK)
	get(one[2], one[0], one[1]).WantStatus(t, http.StatusOK) // the order of the header says nothing
	get(one[0], one[1], two[2]).WantStatus(t, http.StatusFound)
	get(one[0], one[1]).WantStatus(t, http.StatusFound)
	get(one[0], one[2]).WantStatus(t, http.StatusFound)
	get(one[1], one[2]).WantStatus(t, http.StatusFound)
	get(one[0], rename(one[2], "__Host-vipps_session_1"), rename(one[1], "__Host-vipps_session_2")).WantStatus(t, http.StatusFound)
}

// TestSecretRotation: the first secret seals, all open, and a withdrawn one opens nothing.
func TestSecretRotation(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	load := func(secrets string) {
		w.LoadWhole(strings.Replace(w.Globals(), "cookie_secret "+harness.CookieSecret, "cookie_secret "+secrets, 1) + harness.TwoShops)
	}
	const other = "another-cookie-secret-for-the-tests-of-32-bytes"
	load(harness.CookieSecret)
	old, pending := harness.NewBrowser(t), harness.NewBrowser(t)
	old.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	callback := pending.Approved(shop+"/x", harness.Kari).RedirectTo()

	load(other + " " + harness.CookieSecret)
	old.Get(shop+"/").WantStatus(t, http.StatusOK)
	pending.Follow(pending.Get(callback)).WantStatus(t, http.StatusOK) // sealed with the new one now

	load(other)
	pending.Get(shop+"/").WantStatus(t, http.StatusOK)
	a := old.Get(shop+"/").WantStatus(t, http.StatusFound)
	if !strings.Contains(fmt.Sprint(a.Header["Set-Cookie"]), "vipps_session=;") {
		t.Errorf("an unreadable cookie is to be cleared: %v", a.Header["Set-Cookie"])
	}
}

// TestGeneratedSecret is made once, and shared by all that share the storage.
func TestGeneratedSecret(t *testing.T) {
	w := harness.NewWorld(t)
	globals := strings.Replace(w.Globals(), "cookie_secret "+harness.CookieSecret, "", 1)
	shop := w.Shop("shop-a.localhost")
	w.LoadWhole(globals + harness.TwoShops)
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	w.LoadWhole(globals + harness.TwoShops)
	b.Get(shop+"/").WantStatus(t, http.StatusOK)

	// Storage without a folder to be in: no start, rather than a secret of its own.
	broken := strings.Replace(globals, fmt.Sprintf("file_system %q", w.Storage), `file_system "/dev/null/x"`, 1)
	if err := w.TryLoad(broken + harness.TwoShops); err == nil || !strings.Contains(err.Error(), "cookie secret") {
		t.Errorf("error: %v", err)
	}
}

// TestSessionBelongsToEnvironment: whoever logs in at a simulator is nobody in production, where the same secret is
// used there.
func TestSessionBelongsToEnvironment(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	w.LoadWhole(strings.Replace(w.Globals(), "environment $VIPPS", "environment production", 1) + strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\ton_unauthenticated deny\n\t}\n", 1))
	b.Get(shop+"/").WantStatus(t, http.StatusUnauthorized)
}

// TestNoCacheKeepsACookie: what the site lets shared caches keep, they must not keep with a cookie of ours, which
// would end the sessions of all who get it, or give them one.
func TestNoCacheKeepsACookie(t *testing.T) {
	w := harness.NewWorld(t)
	w.Upstream.Handler = func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Cache-Control", "public, max-age=60") }
	shop := w.Shop("shop-b.localhost")
	for _, before := range []string{"", "header Cache-Control \"public, max-age=60\""} {
		w.Load("http://shop-b.localhost:$HTTP {\n\t" + before + "\n\tvipps_login /account/* 234567 {\n\t\tsession {\n\t\t\tidle_timeout 1s\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
		check := func(name string, a harness.Answer) {
			t.Helper()
			if len(a.Cookies()) == 0 || !slices.Contains(a.Header["Cache-Control"], "private") {
				t.Errorf("%s, %q: %q with %d cookies", name, before, a.Header["Cache-Control"], len(a.Cookies()))
			}
		}
		if a := harness.NewBrowser(t).Get(shop+"/style.css", "Cookie: vipps_session=1junk"); len(a.Cookies()) > 0 {
			t.Errorf("on its way through, the site's answer got %q", a.Header["Set-Cookie"])
		}
		b := harness.NewBrowser(t)
		b.Login(shop+"/account/", harness.Kari)
		var renewed harness.Answer
		harness.WaitFor(t, func() bool { renewed = b.Get(shop + "/style.css"); return len(renewed.Cookies()) > 0 })
		check("renewed", renewed)
		if a := harness.NewBrowser(t).Get(shop + "/style.css"); slices.Contains(a.Header["Cache-Control"], "private") {
			t.Errorf("without a cookie: %q", a.Header["Cache-Control"])
		}
	}
}

// TestSessionEnds after its lifetime, and when it was idle; a session in use goes on.
func TestSessionEnds(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\tsession {\n\t\t\tlifetime 3s\n\t\t\tidle_timeout 1500ms\n\t\t}\n\t}\n", 1))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	idle := b.Cookies(shop)
	start := time.Now()
	renewed := false
	for b.Get(shop+"/").StatusCode == http.StatusOK {
		renewed = renewed || b.Cookies(shop) != idle
		if time.Since(start) > 6*time.Second {
			t.Fatal("the session does not end")
		}
	}
	if took := time.Since(start); took < 2900*time.Millisecond || !renewed {
		t.Errorf("the session in use ended after %s, renewed: %v", took, renewed)
	}
	harness.NewBrowser(t).Get(shop+"/", "Cookie: "+idle).WantStatus(t, http.StatusFound)
}
