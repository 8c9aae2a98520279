package browser_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// heldPage has the site hold its answers under /slow until they are let go.
type heldPage struct{ asked, letGo chan struct{} }

func holdSlowPages(w *harness.World) heldPage {
	held := heldPage{make(chan struct{}, 1), make(chan struct{})}
	w.Upstream.Mutex.Lock()
	defer w.Upstream.Mutex.Unlock()
	w.Upstream.Handler = func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			held.asked <- struct{}{}
			<-held.letGo
		}
		fmt.Fprint(rw, "hello")
	}
	return held
}

// whoIs returns the sub that the site is told of at address, or "" where the visitor has to log in.
func whoIs(w *harness.World, b *harness.Browser, address string) string {
	if b.Get(address).StatusCode != http.StatusOK {
		return ""
	}
	return w.Upstream.Last(w.T).Header.Get("X-Vipps-Sub")
}

const withIdleTimeout = "vipps_login 123456 {\n\t\tsession {\n\t\t\tidle_timeout 20s\n\t\t}\n\t}\n"

// TestLateAnswer: an answer with the renewed session of one user comes after another has logged in, or the user has
// logged out, in the same browser. It changes nothing.
func TestLateAnswer(t *testing.T) {
	for name, meanwhile := range map[string]func(b *harness.Browser, shop string){
		"another login": func(b *harness.Browser, shop string) {
			b.Login(shop+"/vipps/login", harness.Bjorn).WantStatus(t, http.StatusOK)
		},
		"a logout": func(b *harness.Browser, shop string) { b.Get(shop+"/vipps/logout").WantStatus(t, http.StatusFound) },
		"a logout, and another login": func(b *harness.Browser, shop string) {
			b.Get(shop+"/vipps/logout").WantStatus(t, http.StatusFound)
			b.Login(shop+"/vipps/login", harness.Bjorn).WantStatus(t, http.StatusOK)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := harness.NewWorld(t)
			w.Load(strings.Replace(harness.TwoShops, "vipps_login 123456\n", withIdleTimeout, 1))
			shop := w.Shop("shop-a.localhost")
			held := holdSlowPages(w)
			b := harness.NewBrowser(t)
			b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
			first := b.Cookies(shop)
			w.Upstream.Last(t)
			// A copy of the cookies sees when a renewal is due.
			harness.WaitFor(t, func() bool { return len(harness.NewBrowser(t).Get(shop+"/", "Cookie: "+first).Cookies()) > 0 })
			late := make(chan harness.Answer)
			go func() { late <- b.Get(shop + "/slow") }()
			<-held.asked
			meanwhile(b, shop)
			want := whoIs(w, b, shop+"/")
			close(held.letGo)
			if a := <-late; len(a.Cookies()) == 0 {
				t.Fatal("the late answer renews nothing: this test tells nothing")
			}
			if got := whoIs(w, b, shop+"/"); got != want {
				t.Errorf("after the late answer the site sees %q, before it %q", got, want)
			}
			harness.NewBrowser(t).Get(shop+"/", "Cookie: "+first).WantStatus(t, http.StatusFound) // ended with the replacement
		})
	}
}

// TestLateAnswerEndsNothing: a long poll of a public page that came with a session that is no good, or that was
// ended while it waited, ends no session that began since.
func TestLateAnswerEndsNothing(t *testing.T) {
	for name, cookie := range map[string]string{"unreadable": "vipps_session=1junk", "none of three": "vipps_session=3junk"} {
		t.Run(name, func(t *testing.T) {
			w := harness.NewWorld(t)
			w.Load(harness.TwoShops)
			shop := w.Shop("shop-b.localhost")
			held := holdSlowPages(w)
			b := harness.NewBrowser(t)
			late := make(chan harness.Answer)
			go func() { late <- b.Get(shop+"/slow", "Cookie: "+cookie) }()
			<-held.asked
			b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
			close(held.letGo)
			if a := <-late; len(a.Cookies()) != 0 {
				t.Errorf("the site's answer has %q", a.Header["Set-Cookie"])
			}
			b.Get(shop+"/account/").WantStatus(t, http.StatusOK)

			// Answers of ours that come at once clear it.
			for _, a := range []harness.Answer{
				harness.NewBrowser(t).Get(shop+"/account/", "Cookie: "+cookie),
				harness.NewBrowser(t).Get(shop+"/account/", "Cookie: "+cookie, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"),
				harness.NewBrowser(t).Get(shop+"/vipps/userinfo", "Cookie: "+cookie),
				harness.NewBrowser(t).Get(shop+"/vipps/logout", "Cookie: "+cookie),
			} {
				if !strings.Contains(strings.Join(a.Header["Set-Cookie"], "\n"), "vipps_session=; Path=/; Max-Age=0") {
					t.Errorf("%s: %d with %q", a.Request.URL, a.StatusCode, a.Header["Set-Cookie"])
				}
			}
		})
	}
}

// TestLateFailureEndsNothing: a callback that fails after a while is no answer that comes at once.
func TestLateFailureEndsNothing(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	back := b.Approved(shop+"/", harness.Kari).RedirectTo()
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		began := time.Now()
		harness.WaitFor(t, func() bool { return time.Since(began) > 1100*time.Millisecond })
		http.Error(rw, `{"error":"invalid_grant"}`, http.StatusBadRequest)
	})
	a := b.Get(back, "Cookie: "+b.Cookies(shop)+"; vipps_session=1junk").WantStatus(t, http.StatusBadRequest)
	for _, line := range a.Header["Set-Cookie"] {
		if strings.HasPrefix(line, "vipps_session") {
			t.Errorf("a late answer has %q", line)
		}
	}
}

