package browser_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestCallbackRefused: what does not belong to a login in progress reaches neither Vipps nor the site.
func TestCallbackRefused(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	for name, change := range map[string]func(b *harness.Browser, callback string) string{
		"no parameters": func(*harness.Browser, string) string { return shop + "/vipps/callback" },
		"no state":      func(_ *harness.Browser, callback string) string { return harness.WithQuery(t, callback, "-state") },
		"empty state":   func(_ *harness.Browser, callback string) string { return harness.WithQuery(t, callback, "state=") },
		"other state": func(_ *harness.Browser, callback string) string {
			return harness.WithQuery(t, callback, "state=AAAAAAAAAAAAAAAAAAAAAA")
		},
		"long state": func(_ *harness.Browser, callback string) string {
			return harness.WithQuery(t, callback, "state="+strings.Repeat("A", 5000))
		},
		"no code": func(_ *harness.Browser, callback string) string { return harness.WithQuery(t, callback, "-code") },
		"code and error": func(_ *harness.Browser, callback string) string {
			return harness.WithQuery(t, callback, "error=access_denied")
		},
		"two codes": func(_ *harness.Browser, callback string) string { return callback + "&code=another" },
		"two equal codes": func(_ *harness.Browser, callback string) string {
			return callback + "&code=" + harness.MustQuery(t, callback).Get("code")
		},
		"two states": func(_ *harness.Browser, callback string) string { return callback + "&state=another" },
		"two errors": func(_ *harness.Browser, callback string) string {
			return harness.WithQuery(t, callback, "-code") + "&error=a&error=b"
		},
		"a state that cannot be read": func(_ *harness.Browser, callback string) string { return callback + "&state=%zz" },
		"two codes, one encoded":      func(_ *harness.Browser, callback string) string { return callback + "&%63ode=another" },
		"semicolon":                   func(_ *harness.Browser, callback string) string { return callback + ";x=y" },
		"altered state":               alterState(0),
		"altered state, end":          alterState(-1),
		"longer state": func(_ *harness.Browser, callback string) string {
			return harness.WithQuery(t, callback, "state="+harness.MustQuery(t, callback).Get("state")+"A")
		},
		"another browser": func(b *harness.Browser, callback string) string {
			b.Client.Jar = harness.NewBrowser(t).Client.Jar
			return callback
		},
		"another merchant": func(_ *harness.Browser, callback string) string {
			return strings.Replace(callback, "shop-a", "shop-b", 1)
		},
		"altered cookie":       func(b *harness.Browser, callback string) string { harness.AlterCookies(b, callback); return callback },
		"cookie of a stranger": func(b *harness.Browser, callback string) string { renameCookies(b, callback); return callback },
	} {
		t.Run(name, func(t *testing.T) {
			b := harness.NewBrowser(t)
			callback := change(b, b.Approved(shop+"/wanted", harness.Kari).RedirectTo())
			w.Vipps.Counted()
			a := b.Get(callback).WantStatus(t, http.StatusBadRequest)
			if calls := w.Vipps.Counted(); len(calls) > 0 {
				t.Errorf("Vipps was called: %v", calls)
			}
			if strings.Contains(b.Cookies(shop+"/"), "vipps_session") || w.Upstream.Count() > 0 {
				t.Error("a session, or the site reached")
			}
			if !strings.Contains(a.Text, `href="/vipps/login?return_to=%2F`) || a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Errorf("no page for people: %s", a.Text)
			}
		})
	}
}

// alterState flips a character of the state: the one at, from the end where it is negative.
func alterState(at int) func(*harness.Browser, string) string {
	return func(b *harness.Browser, callback string) string {
		state := []byte(harness.MustQuery(b.T, callback).Get("state"))
		if at < 0 {
			at += len(state)
		}
		if state[at] == 'A' {
			state[at] = 'B'
		} else {
			state[at] = 'A'
		}
		return harness.WithQuery(b.T, callback, "state="+string(state))
	}
}

// renameCookies gives the callback's cookie the value of another login of the same browser.
func renameCookies(b *harness.Browser, callback string) {
	u, _ := url.Parse(callback)
	b.Get(u.Scheme + "://" + u.Host + "/other")
	cookies := b.Client.Jar.Cookies(u)
	for _, c := range cookies {
		c.Path = "/"
	}
	cookies[0].Value, cookies[1].Value = cookies[1].Value, cookies[0].Value
	b.Client.Jar.SetCookies(u, cookies)
}

