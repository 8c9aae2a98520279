package browser_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

const (
	siteOfKari    = "user=Kari Nordmann basket="
	siteOfBjorn   = "user=Bjørn Ærlig-Åsen basket="
	siteOfVisitor = "user= basket="
)

// legacyShop is a site where /account/ needs a login, with lines in its directive.
func legacyShop(lines string) string {
	return "http://shop-a.localhost:$HTTP {\n\tlog\n\tvipps_login /account/* 123456 {\n\t\t" + lines + "\n\t}\n\treverse_proxy $UPSTREAM\n}\n"
}

// wantShown checks what the site shows.
func wantShown(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: the site shows %q, want %q", what, got, want)
	}
}

// TestSiteSession: of two people at one browser, one after the other, each has a session of the site's own; without the option
// the second one is the first.
func TestSiteSession(t *testing.T) {
	for name, test := range map[string]struct {
		lines  string
		second string
		leave  func(b *harness.Browser, shop string)
	}{
		"logout":              {"site_session sid", siteOfBjorn, func(b *harness.Browser, shop string) { b.Get(shop+"/vipps/logout").WantStatus(t, 302) }},
		"another login":       {"site_session sid", siteOfBjorn, func(*harness.Browser, string) {}},
		"lost session":        {"site_session sid", siteOfBjorn, func(b *harness.Browser, shop string) { forget(b, shop, "vipps_session") }},
		"with keep_at_login":  {"site_session sid {\n\t\t\tkeep_at_login\n\t\t}", siteOfBjorn, func(b *harness.Browser, shop string) { b.Get(shop + "/vipps/logout") }},
		"kept, another login": {"site_session sid {\n\t\t\tkeep_at_login\n\t\t}", siteOfBjorn, func(*harness.Browser, string) {}},
		"without the option":  {"header_limit 8KiB", siteOfKari + "book,pen", func(b *harness.Browser, shop string) { b.Get(shop + "/vipps/logout") }},
	} {
		t.Run(name, func(t *testing.T) {
			w := harness.NewWorld(t)
			harness.NewLegacy(w)
			w.Load(legacyShop(test.lines))
			shop := w.Shop("shop-a.localhost")
			b := harness.NewBrowser(t)
			wantShown(t, "Kari", b.Login(shop+"/account/?put=book", harness.Kari).WantStatus(t, http.StatusOK).Text, siteOfKari+"book")
			wantShown(t, "Kari again", b.Ask(shop+"/account/?put=pen"), siteOfKari+"book,pen")
			wantShown(t, "Kari, a public page", b.Ask(shop+"/"), siteOfKari+"book,pen")
			test.leave(b, shop)
			wantShown(t, "Bjørn", b.Follow(b.Approved(shop+"/vipps/login?return_to=/account/", harness.Bjorn)).WantStatus(t, http.StatusOK).Text, test.second)
			wantShown(t, "Bjørn, a public page", b.Ask(shop+"/"), test.second)
		})
	}
}

// forget is a browser that has lost the cookies whose names begin so.
func forget(b *harness.Browser, address, prefix string) {
	u, _ := url.Parse(address)
	for _, c := range b.Client.Jar.Cookies(u) {
		if strings.HasPrefix(c.Name, prefix) {
			b.Client.Jar.SetCookies(u, []*http.Cookie{{Name: c.Name, Path: "/", MaxAge: -1}})
		}
	}
}