// TestOneHostTwoMerchants: cookies know no ports. Looking at one merchant's site, and logging in there, leaves the
// user logged in at the other's, and a login in progress as it is.
func TestOneHostTwoMerchants(t *testing.T) {
	second := freeport.New(t)
	other := fmt.Sprintf("http://shop-a.localhost:%d", second)
	w := harness.WorldWith(t, func(w *harness.World) []simulator.Merchant {
		return []simulator.Merchant{
			{MSN: "123456", RedirectURIs: []string{w.Shop("shop-a.localhost") + "/vipps/callback"}},
			{MSN: "234567", RedirectURIs: []string{other + "/vipps/callback"}},
		}
	})
	w.Load(fmt.Sprintf(`
http://shop-a.localhost:$HTTP {
	vipps_login 123456
	reverse_proxy $UPSTREAM
}
http://shop-a.localhost:%d {
	vipps_login 234567
	reverse_proxy $UPSTREAM
}
`, second))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	for range 7 { // more than the logins in progress that one site keeps
		b.Get(other+"/").WantStatus(t, http.StatusFound)
		b.Get(shop+"/").WantStatus(t, http.StatusOK)
	}
	back := b.Approved(shop+"/vipps/login", harness.Kari).RedirectTo()
	for range 7 {
		b.Get(other+"/").WantStatus(t, http.StatusFound)
	}
	b.Follow(b.Get(back)).WantStatus(t, http.StatusOK)
	b.Login(other+"/", harness.Bjorn).WantStatus(t, http.StatusOK)
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	if r := w.Upstream.Last(t); r.Header.Get("X-Vipps-Msn") != "123456" || strings.Contains(r.Header.Get("Cookie"), "vipps_") {
		t.Errorf("the site sees MSN %q and cookies %q", r.Header.Get("X-Vipps-Msn"), r.Header.Get("Cookie"))
	}
	b.Get(other+"/").WantStatus(t, http.StatusOK)
	b.Get(other+"/vipps/logout").WantStatus(t, http.StatusFound)
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	b.Get(other+"/").WantStatus(t, http.StatusFound)
}

// TestLogoutByPartsOfPages: only a page in a window logs out with GET, whatever the guess is called.
func TestLogoutByPartsOfPages(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	for name, header := range map[string][]string{
		"an image":                {"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Sec-Fetch-Site: same-origin", "Accept: image/*"},
		"a frame":                 {"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: same-origin"},
		"a script's fetch":        {"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin", "Accept: */*"},
		"a script of old":         {"X-Requested-With: XMLHttpRequest", "Sec-Fetch-Mode: ", "Sec-Fetch-Dest: "},
		"an image of old":         {"Accept: image/webp,*/*", "Sec-Fetch-Mode: ", "Sec-Fetch-Dest: "},
		"Turbo 8":                 {"X-Sec-Purpose: prefetch", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"},
		"Turbo 8, as a page":      {"X-Sec-Purpose: prefetch"},
		"Next.js":                 {"Next-Router-Prefetch: 1"},
		"Firefox":                 {"X-Moz: prefetch"},
		"Safari's top sites":      {"X-Purpose: preview"},
		"Safari's preview":        {"Purpose: preview"},
		"Chromium, old":           {"Purpose: prefetch"},
		"Chromium, prerendering":  {"Sec-Purpose: prefetch;prerender"},
		"Chromium, anonymous too": {"Sec-Purpose: prefetch;anonymous-client-ip"},
	} {
		if a := b.Get(shop+"/vipps/logout", header...); a.StatusCode != http.StatusForbidden || len(a.Cookies()) > 0 {
			t.Errorf("%s: %d with %q", name, a.StatusCode, a.Header["Set-Cookie"])
		}
		if strings.Contains(strings.Join(header, " "), "urpose") || strings.HasPrefix(header[0], "X-Moz") || strings.HasPrefix(header[0], "Next") {
			for _, path := range []string{"/", "/vipps/login"} {
				if a := harness.NewBrowser(t).Get(shop+path, header...); a.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s of %s: %d", name, path, a.StatusCode)
				}
			}
		}
	}
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	b.Do(harness.NewRequest(t, http.MethodPost, shop+"/vipps/logout", nil, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin", "Accept: */*")).
		WantStatus(t, http.StatusSeeOther)
	b.Get(shop+"/").WantStatus(t, http.StatusFound)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	b.Get(shop+"/vipps/logout", "Sec-Fetch-Mode: ", "Sec-Fetch-Dest: ", "Accept: */*").WantStatus(t, http.StatusFound) // curl
}

// TestUserinfoDoesNotRenew: a script that asks who the user is keeps nobody's session alive. The site's own
// polling does, unless it is left out.
func TestUserinfoDoesNotRenew(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(strings.Replace(harness.TwoShops, "vipps_login 123456\n", strings.Replace(withIdleTimeout, "20s", "2s", 1), 1))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	harness.WaitFor(t, func() bool {
		a := b.Get(shop + "/vipps/userinfo")
		if a.StatusCode == http.StatusOK && len(a.Cookies()) > 0 {
			t.Fatalf("renewed with %q", a.Header["Set-Cookie"])
		}
		return a.StatusCode == http.StatusUnauthorized
	})
}
