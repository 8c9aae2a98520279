package attack_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestNetworkPathReadings: the target "//x/wine/red" is a reference to host x for the parsers that many sites ask for the path:
// Node's new URL(req.url, base), PHP's parse_url($_SERVER['REQUEST_URI']), Python's urlsplit, Go's url.Parse.
func TestNetworkPathReadings(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456 {\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	cookies := "Cookie: " + b.Cookies(shop+"/") + "\r\n"
	for _, path := range []string{"//x/wine/red", "//x:80/wine/red", "//x@y/wine/red", "///x/wine/red", "//x//wine/red", "//x/./wine/red", "//x/y/../wine/red", "//x/%77ine/red", "/open/..//x/wine/red", "/\\x/wine/red"} {
		w.Upstream.TakeCount()
		status, _ := harness.RawRequest(t, w.HTTP, "GET "+path+" HTTP/1.1\r\nHost: shop-a.localhost\r\nSec-Fetch-Mode: cors\r\n"+cookies+"Connection: close\r\n\r\n")
		if w.Upstream.Count() == 0 {
			continue
		}
		target := w.Upstream.Last(t).RequestURI
		u, err := url.Parse(target)
		if err == nil && strings.HasPrefix(u.Path, "/wine/") {
			t.Errorf("require: %s: %d, the site gets %q, and reads %s", path, status, target, u.Path)
		}
	}
	for _, path := range []string{"//x/account/secret", "///x/account/secret"} {
		status, _ := harness.RawRequest(t, w.HTTP, "GET "+path+" HTTP/1.1\r\nHost: shop-a.localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
		if w.Upstream.TakeCount() > 0 {
			t.Errorf("matcher: %s: %d without a session", path, status)
		}
	}
}

// TestSiteSessionNameless: some stacks read "=sid=evil" as the cookie sid (CVE-2023-23934, werkzeug).
func TestSiteSessionNameless(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456 " + siteSession + "}\n")
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	for _, pair := range []string{"=sid=evil", "==sid=evil", " = sid=evil", "=%73id=evil", "=\"sid\"=evil"} {
		b.Get(shop+"/", "Cookie: a=1; "+pair+"; b=2").WantStatus(t, http.StatusOK)
		if got := w.Upstream.Last(t).Header.Get("Cookie"); got != "a=1; b=2" {
			t.Errorf("%q: the site gets %q", pair, got)
		}
	}
	b.Get(shop+"/", "Cookie: =x; =y=1").WantStatus(t, http.StatusOK)
	if got := w.Upstream.Last(t).Header.Get("Cookie"); got != "=x; =y=1" {
		t.Errorf("of others the site gets %q", got)
	}
}

// TestSiteSessionAnnouncedTrailer: also a trailer that the site announces sets no session.
func TestSiteSessionAnnouncedTrailer(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456 " + siteSession + "}\n")
	shop := w.Shop("shop-a.localhost")
	for _, announced := range []string{"Set-Cookie", "set-cookie", "X-End, Set-Cookie"} {
		answering(w, func(rw http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: "+announced+"\r\nSet-Cookie: sid=first; Path=/\r\n\r\n2\r\nok\r\n0\r\nX-End: 1\r\nSet-Cookie: sid=plain\r\n\r\n")
		})
		a := harness.NewBrowser(t).Get(shop+"/").WantStatus(t, http.StatusOK)
		if set := a.Trailer["Set-Cookie"]; strings.Contains(strings.Join(set, "\n"), "plain") {
			t.Errorf("announced as %s: the trailer sets %q; header %q", announced, set, a.Header["Set-Cookie"])
		}
	}
}

// TestSiteSessionOfAnotherSitesForm: a form of another site brings the site's own cookie (SameSite=None, or none in Firefox and
// Safari) and not ours, which is Lax. The user's session at the site must survive what the site answers.
func TestSiteSessionOfAnotherSitesForm(t *testing.T) {
	w := harness.NewWorld(t)
	harness.NewLegacy(w)
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456 {\n\t\tsite_session sid\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/?put=book", harness.Kari).WantStatus(t, http.StatusOK)
	if page := b.Ask(shop + "/"); !strings.Contains(page, "book") {
		t.Fatal(page)
	}
	u, _ := url.Parse(shop)
	var sid string
	for _, c := range b.Client.Jar.Cookies(u) {
		if c.Name == "sid" {
			sid = c.Value
		}
	}
	other := harness.NewBrowser(t) // what the browser sends in a POST from another site
	a := other.Do(harness.NewRequest(t, http.MethodPost, shop+"/pay/return", strings.NewReader("ok=1"), "Sec-Fetch-Site: cross-site", "Origin: https://pay.example", "Cookie: sid="+sid))
	b.Client.Jar.SetCookies(u, a.Cookies()) // what the browser keeps
	if page := b.Ask(shop + "/"); !strings.Contains(page, "book") {
		t.Errorf("Kari's own page then: %s", page)
	}
}

// TestLoopByOneLink: a link that leads through several logins costs the link, and not the session.
func TestLoopByOneLink(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456\n\treverse_proxy $UPSTREAM\n}\n")
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	target := "/account/"
	for range 4 {
		target = "/vipps/login?return_to=" + url.QueryEscape(target)
	}
	a := b.Get(shop + target)
	logins := 0
	for range 30 {
		if a.StatusCode != http.StatusFound {
			break
		}
		if strings.Contains(a.RedirectTo(), harness.PathAuth) {
			logins++
			a = b.Get(b.Consent(b.Follow(a), url.Values{"user": {harness.Kari}, "answer": {"approve"}}).RedirectTo())
			continue
		}
		a = b.Get(a.RedirectTo())
	}
	if a.WantStatus(t, http.StatusLoopDetected); logins != 3 {
		t.Errorf("%d logins", logins)
	}
	b.Get(shop+"/account/").WantStatus(t, http.StatusOK)
}