// TestSiteSessionOfTheSamePerson: a login for more, and another login, keep what is in the session.
func TestSiteSessionOfTheSamePerson(t *testing.T) {
	w := harness.NewWorld(t)
	harness.NewLegacy(w)
	w.Load(legacyShop("site_session sid\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/?put=book", harness.Kari)
	wantShown(t, "a login for more", b.Login(shop+"/wine/?put=wine", harness.Kari).WantStatus(t, http.StatusOK).Text, siteOfKari+"book,wine")
	wantShown(t, "another login", b.Follow(b.Approved(shop+"/vipps/login?return_to=/account/", harness.Kari)).Text, siteOfKari+"book,wine")
	wantShown(t, "a login for more of another", b.Follow(b.Approved(shop+"/vipps/login?return_to=/wine/", harness.Bjorn)).Text, siteOfBjorn)
	b.Get(shop + "/vipps/logout")
	b.Login(shop+"/account/", harness.Bjorn)
	wantShown(t, "after a logout", b.Login(shop+"/wine/", harness.Bjorn).Text, siteOfBjorn)
}

// TestSiteSessionKeepAtLogin: a visitor's basket is theirs when they log in, and nobody else's, then or later.
func TestSiteSessionKeepAtLogin(t *testing.T) {
	w := harness.NewWorld(t)
	legacy := harness.NewLegacy(w)
	shop := w.Shop("shop-a.localhost")
	for _, renews := range []bool{false, true} {
		for lines, kept := range map[string]string{"site_session sid {\n\t\t\tkeep_at_login\n\t\t}": "book", "site_session sid": ""} {
			legacy.Renews = renews
			w.Load(legacyShop(lines))
			b := harness.NewBrowser(t)
			wantShown(t, "a visitor", b.Ask(shop+"/?put=book"), siteOfVisitor+"book")
			copied := "Cookie: " + b.Cookies(shop)
			wantShown(t, "Kari", b.Login(shop+"/account/", harness.Kari).Text, siteOfKari+kept)
			wantShown(t, "Kari again", b.Ask(shop+"/account/"), siteOfKari+kept)
			// A copy from before is nobody's who has a session.
			thief := harness.NewBrowser(t)
			thief.Login(shop+"/account/", harness.Bjorn)
			wantShown(t, "Bjørn with a copy", thief.Ask(shop+"/account/", copied), siteOfBjorn)
			forget(b, shop, "sid")
			if got := b.Ask(shop+"/account/", copied); got != siteOfKari {
				t.Errorf("Kari with a copy from before: the site shows %q", got)
			}
			b.Get(shop + "/vipps/logout")
			wantShown(t, "a visitor after the logout", b.Ask(shop+"/?put=pen"), siteOfVisitor+"pen")
			wantShown(t, "Bjørn", b.Login(shop+"/account/", harness.Bjorn).Text, siteOfBjorn+map[string]string{"book": "pen", "": ""}[kept])
			wantShown(t, "Kari in place of Bjørn", b.Follow(b.Approved(shop+"/vipps/login?return_to=/account/", harness.Kari)).Text, siteOfKari)
		}
	}
}

// TestSiteSessionKeptWhenToldAgain: a callback whose answer was lost keeps the basket when it is sent again; not where the login
// has replaced a session.
func TestSiteSessionKeptWhenToldAgain(t *testing.T) {
	w := harness.NewWorld(t)
	harness.NewLegacy(w)
	w.Load(legacyShop("site_session sid {\n\t\t\tkeep_at_login\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Ask(shop + "/?put=book")
	callback := b.Approved(shop+"/account/", harness.Kari).RedirectTo()
	restore := keepCookies(b, shop)
	b.Get(callback).WantStatus(t, http.StatusFound)
	restore()
	wantShown(t, "told again", b.Follow(b.Get(callback)).Text, siteOfKari+"book")

	b = harness.NewBrowser(t)
	b.Ask(shop + "/?put=book")
	visitors := b.Cookies(shop)
	forget(b, shop, "sid")
	b.Login(shop+"/account/", harness.Bjorn)
	forget(b, shop, "sid")
	callback = b.Approved(shop+"/vipps/login?return_to=/account/", harness.Kari).RedirectTo()
	restore = keepCookies(b, shop)
	b.Get(callback, "Cookie: "+visitors).WantStatus(t, http.StatusFound)
	restore()
	wantShown(t, "told again, of a login that has replaced one", b.Follow(b.Get(callback, "Cookie: "+visitors)).Text, siteOfKari)
}

// TestSiteSessionOfTheTill: a login from a phone number that ends in the browser keeps the basket as well.
func TestSiteSessionOfTheTill(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	harness.NewLegacy(w)
	w.Load(legacyShop("site_session sid {\n\t\t\tkeep_at_login\n\t\t}\n\t\tphone {\n\t\t\tapi_key " + harness.APIKey + "\n\t\t}"))
	till := harness.NewTill(t, w.Shop("shop-a.localhost"))
	b := harness.NewBrowser(t)
	b.Ask(till.Shop + "/?put=book")
	for _, kept := range []string{"book", ""} {
		_, request := till.Start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/account/"}`)
		wantShown(t, "Kari", b.Follow(b.Get(harness.MustAnswer(t, w, request, true))).Text, siteOfKari+kept)
		b.Get(till.Shop + "/vipps/logout")
	}
}

// setting is a site that answers with these Set-Cookie lines.
func setting(w *harness.World, lines ...string) {
	w.Upstream.Mutex.Lock()
	defer w.Upstream.Mutex.Unlock()
	w.Upstream.Handler = func(rw http.ResponseWriter, _ *http.Request) { rw.Header()["Set-Cookie"] = lines }
}

// TestSiteSessionCookies: attributes stay, deletions work, what browsers would not take is left out with a warning, and other
// cookies are not touched.
func TestSiteSessionCookies(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(legacyShop("site_session sid other"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	setting(w, "sid=abc; path=/; HttpOnly; SameSite=Strict", "plain=1; Path=/", "other=x y; Max-Age=600")
	a := b.Get(shop + "/shop/page")
	lines := a.Header["Set-Cookie"]
	if len(lines) != 3 || !strings.HasSuffix(lines[0], "; path=/; HttpOnly; SameSite=Strict") || lines[1] != "plain=1; Path=/" || !strings.HasSuffix(lines[2], "; Max-Age=600") ||
		strings.Contains(lines[0], "abc") || strings.Contains(lines[2], "x y") {
		t.Errorf("set: %q", lines)
	}
	setting(w)
	b.Get(shop+"/shop/", "Cookie: theme=dark;  x")
	if got := w.Upstream.Last(t).Header["Cookie"]; len(got) != 1 || !slices.Equal(slices.Sorted(slices.Values(strings.Split(got[0], "; "))), []string{" x", "other=x y", "plain=1", "sid=abc", "theme=dark"}) {
		t.Errorf("the site gets %q", got)
	}
	setting(w, "sid="+strings.Repeat("x", 4000)+"; Path=/", "sid=second; Path=/second", "kept="+strings.Repeat("x", 4000))
	if lines := b.Get(shop + "/").Header["Set-Cookie"]; len(lines) != 2 || !strings.HasSuffix(lines[0], "; Path=/second") || !strings.HasPrefix(lines[1], "kept=") {
		t.Errorf("of one that is too large: %d lines", len(lines))
	}
	if fields := w.LogLine(`"level":"warn"`, "session cookies of the site left out"); fmt.Sprint(fields["cookies"]) != "[sid]" || fields["msn"] != "123456" {
		t.Errorf("warning: %v", fields)
	}
	setting(w, "sid=deleted; expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; path=/")
	b.Get(shop + "/")
	if cookies := b.Cookies(shop + "/"); strings.Contains(cookies, "sid=") || !strings.Contains(cookies, "plain=1") {
		t.Errorf("after a deletion: %s", cookies)
	}
}

// TestSiteSessionExpiry: what does not fit is forgotten with the answer to a page view, unless that sets it, and with no other
// answer: a script's may come after the next login.
func TestSiteSessionExpiry(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(legacyShop("site_session sid"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	setting(w, "sid=karis; Path=/")
	b.Login(shop+"/account/", harness.Kari)
	karis := b.Cookies(shop)
	b.Get(shop + "/vipps/logout")
	if strings.Contains(b.Cookies(shop), "sid=") {
		t.Errorf("after the logout: %s", b.Cookies(shop))
	}
	visitor := harness.NewBrowser(t)
	u, _ := url.Parse(shop)
	plant := func() {
		visitor.Client.Jar.SetCookies(u, []*http.Cookie{{Name: "sid", Value: sidOf(karis), Path: "/"}})
	}
	plant()
	for name, header := range map[string][]string{
		"a script": harness.AsScript, "an image": {"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, "a frame": {"Sec-Fetch-Dest: iframe"}, "a prefetch": {"Sec-Purpose: prefetch"},
	} {
		setting(w)
		if a := visitor.Get(shop+"/", header...); len(a.Header["Set-Cookie"]) > 0 || w.Upstream.Last(t).Header.Get("Cookie") != "" {
			t.Errorf("%s: sets %q", name, a.Header["Set-Cookie"])
		}
	}
	a := visitor.Get(shop + "/")
	if got := a.Header["Set-Cookie"]; !slices.Equal(got, []string{"sid=; Path=/; Max-Age=0"}) || !slices.Contains(a.Header["Cache-Control"], "private") || visitor.Cookies(shop) != "" {
		t.Errorf("a page view: sets %q, %q", got, a.Header["Cache-Control"])
	}
	plant()
	setting(w, "sid=new; Path=/", "sid=elsewhere; Path=/elsewhere")
	if got := visitor.Get(shop + "/").Header["Set-Cookie"]; len(got) != 2 || strings.Contains(got[0]+got[1], "Max-Age") {
		t.Errorf("a page view that sets it: %q", got)
	}
	plant()
	setting(w, "sid=elsewhere; Path=/elsewhere")
	if got := visitor.Get(shop + "/").Header["Set-Cookie"]; len(got) != 2 || got[1] != "sid=; Path=/; Max-Age=0" {
		t.Errorf("a page view that sets it elsewhere: %q", got)
	}
	plant()
	setting(w)
	visitor.Get(visitor.Approved(shop+"/account/", harness.Bjorn).RedirectTo()).WantStatus(t, http.StatusFound)
	if strings.Contains(visitor.Cookies(shop), "sid=") {
		t.Errorf("after a login: %s", visitor.Cookies(shop))
	}
}

// sidOf returns the value of sid in a Cookie header.
func sidOf(cookies string) string {
	for pair := range strings.SplitSeq(cookies, "; ") {
		if value, ok := strings.CutPrefix(pair, "sid="); ok {
			return value
		}
	}
	return ""
}

// TestSiteSessionSecure: over HTTPS __Host- cookies are expired so that browsers do it.
func TestSiteSessionSecure(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load("https://shop-a.localhost:$HTTPS {\n\ttls $CERT $KEY\n\tvipps_login /account/* 123456 {\n\t\tsite_session __Host-sid\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
	shop := w.SecureShop("shop-a.localhost")
	b := harness.NewBrowser(t)
	setting(w, "__Host-sid=karis; Path=/; Secure; HttpOnly")
	b.Login(shop+"/account/", harness.Kari)
	setting(w)
	b.Ask(shop + "/")
	if got := w.Upstream.Last(t).Header.Get("Cookie"); got != "__Host-sid=karis" {
		t.Errorf("the site gets %q", got)
	}
	a := b.Get(shop + "/vipps/logout")
	if !slices.Contains(a.Header["Set-Cookie"], "__Host-sid=; Path=/; Max-Age=0; Secure") || b.Cookies(shop) != "" {
		t.Errorf("the logout sets %q, and leaves %s", a.Header["Set-Cookie"], b.Cookies(shop))
	}
}