// TestStateIsSpentOnce, also by a login that fails, and by a browser that keeps its cookie.
func TestStateIsSpentOnce(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")

	b := harness.NewBrowser(t)
	callback := b.Approved(shop+"/", harness.Kari).RedirectTo()
	u, _ := url.Parse(callback)
	kept := b.Client.Jar.Cookies(u)
	b.Get(harness.WithQuery(t, callback, "code=wrong")).WantStatus(t, http.StatusBadRequest)
	for _, c := range kept {
		c.Path = "/"
	}
	b.Client.Jar.SetCookies(u, kept)
	w.Vipps.Counted()
	b.Get(callback).WantStatus(t, http.StatusBadRequest)
	if calls := w.Vipps.Counted(); len(calls) > 0 {
		t.Errorf("a spent login called Vipps: %v", calls)
	}

	// Cancelled: spent too.
	b = harness.NewBrowser(t)
	page := b.Follow(b.Get(shop + "/"))
	cancelled := b.Consent(page, url.Values{"answer": {"cancel"}}).RedirectTo()
	a := b.Get(cancelled).WantStatus(t, http.StatusForbidden)
	if !strings.Contains(a.Text, "cancelled") || !strings.Contains(a.Text, "/vipps/login?return_to=%2F") {
		t.Errorf("page: %s", a.Text)
	}
	b.Get(cancelled).WantStatus(t, http.StatusBadRequest)
}

// TestCallbackOnceOutOfMany: of many callbacks at the same time, one completes the login.
func TestCallbackOnceOutOfMany(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	b := harness.NewBrowser(t)
	callback := b.Approved(w.Shop("shop-a.localhost")+"/", harness.Kari).RedirectTo()
	w.Vipps.Counted()
	var done sync.WaitGroup
	for range 20 {
		done.Go(func() { b.Get(callback) })
	}
	done.Wait()
	if calls := w.Vipps.Counted(); calls[harness.PathToken] != 1 {
		t.Errorf("the code was sent %d times", calls[harness.PathToken])
	}
	if n := strings.Count(w.Logged(), `"msg":"login completed"`); n != 1 {
		t.Errorf("%d outcomes in the log", n)
	}
}

// TestCallbackReplayedWithSession goes on to the site.
func TestCallbackReplayedWithSession(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	callback := b.Approved(shop+"/", harness.Kari).RedirectTo()
	b.Follow(b.Get(callback)).WantStatus(t, http.StatusOK)
	w.Vipps.Counted()
	if a := b.Get(callback).WantStatus(t, http.StatusFound); a.RedirectTo() != shop+"/" {
		t.Errorf("led to %s", a.RedirectTo())
	}
	if calls := w.Vipps.Counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	b.Get(shop+"/vipps/callback?code=a&state=b&error=c").WantStatus(t, http.StatusBadRequest)
}

// TestTabs: logins in several tabs do not disturb each other, and pile up to five cookies.
func TestTabs(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	first := b.Approved(shop+"/one", harness.Kari).RedirectTo()
	second := b.Approved(shop+"/two", harness.Kari).RedirectTo()
	if a := b.Get(second); a.RedirectTo() != shop+"/two" {
		t.Errorf("the second tab is at %s", a.RedirectTo())
	}
	if a := b.Get(first); a.RedirectTo() != shop+"/one" {
		t.Errorf("the first tab is at %s", a.RedirectTo())
	}

	b = harness.NewBrowser(t)
	var callbacks []string
	for range 8 {
		callbacks = append(callbacks, b.Approved(shop+"/", harness.Kari).RedirectTo())
	}
	if n := strings.Count(b.Cookies(shop+"/"), "vipps_login_"); n != 5 {
		t.Errorf("%d logins in progress are kept, want 5", n)
	}
	b.Get(callbacks[0]).WantStatus(t, http.StatusBadRequest)
	b.Get(callbacks[7]).WantStatus(t, http.StatusFound)

	b = harness.NewBrowser(t)
	for range 5 {
		b.Get(shop+"/"+strings.Repeat("%C3%A6%F0", 300)).WantStatus(t, http.StatusFound)
	}
	if n := len(b.Cookies(shop + "/")); n > 4096 {
		t.Errorf("the cookies of logins in progress take %d bytes", n)
	}
}

// TestForbiddenCode: a 403 of the token endpoint is about the sales unit, and no user has cancelled.
func TestForbiddenCode(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusForbidden)
		_, _ = rw.Write([]byte(`{"error":"access_denied"}`))
	})
	b := harness.NewBrowser(t)
	b.Get(b.Approved(w.Shop("shop-a.localhost")+"/", harness.Kari).RedirectTo()).WantStatus(t, http.StatusBadGateway)
	if line := harness.LineWith(w.Logged(), `"login failed"`); !strings.Contains(line, `"reason":"not_connected"`) || !strings.Contains(line, `"level":"error"`) {
		t.Errorf("logged: %s", line)
	}
}

// TestErrorCodes: Vipps' error codes, documented and not, have their status and their page.
func TestErrorCodes(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	for code, status := range map[string]int{
		"access_denied": 403, "login_required": 403, "outdated_app_version": 403, "wrong_challenge": 403,
		"unknown_reject_reason": 403, "not_documented_yet": 403, "<script>alert(1)</script>": 403,
		"server_error": 502, "temporarily_unavailable": 503,
	} {
		b := harness.NewBrowser(t)
		callback := b.Approved(w.Shop("shop-a.localhost")+"/x", harness.Kari).RedirectTo()
		a := b.Get(harness.WithQuery(t, callback, "-code", "error="+code, "error_description=<b>4712345678</b>"))
		a.WantStatus(t, status)
		if strings.Contains(a.Text, "<script>") || strings.Contains(a.Text, "<b>") || strings.Contains(a.Text, "4712345678") {
			t.Errorf("%s: echoed: %s", code, a.Text)
		}
		if strings.Contains(w.Logged(), "4712345678") {
			t.Errorf("%s: error_description is in the log", code)
		}
	}
}

