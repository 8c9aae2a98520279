package browser_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestUnauthenticated: who is redirected, and who is told 401.
func TestUnauthenticated(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops + `
http://deny.localhost:$HTTP {
	vipps_login 123456 {
		on_unauthenticated deny
	}
	reverse_proxy $UPSTREAM
}
http://pass.localhost:$HTTP {
	vipps_login 123456 {
		on_unauthenticated pass
	}
	reverse_proxy $UPSTREAM
}
`)
	shop := w.Shop("shop-a.localhost")
	for name, test := range map[string]struct {
		method, address string
		header          []string
		status          int
	}{
		"navigation":             {"GET", shop + "/", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 302},
		"HEAD":                   {"HEAD", shop + "/", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 302},
		"older browser":          {"GET", shop + "/", []string{"Accept: text/html,application/xhtml+xml,*/*;q=0.8"}, 302},
		"no word of HTML":        {"GET", shop + "/", []string{"Accept: */*"}, 401},
		"no Accept":              {"GET", shop + "/", nil, 401},
		"fetch":                  {"GET", shop + "/", []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: text/html"}, 401},
		"frame":                  {"GET", shop + "/", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Accept: text/html"}, 401},
		"XHR":                    {"GET", shop + "/", []string{"X-Requested-With: XMLHttpRequest", "Accept: text/html"}, 401},
		"app's web view":         {"GET", shop + "/", []string{"X-Requested-With: com.example.app", "Accept: text/html"}, 302},
		"app's web view, newer":  {"GET", shop + "/", []string{"X-Requested-With: com.example.app", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 302},
		"service worker":         {"GET", shop + "/", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: empty"}, 302},
		"no destination":         {"GET", shop + "/", []string{"Sec-Fetch-Mode: navigate"}, 302},
		"form":                   {"POST", shop + "/", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 401},
		"OPTIONS":                {"OPTIONS", shop + "/", []string{"Accept: text/html"}, 401},
		"prefetch":               {"GET", shop + "/", []string{"Sec-Purpose: prefetch;prerender", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 401},
		"image of the login":     {"GET", shop + "/vipps/login", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Accept: text/html"}, 401},
		"frame of the login":     {"GET", shop + "/vipps/login", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Accept: text/html"}, 401},
		"script of the login":    {"GET", shop + "/vipps/login", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, 401},
		"link to the login":      {"GET", shop + "/vipps/login", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 302},
		"prefetch of the login":  {"GET", shop + "/vipps/login", []string{"Sec-Purpose: prefetch", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 401},
		"login endpoint":         {"GET", shop + "/vipps/login", nil, 302},
		"wrong method":           {"POST", shop + "/vipps/login", nil, 405},
		"wrong method, callback": {"HEAD", shop + "/vipps/callback?code=x&state=y", nil, 405},
		"deny":                   {"GET", w.Shop("deny.localhost") + "/", []string{"Accept: text/html"}, 401},
		"deny, script":           {"GET", w.Shop("deny.localhost") + "/", nil, 401},
		"pass":                   {"GET", w.Shop("pass.localhost") + "/", nil, 200},
		"public":                 {"GET", w.Shop("shop-b.localhost") + "/", nil, 200},
		"protected":              {"GET", w.Shop("shop-b.localhost") + "/account/x", nil, 401},
		"other case":             {"GET", w.Shop("shop-b.localhost") + "/ACCOUNT/x", nil, 401},
		"encoded":                {"GET", w.Shop("shop-b.localhost") + "/%61ccount/x", nil, 401},
		"dots":                   {"GET", w.Shop("shop-b.localhost") + "/x/../account/y", nil, 401},
		"double slash":           {"GET", w.Shop("shop-b.localhost") + "//account/x", nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			b := harness.NewBrowser(t)
			b.Header = nil
			a := b.Do(harness.NewRequest(t, test.method, test.address, nil, test.header...)).WantStatus(t, test.status)
			if test.status == 302 {
				if len(b.Client.Jar.Cookies(a.Request.URL)) != 1 {
					t.Error("no cookie for the login in progress")
				}
				return
			}
			if cookies := a.Header.Values("Set-Cookie"); len(cookies) > 0 {
				t.Errorf("a login was started: %v", cookies)
			}
			if test.status == 401 && a.Header.Get("WWW-Authenticate") == "" {
				t.Error("a 401 without WWW-Authenticate")
			}
			if person := map[string]bool{"deny": true, "frame": true, "form": true, "frame of the login": true}[name]; person {
				if a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
					t.Errorf("header: %v", a.Header)
				}
				return
			}
			if test.status == 401 {
				var problem struct {
					LoginURL string `json:"login_url"`
				}
				if a.Header.Get("Content-Type") != "application/problem+json" || a.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("header: %v", a.Header)
				}
				if test.method != "HEAD" && (json.Unmarshal([]byte(a.Text), &problem) != nil || !strings.HasPrefix(problem.LoginURL, "/vipps/login")) {
					t.Errorf("body: %s", a.Text)
				}
			}
		})
	}
	for _, r := range w.Upstream.Requests {
		for field := range r.Header {
			if strings.HasPrefix(field, "X-Vipps-") {
				t.Errorf("identity header without a session: %s", field)
			}
		}
	}
}

// TestLoginURLComesBackToThePage: a script's 401 leads back to the page the script runs on.
func TestLoginURLComesBackToThePage(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	for referer, want := range map[string]string{
		shop + "/list?page=2":         "/list?page=2",
		"https://elsewhere.example/x": "/",
		shop + ".evil.example/x":      "/",
		"":                            "/",
	} {
		b := harness.NewBrowser(t)
		b.Header = nil
		a := b.Get(shop+"/api", "Referer: "+referer).WantStatus(t, http.StatusUnauthorized)
		if !strings.Contains(a.Text, `"login_url":"/vipps/login?return_to=`+url.QueryEscape(want)+`"`) {
			t.Errorf("Referer %q: %s", referer, a.Text)
		}
	}
}

// TestReturnPaths: after the login the browser is where it wanted to be, and never elsewhere.
func TestReturnPaths(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	for path, want := range map[string]string{
		"/a?b=c&d=%2F%2Fevil":                          "/a?b=c&d=%2F%2Fevil",
		"//evil.example/x":                             "//evil.example/x",
		"/%5Cevil.example":                             "/%5Cevil.example",
		"/a//b/./c":                                    "/a//b/./c",
		"/bl%C3%A5b%C3%A6r?q=%E2%82%AC":                "/bl%C3%A5b%C3%A6r?q=%E2%82%AC",
		"/vipps/login?return_to=/after":                "/after",
		"/vipps/login?return_to=//evil.example":        "//evil.example",
		"/vipps/login?return_to=https://evil.example/": "/",
		"/vipps/login?return_to=javascript:alert(1)":   "/",
		`/vipps/login?return_to=/%5Cevil.example`:      "/%5Cevil.example",
		"/vipps/login?return_to=%09//evil.example":     "/",
		"/vipps/login?return_to=/x%0d%0aSet-Cookie:a":  "/",
		"/vipps/login?return_to=@evil.example":         "/",
		"/vipps/login?return_to=.evil.example":         "/",
		"/vipps/login":                                 "/",
		"/" + strings.Repeat("long/", 900):             "/" + strings.Repeat("long/", 900),
	} {
		b := harness.NewBrowser(t)
		back := b.Approved(shop+path, harness.Kari)
		done := b.Get(back.RedirectTo()).WantStatus(t, http.StatusFound)
		if done.RedirectTo() != shop+want {
			t.Errorf("%s: led to %s, want %s", path, done.RedirectTo(), shop+want)
		}
	}
}

// TestAbsoluteFormTarget: a request target with a host of its own leads nowhere else either.
func TestAbsoluteFormTarget(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	status, header := harness.RawRequest(t, w.HTTP, "GET http://shop-a.localhost/x?y=1 HTTP/1.1\r\nHost: shop-a.localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
	if status != http.StatusFound || !strings.HasPrefix(header.Get("Location"), w.Vipps.URL) {
		t.Fatalf("got %d %v", status, header)
	}
	b := harness.NewBrowser(t)
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		b.Client.Jar.SetCookies(&url.URL{Scheme: "http", Host: "shop-a.localhost"}, []*http.Cookie{cookie})
	}
	callback := b.Consent(b.Follow(b.Get(header.Get("Location"))), harness.Approve(harness.Kari)).RedirectTo()
	if to := b.Get(callback).RedirectTo(); to != w.Shop("shop-a.localhost")+"/x?y=1" {
		t.Errorf("came back to %s", to)
	}
}

// TestEndpointsAreExactPaths: every other spelling is the site's own, and needs the login that the
// site needs.
func TestEndpointsAreExactPaths(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	public := w.Shop("shop-b.localhost")
	for _, path := range []string{
		"/vipps/other", "/vipps", "/vipps/", "/vipps/login/", "/VIPPS/login", "/vipps/Login", "/vipps/%6Cogin", "//vipps/login",
		"/vipps//login", "/vipps/./login", "/x/../vipps/login", "/vipps/login;x", "/vipps%2Flogin", "/vipps/logout%00",
	} {
		status, _ := harness.RawRequest(t, w.HTTP, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: shop-b.localhost\r\nConnection: close\r\n\r\n", path))
		if status != http.StatusOK {
			t.Errorf("%s%s: got %d, want the site's 200", public, path, status)
		}
	}
	if w.Upstream.Count() != 14 {
		t.Errorf("the site got %d requests", w.Upstream.Count())
	}
}

// TestRewrites: what ran before the directive changes neither the endpoints nor what needs a login.
func TestRewrites(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(`
http://shop-a.localhost:$HTTP {
	vipps_login /account/* 123456
	rewrite * /index.php?page={path}
	reverse_proxy $UPSTREAM
}
http://shop-b.localhost:$HTTP {
	vipps_login /secret/* 234567
	rewrite /open /secret/x
	reverse_proxy $UPSTREAM
}
`)
	b := harness.NewBrowser(t)
	b.Get(w.Shop("shop-a.localhost")+"/public").WantStatus(t, http.StatusOK)
	b.Get(w.Shop("shop-a.localhost")+"/account/x").WantStatus(t, http.StatusFound)
	b.Get(w.Shop("shop-b.localhost")+"/open").WantStatus(t, http.StatusFound)
	w.Upstream.Last(t)

	page := b.Login(w.Shop("shop-a.localhost")+"/account/x?y=1", harness.Kari).WantStatus(t, http.StatusOK)
	if page.Request.URL.Path != "/account/x" || page.Request.URL.RawQuery != "y=1" {
		t.Errorf("ended at %s", page.Request.URL)
	}
	if r := w.Upstream.Last(t); r.URL.Path != "/index.php" || r.Header.Get("X-Vipps-Msn") != "123456" {
		t.Errorf("the site got %s %v", r.URL, r.Header)
	}
	b.Get(w.Shop("shop-a.localhost")+"/vipps/userinfo").WantStatus(t, http.StatusOK)
}

// TestHosts: which host belongs to which merchant, in all spellings of a host.
// TestPathsReadOtherwise: where a site may read a path otherwise than the matcher does, either may say
// that a login is needed.
func TestPathsReadOtherwise(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(`
http://shop-a.localhost:$HTTP {
	vipps_login /account* 123456
	reverse_proxy $UPSTREAM
}
http://shop-b.localhost:$HTTP {
	@private not path /news /news/*
	vipps_login @private 234567
	reverse_proxy $UPSTREAM
}
`)
	for _, path := range []string{
		"/account/..", "/account/../news", "/account/%2e%2e/news", "/account%2F..%2Fnews",
		"/account/.%2E/", "/account/..;x=1/news", "/x/..;/account", `/account/..%5Cnews`, `/account%5C..%5Cnews`, "/x/../account/./y",
		"/;x/account", "/;/account/1", "/%3Bx/account", "/account;x", "/%5Caccount", "/account./x", "/account%20/x", "/account:x/y", "/account::$DATA", "/account%00/x", "/%2561ccount/x", "/x/%252e%252e/account/x", "//account", "/ACCOUNT/1",
	} {
		t.Run(path, func(t *testing.T) {
			a := rawGet(t, w.HTTP, "shop-a.localhost", path)
			if a != "HTTP/1.1 302 Found" || w.Upstream.Count() > 0 {
				t.Errorf("answered %s", a)
			}
		})
	}
	for _, path := range []string{"/news/../account", "/news/..;/account", "/news/%2e%2e/account", `/news/..%5Caccount`, "/news/..;x/account", "/news;/../account"} {
		t.Run("all but news "+path, func(t *testing.T) {
			if a := rawGet(t, w.HTTP, "shop-b.localhost", path); a != "HTTP/1.1 302 Found" || w.Upstream.Count() > 0 {
				t.Errorf("answered %s", a)
			}
		})
	}
	for host, paths := range map[string][]string{"shop-a.localhost": {"/", "/news", "/100%25", "/a:b", "/x%20y", "/v1.2/x.", "/...", "/.well-known/x", "/a..b", "/x;y=1", "/..x", "/./x", "/..", "/x/../y"}, "shop-b.localhost": {"/news", "/news/x;y=1"}} {
		for _, path := range paths {
			if a := rawGet(t, w.HTTP, host, path); a != "HTTP/1.1 200 OK" {
				t.Errorf("%s: %s", path, a)
			}
		}
	}
}

// rawGet sends a navigation whose path no client has tidied, and returns the status line.
func rawGet(t *testing.T, port int, host, path string) string {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/html\r\nConnection: close\r\n\r\n", path, host)
	line, err := harness.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func TestHosts(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(`
http://*.gyms.localhost:$HTTP, http://members.localhost:$HTTP, http://xn--blbr-roah.localhost:$HTTP {
	vipps_login /account/* {
		merchant 1111 oslo.gyms.localhost bergen.gyms.localhost
		merchant 2222 *.gyms.localhost
		merchant 3333 Members.localhost blåbær.localhost
	}
	respond "{http.vipps_login.msn}"
}
http://sites.localhost:$HTTP, http://*.sites.localhost:$HTTP {
	vipps_login /account/* {header.X-Site-Msn}
	respond "{http.vipps_login.msn}"
}
http://:$HTTP {
	vipps_login {
		merchant 4444 catch.localhost
		on_unauthenticated pass
	}
	respond "{http.vipps_login.msn}"
}
`)
	for host, want := range map[string]string{
		"oslo.gyms.localhost":       "1111",
		"OSLO.Gyms.Localhost":       "1111",
		"bergen.gyms.localhost:80":  "1111",
		"trondheim.gyms.localhost":  "2222",
		"members.localhost":         "3333",
		"xn--blbr-roah.localhost":   "3333",
		"XN--BLBR-ROAH.localhost":   "3333",
		"catch.localhost":           "4444",
		"catch.localhost.":          "4444",
		"catch.localhost.:8080":     "4444",
		"other.localhost":           "",
		"a.oslo.gyms.localhost":     "",
		"catch.localhost.evil.test": "",
		"[::1]":                     "",
	} {
		a := harness.NewBrowser(t).Get(fmt.Sprintf("http://127.0.0.1:%d/", w.HTTP), "Host: "+host)
		if want == "" {
			a.WantStatus(t, http.StatusMisdirectedRequest)
			continue
		}
		if bare, _, _ := strings.Cut(host, ":"); strings.ToLower(bare) != bare || strings.HasSuffix(bare, ".") {
			a.WantStatus(t, http.StatusPermanentRedirect) // to its own spelling; what is no page view is answered
			a = harness.NewBrowser(t).Do(harness.NewRequest(t, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/", w.HTTP), nil, "Host: "+host))
		}
		if a.WantStatus(t, http.StatusOK).Text != want {
			t.Errorf("%s: got MSN %q, want %q", host, a.Text, want)
		}
	}
	for msn, status := range map[string]int{"5555": 200, "": 421, "12": 421, "55x5": 421, "12345678901": 421} {
		harness.NewBrowser(t).Get(w.Shop("a.sites.localhost")+"/", "X-Site-Msn: "+msn).WantStatus(t, status)
	}
}

// TestForwardedHeaders count only from a trusted proxy (CVE-2024-21498).
func TestForwardedHeaders(t *testing.T) {
	w := harness.NewWorld(t)
	forwarded := []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: shop-b.localhost"}
	sites := `
http://shop-a.localhost:$HTTP {
	vipps_login {
		merchant 123456 shop-a.localhost
		merchant 234567 shop-b.localhost
	}
	reverse_proxy $UPSTREAM
}
`
	w.Load(sites)
	redirectURI := func() string {
		a := harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/", forwarded...).WantStatus(t, http.StatusFound)
		to, err := url.Parse(a.RedirectTo())
		if err != nil {
			t.Fatal(err)
		}
		if cookie := a.Header.Get("Set-Cookie"); strings.HasPrefix(cookie, "__Host-") != strings.HasPrefix(to.Query().Get("redirect_uri"), "https:") {
			t.Errorf("cookie %s for %s", cookie, to.Query().Get("redirect_uri"))
		}
		return to.Query().Get("msn") + " " + to.Query().Get("redirect_uri")
	}
	if got, want := redirectURI(), "123456 "+w.Shop("shop-a.localhost")+"/vipps/callback"; got != want {
		t.Errorf("from anyone: got %s, want %s", got, want)
	}
	w.LoadWhole(strings.Replace(w.Globals(), "protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static 127.0.0.0/8", 1) + sites)
	if got, want := redirectURI(), "234567 https://shop-b.localhost/vipps/callback"; got != want {
		t.Errorf("from a trusted proxy: got %s, want %s", got, want)
	}
}
