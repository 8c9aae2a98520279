package vippslogin_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// withQuery returns address with other query parameters: "name=value", or "-name" to take one away.
func withQuery(t testing.TB, address string, changes ...string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	for _, change := range changes {
		if name, ok := strings.CutPrefix(change, "-"); ok {
			query.Del(name)
			continue
		}
		name, value, _ := strings.Cut(change, "=")
		query.Set(name, value)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// TestCallbackRefused: what does not belong to a login in progress reaches neither Vipps nor the site.
func TestCallbackRefused(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	for name, change := range map[string]func(b *browser, callback string) string{
		"no parameters": func(*browser, string) string { return shop + "/vipps/callback" },
		"no state":      func(_ *browser, callback string) string { return withQuery(t, callback, "-state") },
		"empty state":   func(_ *browser, callback string) string { return withQuery(t, callback, "state=") },
		"other state": func(_ *browser, callback string) string {
			return withQuery(t, callback, "state=AAAAAAAAAAAAAAAAAAAAAA")
		},
		"long state": func(_ *browser, callback string) string {
			return withQuery(t, callback, "state="+strings.Repeat("A", 5000))
		},
		"no code":        func(_ *browser, callback string) string { return withQuery(t, callback, "-code") },
		"code and error": func(_ *browser, callback string) string { return withQuery(t, callback, "error=access_denied") },
		"two codes":      func(_ *browser, callback string) string { return callback + "&code=another" },
		"two equal codes": func(_ *browser, callback string) string {
			return callback + "&code=" + mustQuery(t, callback).Get("code")
		},
		"two states":                  func(_ *browser, callback string) string { return callback + "&state=another" },
		"two errors":                  func(_ *browser, callback string) string { return withQuery(t, callback, "-code") + "&error=a&error=b" },
		"a state that cannot be read": func(_ *browser, callback string) string { return callback + "&state=%zz" },
		"two codes, one encoded":      func(_ *browser, callback string) string { return callback + "&%63ode=another" },
		"semicolon":                   func(_ *browser, callback string) string { return callback + ";x=y" },
		"altered state":               alterState(0),
		"altered state, end":          alterState(-1),
		"longer state": func(_ *browser, callback string) string {
			return withQuery(t, callback, "state="+mustQuery(t, callback).Get("state")+"A")
		},
		"another browser":      func(b *browser, callback string) string { b.client.Jar = newBrowser(t).client.Jar; return callback },
		"another merchant":     func(_ *browser, callback string) string { return strings.Replace(callback, "shop-a", "shop-b", 1) },
		"altered cookie":       func(b *browser, callback string) string { alterCookies(b, callback); return callback },
		"cookie of a stranger": func(b *browser, callback string) string { renameCookies(b, callback); return callback },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			callback := change(b, b.approved(shop+"/wanted", kari).location())
			w.vipps.counted()
			a := b.get(callback).wantStatus(t, http.StatusBadRequest)
			if calls := w.vipps.counted(); len(calls) > 0 {
				t.Errorf("Vipps was called: %v", calls)
			}
			if strings.Contains(b.cookies(shop+"/"), "vipps_session") || w.upstream.count() > 0 {
				t.Error("a session, or the site reached")
			}
			if !strings.Contains(a.body, `href="/vipps/login?return_to=%2F`) || a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Errorf("no page for people: %s", a.body)
			}
		})
	}
}