// TestReturnInAnyBrowser: the login is completed in a browser that knows nothing of it, once.
func TestReturnInAnyBrowser(t *testing.T) {
	w := harness.NewWorld(t)
	sites := strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\treturn_in_any_browser\n\t}\n", 1)
	w.Load(sites)
	shop := w.Shop("shop-a.localhost")
	start := harness.NewBrowser(t)
	to := harness.MustQuery(t, start.Get(shop+"/").RedirectTo())
	if to.Get("requested_flow") != "automatic_return_from_vipps_app" || to.Get("code_challenge") == "" {
		t.Errorf("authentication request: %v", to)
	}
	fits := "/" + harness.RandomText(300)
	for path, want := range map[string]string{
		"/wanted?x=1":                          "/wanted?x=1",
		fits + "?q=" + harness.RandomText(600): fits,
		"/" + harness.RandomText(900):          "/",
	} {
		callback := harness.NewBrowser(t).Approved(shop+path, harness.Kari).RedirectTo()
		if n := len(harness.MustQuery(t, callback).Get("state")); n >= 800 {
			t.Errorf("state has %d characters", n)
		}
		other := harness.NewBrowser(t)
		if a := other.Get(callback).WantStatus(t, http.StatusFound); a.RedirectTo() != shop+want {
			t.Errorf("the other browser was led to %s, want %s", a.RedirectTo(), want)
		}
		other.Get(shop+"/vipps/userinfo").WantStatus(t, http.StatusOK)
	}

	// The browser that started it knows the whole path.
	long := "/" + harness.RandomText(900)
	if a := start.Get(start.Approved(shop+long, harness.Kari).RedirectTo()); a.RedirectTo() != shop+long {
		t.Errorf("the same browser was led to %s", a.RedirectTo())
	}

	// Redeemed once, whatever the code, on any instance.
	callback := harness.NewBrowser(t).Approved(shop+"/", harness.Kari).RedirectTo()
	harness.NewBrowser(t).Get(callback).WantStatus(t, http.StatusFound)
	another := harness.NewBrowser(t).Approved(shop+"/", harness.Kari).RedirectTo()
	w.LoadWhole(strings.Replace(w.Globals(), "client_id", "system other\n\t\tclient_id", 1) + sites) // nothing in memory is shared
	w.Vipps.Counted()
	harness.NewBrowser(t).Get(harness.WithQuery(t, callback, "code="+harness.MustQuery(t, another).Get("code"))).WantStatus(t, http.StatusBadRequest)
	if calls := w.Vipps.Counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	harness.NewBrowser(t).Get(harness.WithQuery(t, another, "state="+harness.MustQuery(t, another).Get("state")[1:])).WantStatus(t, http.StatusBadRequest)
}

// TestAppConfirmation: the login asks for it, and believes only an ID token that says so.
func TestAppConfirmation(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	before := harness.NewBrowser(t)
	before.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Load(strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\trequire_app_confirmation\n\t\tmarket FI\n\t}\n", 1))
	before.Get(shop+"/").WantStatus(t, http.StatusFound) // a session that nobody confirmed is none here
	b := harness.NewBrowser(t)
	if to := harness.MustQuery(t, b.Get(shop+"/").RedirectTo()); to.Get("acr_values") != "urn:vipps:acr:app_auth" || to.Get("market") != "FI" {
		t.Errorf("authentication request: %v", to)
	}
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { delete(claims, "acr") }})
	harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusForbidden)
	if line := harness.LineWith(w.Logged(), `"reason":"not_confirmed"`); line == "" {
		t.Error("the log does not say why")
	}
}

// TestNoImageCompletesALogin: a callback is a page in a window. As an image or a frame on a sibling's page it would
// change who is logged in, where return_in_any_browser lets another browser complete a login.
func TestNoImageCompletesALogin(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\treturn_in_any_browser\n\t}\n", 1))
	shop := w.Shop("shop-a.localhost")
	callback := harness.NewBrowser(t).Approved(shop+"/", harness.Bjorn).RedirectTo()
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	before := b.Cookies(shop)
	for destination, mode := range map[string]string{"image": "no-cors", "iframe": "navigate", "empty": "cors"} {
		b.Get(callback, "Sec-Fetch-Dest: "+destination, "Sec-Fetch-Mode: "+mode, "Sec-Fetch-Site: same-site").WantStatus(t, http.StatusBadRequest)
	}
	if b.Cookies(shop) != before {
		t.Error("the session is another")
	}
	harness.NewBrowser(t).Get(callback).WantStatus(t, http.StatusFound)
}