func mustQuery(t testing.TB, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// alterState flips a character of the state: the one at, from the end where it is negative.
func alterState(at int) func(*browser, string) string {
	return func(b *browser, callback string) string {
		state := []byte(mustQuery(b.t, callback).Get("state"))
		if at < 0 {
			at += len(state)
		}
		if state[at] == 'A' {
			state[at] = 'B'
		} else {
			state[at] = 'A'
		}
		return withQuery(b.t, callback, "state="+string(state))
	}
}

// alterCookies flips a character of each cookie.
func alterCookies(b *browser, address string) {
	u, _ := url.Parse(address)
	cookies := b.client.Jar.Cookies(u)
	for _, c := range cookies {
		c.Path = "/"
		if i := len(c.Value) / 2; c.Value[i] == 'A' {
			c.Value = c.Value[:i] + "B" + c.Value[i+1:]
		} else {
			c.Value = c.Value[:i] + "A" + c.Value[i+1:]
		}
	}
	b.client.Jar.SetCookies(u, cookies)
}

// renameCookies gives the callback's cookie the value of another login of the same browser.
func renameCookies(b *browser, callback string) {
	u, _ := url.Parse(callback)
	b.get(u.Scheme + "://" + u.Host + "/other")
	cookies := b.client.Jar.Cookies(u)
	for _, c := range cookies {
		c.Path = "/"
	}
	cookies[0].Value, cookies[1].Value = cookies[1].Value, cookies[0].Value
	b.client.Jar.SetCookies(u, cookies)
}

// TestStateIsSpentOnce, also by a login that fails, and by a browser that keeps its cookie.
func TestStateIsSpentOnce(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")

	b := newBrowser(t)
	callback := b.approved(shop+"/", kari).location()
	u, _ := url.Parse(callback)
	kept := b.client.Jar.Cookies(u)
	b.get(withQuery(t, callback, "code=wrong")).wantStatus(t, http.StatusBadRequest)
	for _, c := range kept {
		c.Path = "/"
	}
	b.client.Jar.SetCookies(u, kept)
	w.vipps.counted()
	b.get(callback).wantStatus(t, http.StatusBadRequest)
	if calls := w.vipps.counted(); len(calls) > 0 {
		t.Errorf("a spent login called Vipps: %v", calls)
	}

	// Cancelled: spent too.
	b = newBrowser(t)
	page := b.follow(b.get(shop + "/"))
	cancelled := b.consent(page, url.Values{"answer": {"cancel"}}).location()
	a := b.get(cancelled).wantStatus(t, http.StatusForbidden)
	if !strings.Contains(a.body, "cancelled") || !strings.Contains(a.body, "/vipps/login?return_to=%2F") {
		t.Errorf("page: %s", a.body)
	}
	b.get(cancelled).wantStatus(t, http.StatusBadRequest)
}

// TestCallbackOnceOutOfMany: of many callbacks at the same time, one completes the login.
func TestCallbackOnceOutOfMany(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	b := newBrowser(t)
	callback := b.approved(w.shop("shop-a.localhost")+"/", kari).location()
	w.vipps.counted()
	var done sync.WaitGroup
	for range 20 {
		done.Go(func() { b.get(callback) })
	}
	done.Wait()
	if calls := w.vipps.counted(); calls[pathToken] != 1 {
		t.Errorf("the code was sent %d times", calls[pathToken])
	}
	if n := strings.Count(w.logged(), `"msg":"login completed"`); n != 1 {
		t.Errorf("%d outcomes in the log", n)
	}
}

// TestCallbackReplayedWithSession goes on to the site.
func TestCallbackReplayedWithSession(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	callback := b.approved(shop+"/", kari).location()
	b.follow(b.get(callback)).wantStatus(t, http.StatusOK)
	w.vipps.counted()
	if a := b.get(callback).wantStatus(t, http.StatusFound); a.location() != shop+"/" {
		t.Errorf("led to %s", a.location())
	}
	if calls := w.vipps.counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	b.get(shop+"/vipps/callback?code=a&state=b&error=c").wantStatus(t, http.StatusBadRequest)
}

// TestTabs: logins in several tabs do not disturb each other, and pile up to five cookies.
func TestTabs(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	first := b.approved(shop+"/one", kari).location()
	second := b.approved(shop+"/two", kari).location()
	if a := b.get(second); a.location() != shop+"/two" {
		t.Errorf("the second tab is at %s", a.location())
	}
	if a := b.get(first); a.location() != shop+"/one" {
		t.Errorf("the first tab is at %s", a.location())
	}

	b = newBrowser(t)
	var callbacks []string
	for range 8 {
		callbacks = append(callbacks, b.approved(shop+"/", kari).location())
	}
	if n := strings.Count(b.cookies(shop+"/"), "vipps_login_"); n != 5 {
		t.Errorf("%d logins in progress are kept, want 5", n)
	}
	b.get(callbacks[0]).wantStatus(t, http.StatusBadRequest)
	b.get(callbacks[7]).wantStatus(t, http.StatusFound)

	b = newBrowser(t)
	for range 5 {
		b.get(shop+"/"+strings.Repeat("%C3%A6%F0", 300)).wantStatus(t, http.StatusFound)
	}
	if n := len(b.cookies(shop + "/")); n > 4096 {
		t.Errorf("the cookies of logins in progress take %d bytes", n)
	}
}

// TestErrorCodes: Vipps' error codes, documented and not, have their status and their page.
func TestErrorCodes(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	for code, status := range map[string]int{
		"access_denied": 403, "login_required": 403, "outdated_app_version": 403, "wrong_challenge": 403,
		"unknown_reject_reason": 403, "not_documented_yet": 403, "<script>alert(1)</script>": 403,
		"server_error": 502, "temporarily_unavailable": 503,
	} {
		b := newBrowser(t)
		callback := b.approved(w.shop("shop-a.localhost")+"/x", kari).location()
		a := b.get(withQuery(t, callback, "-code", "error="+code, "error_description=<b>4712345678</b>"))
		a.wantStatus(t, status)
		if strings.Contains(a.body, "<script>") || strings.Contains(a.body, "<b>") || strings.Contains(a.body, "4712345678") {
			t.Errorf("%s: echoed: %s", code, a.body)
		}
		if strings.Contains(w.logged(), "4712345678") {
			t.Errorf("%s: error_description is in the log", code)
		}
	}
}

// TestReturnInAnyBrowser: the login is completed in a browser that knows nothing of it, once.
func TestReturnInAnyBrowser(t *testing.T) {
	w := newWorld(t)
	sites := strings.Replace(twoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\treturn_in_any_browser\n\t}\n", 1)
	w.load(sites)
	shop := w.shop("shop-a.localhost")
	start := newBrowser(t)
	to := mustQuery(t, start.get(shop+"/").location())
	if to.Get("requested_flow") != "automatic_return_from_vipps_app" || to.Get("code_challenge") == "" {
		t.Errorf("authentication request: %v", to)
	}
	fits := "/" + randomText(300)
	for path, want := range map[string]string{
		"/wanted?x=1":                  "/wanted?x=1",
		fits + "?q=" + randomText(600): fits,
		"/" + randomText(900):          "/",
	} {
		callback := newBrowser(t).approved(shop+path, kari).location()
		if n := len(mustQuery(t, callback).Get("state")); n >= 800 {
			t.Errorf("state has %d characters", n)
		}
		other := newBrowser(t)
		if a := other.get(callback).wantStatus(t, http.StatusFound); a.location() != shop+want {
			t.Errorf("the other browser was led to %s, want %s", a.location(), want)
		}
		other.get(shop+"/vipps/userinfo").wantStatus(t, http.StatusOK)
	}

	// The browser that started it knows the whole path.
	long := "/" + randomText(900)
	if a := start.get(start.approved(shop+long, kari).location()); a.location() != shop+long {
		t.Errorf("the same browser was led to %s", a.location())
	}

	// Redeemed once, whatever the code, on any instance.
	callback := newBrowser(t).approved(shop+"/", kari).location()
	newBrowser(t).get(callback).wantStatus(t, http.StatusFound)
	another := newBrowser(t).approved(shop+"/", kari).location()
	w.loadWhole(strings.Replace(w.globals(), "client_id", "system other\n\t\tclient_id", 1) + sites) // nothing in memory is shared
	w.vipps.counted()
	newBrowser(t).get(withQuery(t, callback, "code="+mustQuery(t, another).Get("code"))).wantStatus(t, http.StatusBadRequest)
	if calls := w.vipps.counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	newBrowser(t).get(withQuery(t, another, "state="+mustQuery(t, another).Get("state")[1:])).wantStatus(t, http.StatusBadRequest)
}

// TestAppConfirmation: the login asks for it, and believes only an ID token that says so.
func TestAppConfirmation(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	before := newBrowser(t)
	before.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	w.load(strings.Replace(twoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\trequire_app_confirmation\n\t\tmarket FI\n\t}\n", 1))
	before.get(shop+"/").wantStatus(t, http.StatusFound) // a session that nobody confirmed is none here
	b := newBrowser(t)
	if to := mustQuery(t, b.get(shop+"/").location()); to.Get("acr_values") != "urn:vipps:acr:app_auth" || to.Get("market") != "FI" {
		t.Errorf("authentication request: %v", to)
	}
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { delete(claims, "acr") }})
	newBrowser(t).login(shop+"/", kari).wantStatus(t, http.StatusForbidden)
	if line := lineWith(w.logged(), `"reason":"not_confirmed"`); line == "" {
		t.Error("the log does not say why")
	}
}

// TestNoImageCompletesALogin: a callback is a page in a window. As an image or a frame on a sibling's page it would
// change who is logged in, where return_in_any_browser lets another browser complete a login.
func TestNoImageCompletesALogin(t *testing.T) {
	w := newWorld(t)
	w.load(strings.Replace(twoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\treturn_in_any_browser\n\t}\n", 1))
	shop := w.shop("shop-a.localhost")
	callback := newBrowser(t).approved(shop+"/", bjorn).location()
	b := newBrowser(t)
	b.login(shop+"/", kari).wantStatus(t, http.StatusOK)
	before := b.cookies(shop)
	for destination, mode := range map[string]string{"image": "no-cors", "iframe": "navigate", "empty": "cors"} {
		b.get(callback, "Sec-Fetch-Dest: "+destination, "Sec-Fetch-Mode: "+mode, "Sec-Fetch-Site: same-site").wantStatus(t, http.StatusBadRequest)
	}
	if b.cookies(shop) != before {
		t.Error("the session is another")
	}
	newBrowser(t).get(callback).wantStatus(t, http.StatusFound)
}
