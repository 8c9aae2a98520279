package attack_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// onOwnOrigin reports whether a browser that is sent to location stays on origin. Every redirect of ours is
// absolute and holds printable ASCII alone, so that no two parsers read another host in it.
func onOwnOrigin(location, origin string) bool {
	u, err := url.Parse(location)
	printable := strings.IndexFunc(location, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
	return err == nil && printable && u.User == nil && strings.HasPrefix(location, origin+"/") && u.Scheme+"://"+u.Host == origin &&
		!strings.Contains(u.EscapedPath(), `\`)
}

// elsewhere are return paths that have led browsers away from somebody's site: CVE-2020-5233, CVE-2020-4037,
// CVE-2021-29456, CVE-2022-23527, CVE-2022-24794, CVE-2024-21497 and their like.
var elsewhere = []string{
	"//evil.example", "///evil.example", "////evil.example", `/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`,
	"https://evil.example", "https:evil.example", "https:/evil.example", "HTTPS://evil.example", "//evil.example:443/", "//evil%2eexample",
	"javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "\tjavascript:alert(1)", "java\nscript:alert(1)",
	"/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "\t//evil.example", " //evil.example", "\x00//evil.example", "/\x00/evil.example",
	"@evil.example", ":@evil.example", ".evil.example", ":80@evil.example/", "-.evil.example", "/@evil.example", "/.evil.example",
	"//shop-a.localhost@evil.example", "//evil.example#shop-a.localhost", "//evil.example?shop-a.localhost", `//evil.example\@shop-a.localhost`,
	"／／evil.example", "/／evil.example", "⁄⁄evil.example", "∕∕evil.example", "/\u202e//evil.example", "//evil。example", "/\u2028/evil.example", "/\ufeff/evil.example",
	"/%2f%2fevil.example", "%2f%2fevil.example", "/%5cevil.example", "/%09/evil.example", "/%0d%0aLocation:%20https://evil.example",
	"/..//evil.example", "/.//evil.example", "/x/../..//evil.example", "/;//evil.example", "?//evil.example", "#//evil.example",
	"/\r\nSet-Cookie: vipps_session=x", "/\r\n\r\n<script>", "/\u0085x", "/\xff\xfe", "/[//evil.example", "//[::1]", "//[", "*", "",
	`/"><script>alert(1)</script>`, `/'onclick='alert(1)`,
}

// TestNoWayElsewhere: whatever a login, a logout or a page that needs a login is asked to return to, the
// browser stays on the site.
func TestNoWayElsewhere(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	for _, target := range elsewhere {
		query := "?return_to=" + url.QueryEscape(target)
		b := harness.NewBrowser(t)
		callback := b.Approved(shop+"/vipps/login"+query, harness.Kari).RedirectTo()
		if a := b.Get(callback).WantStatus(t, http.StatusFound); !onOwnOrigin(a.RedirectTo(), shop) {
			t.Errorf("login, %q: led to %s", target, a.RedirectTo())
		}
		if a := b.Get(shop+"/vipps/logout"+query).WantStatus(t, http.StatusFound); !onOwnOrigin(a.RedirectTo(), shop) {
			t.Errorf("logout, %q: led to %s", target, a.RedirectTo())
		}
		// The button of the error page, and a script's login_url, which go through the login once more.
		if a := b.Get(shop+"/vipps/logout"+query, "Sec-Fetch-Site: cross-site"); strings.Contains(a.Text, `href="//`) || strings.Contains(a.Text, "javascript:") || strings.Contains(a.Text, `href="https://evil`) ||
			strings.Contains(a.Text, "<script") || strings.Contains(a.Text, "'onclick") {
			t.Errorf("%q: the page links to it: %s", target, a.Text)
		}
		// As the target of the request itself, as far as it can be one.
		if strings.IndexFunc(target, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 || !strings.HasPrefix(target, "/") {
			continue
		}
		_, header := harness.RawRequest(t, w.HTTP, "GET "+target+" HTTP/1.1\r\nHost: shop-a.localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
		if to := header.Get("Location"); to != "" && !strings.HasPrefix(to, w.Vipps.URL+"/") {
			t.Errorf("%q: led to %s", target, to)
		}
	}
	for _, given := range []string{"return_to=/a&return_to=//evil.example", "return_to=//evil.example;x", "return_to", "return_to=%zz", "Return_To=//evil.example"} {
		if a := harness.NewBrowser(t).Get(shop+"/vipps/logout?"+given).WantStatus(t, http.StatusFound); !onOwnOrigin(a.RedirectTo(), shop) {
			t.Errorf("%s: led to %s", given, a.RedirectTo())
		}
	}
}

// TestHostTricks: whatever a client calls us, the redirect URI is one of the configured hosts', or there is no
// login, and nothing of a site that needs one is reached (CVE-2024-21498, CVE-2024-21499, CVE-2023-36456).
func TestHostTricks(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(`
http://:$HTTP {
	vipps_login {
		merchant 123456 shop-a.localhost
		merchant 234567 *.shops.localhost
	}
	reverse_proxy $UPSTREAM
}
`)
	registered := func(uri string) bool {
		label, one := strings.CutSuffix(strings.TrimPrefix(uri, "http://"), strings.TrimPrefix(w.Shop(".shops.localhost"), "http://")+"/vipps/callback")
		return uri == w.Shop("shop-a.localhost")+"/vipps/callback" || one && strings.Trim(label, "abcdefghijklmnopqrstuvwxyz-") == ""
	}
	started := 0
	for _, host := range []string{
		"shop-a.localhost", "SHOP-A.LOCALHOST.", "shop-a.localhost:1", "x.shops.localhost", "evil.example", "shop-a.localhost.evil.example", "evil.example#shop-a.localhost",
		"shop-a.localhost@evil.example", "evil.example@shop-a.localhost", "shop-a.localhost:80@evil.example", "evil.example:80#@shop-a.localhost", "shop-a.localhost/",
		"shop-a.localhost/../evil.example", `shop-a.localhost\.evil.example`, "shop-a.localhost,evil.example", "shop-a.localhost evil.example", "shop-a.localhost;evil.example",
		"shop-a.localhost?", "shop-a.localhost#", "%73hop-a.localhost", "shop-a%2elocalhost", "shop-a.localhost%00.evil.example", "shop-a.localhost%0d%0a", "[shop-a.localhost]",
		"[shop-a.localhost", "shop-a.localhost]", "shop-a.localhost:evil", "shop-a.localhost:80:80", ":80", ".", "..", "", "*", "*.shops.localhost", "a.b.shops.localhost", ".shops.localhost",
		"shops.localhost", "x..shops.localhost", "-.shops.localhost.", "ſhop-a.localhost", "shop－a.localhost", "shop-a。localhost", "sho\u0440-a.localhost", "shop-a.localhost\u200b",
		"xn--shop-a.localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1%25lo]", "0x7f.1", "localhost", strings.Repeat("a.", 200) + "shops.localhost", "x.shops.localhost" + strings.Repeat(".", 3),
	} {
		status, header := harness.TryRequest(t, w.HTTP, "GET / HTTP/1.1\r\nHost: "+host+"\r\nAccept: text/html\r\nConnection: close\r\n"+
			"X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nForwarded: host=evil.example;proto=https\r\nX-Original-Host: evil.example\r\nX-Host: evil.example\r\n\r\n")
		if status == http.StatusFound {
			started++
			to, err := url.Parse(header.Get("Location"))
			if err != nil || !strings.HasPrefix(to.String(), w.Vipps.URL+"/") || !registered(to.Query().Get("redirect_uri")) {
				t.Errorf("%q: redirect_uri %s", host, to.Query().Get("redirect_uri"))
			}
			continue
		}
		if status == http.StatusPermanentRedirect && registered(strings.TrimSuffix(header.Get("Location"), "/")+"/vipps/callback") {
			continue // the same host in its own spelling
		}
		if status != http.StatusMisdirectedRequest && status != http.StatusBadRequest {
			t.Errorf("%q: got %d", host, status)
		}
	}
	// Two hosts in one request: the absolute form wins (RFC 9112 section 3.2.2), and two Host fields are none.
	for raw, want := range map[string]int{
		"GET http://evil.example/ HTTP/1.1\r\nHost: shop-a.localhost\r\n":                   http.StatusMisdirectedRequest,
		"GET http://shop-a.localhost/ HTTP/1.1\r\nHost: evil.example\r\n":                   http.StatusFound,
		"GET https://shop-a.localhost@evil.example/ HTTP/1.1\r\nHost: shop-a.localhost\r\n": http.StatusMisdirectedRequest,
		"GET / HTTP/1.1\r\nHost: shop-a.localhost\r\nHost: evil.example\r\n":                http.StatusBadRequest,
		"GET / HTTP/1.1\r\nHost: shop-a.localhost\r\n\tevil.example\r\n":                    http.StatusMisdirectedRequest,
		"GET / HTTP/1.0\r\n": http.StatusMisdirectedRequest,
		"GET shop-a.localhost/ HTTP/1.1\r\nHost: shop-a.localhost\r\n": http.StatusBadRequest,
	} {
		status, header := harness.TryRequest(t, w.HTTP, raw+"Accept: text/html\r\nConnection: close\r\n\r\n")
		if status != want && status != http.StatusBadRequest {
			t.Errorf("%q: got %d, want %d", raw, status, want)
		}
		if status == http.StatusFound && !registered(harness.MustQuery(t, header.Get("Location")).Get("redirect_uri")) {
			t.Errorf("%q: led to %s", raw, header.Get("Location"))
		}
	}
	if started < 4 || w.Upstream.Count() > 0 {
		t.Errorf("%d logins were started, and the site got %d requests", started, w.Upstream.Count())
	}
}

// TestManyHosts: a site of more hosts than Caddy looks through one by one compares them without case, too
// (CVE-2026-27588).
func TestManyHosts(t *testing.T) {
	w := harness.NewWorld(t)
	var addresses, hosts []string
	for i := range 300 {
		hosts = append(hosts, fmt.Sprintf("shop%d.localhost", i))
		addresses = append(addresses, "http://"+hosts[i]+":$HTTP")
	}
	w.Load(strings.Join(addresses, ", ") + " {\n\tvipps_login {\n\t\tmerchant 123456 " + strings.Join(hosts, " ") + "\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
	for _, host := range []string{"shop0.localhost", "shop299.localhost", "SHOP150.localhost", "Shop299.LocalHost", "SHOP7.LOCALHOST"} {
		b := harness.NewBrowser(t)
		a := b.Get(fmt.Sprintf("http://127.0.0.1:%d/", w.HTTP), "Host: "+host)
		if strings.ToLower(host) != host {
			a = b.Get(a.WantStatus(t, http.StatusPermanentRedirect).RedirectTo())
		}
		a.WantStatus(t, http.StatusFound)
		if got, want := harness.MustQuery(t, a.RedirectTo()).Get("redirect_uri"), w.Shop(strings.ToLower(host))+"/vipps/callback"; got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
	if w.Upstream.Count() > 0 {
		t.Error("the site was reached")
	}
}

// TestSmuggling: shapes of requests that two servers may read as one or as two. Whatever Caddy lets through,
// the site sees no identity header of a client's, and nothing that needs a login (RFC 9112 section 11.2).
func TestSmuggling(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.SpoofSites)
	const inner = "GET /account/secret HTTP/1.1\r\nHost: shop-a.localhost\r\nX-Vipps-Sub: evil\r\nRemote-User: evil\r\nContent-Length: 0\r\n\r\n"
	chunked := fmt.Sprintf("0\r\n\r\n%s", inner)
	for name, raw := range map[string]string{
		"CL and TE":            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
		"TE and CL":            fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n", len(chunked)) + chunked,
		"two CL":               fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n", len(inner)) + inner,
		"list of CL":           fmt.Sprintf("Content-Length: 0, %d\r\n\r\n", len(inner)) + inner,
		"CL with plus":         fmt.Sprintf("Content-Length: +%d\r\n\r\n", len(inner)) + inner,
		"negative CL":          "Content-Length: -1\r\n\r\n" + inner,
		"CL of a body":         fmt.Sprintf("Content-Length: %d\r\n\r\n", len(inner)) + inner,
		"CL 0 and a body":      "Content-Length: 0\r\n\r\n" + inner,
		"no length":            "\r\n" + inner,
		"TE xchunked":          "Transfer-Encoding: xchunked\r\n\r\n" + chunked,
		"TE identity":          "Transfer-Encoding: identity\r\n\r\n" + chunked,
		"TE twice":             "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunked,
		"TE list":              "Transfer-Encoding: identity, chunked\r\n\r\n" + chunked,
		"TE folded":            "Transfer-Encoding:\r\n chunked\r\n\r\n" + chunked,
		"TE before colon":      "Transfer-Encoding : chunked\r\n\r\n" + chunked,
		"TE tab":               "Transfer-Encoding:\tchunked\r\n\r\n" + chunked,
		"TE vertical tab":      "Transfer-Encoding: \x0bchunked\r\n\r\n" + chunked,
		"TE underscore":        "Transfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + chunked,
		"line feeds":           "Content-Length: 0\n\n" + inner,
		"header after LF":      "X-A: b\nX-Vipps-Sub: evil\r\nContent-Length: 0\r\n\r\n",
		"header after CR":      "X-A: b\rX-Vipps-Sub: evil\r\nContent-Length: 0\r\n\r\n",
		"header folded":        "X-A: b\r\n X-Vipps-Sub: evil\r\nContent-Length: 0\r\n\r\n",
		"header with NUL":      "X-Vipps-Sub\x00: evil\r\nContent-Length: 0\r\n\r\n",
		"header with space":    "X-Vipps-Sub : evil\r\nContent-Length: 0\r\n\r\n",
		"header without name":  ": evil\r\nX-Vipps-Sub: evil\r\nContent-Length: 0\r\n\r\n",
		"chunk extension":      "Transfer-Encoding: chunked\r\n\r\n1;x=\"\r\nX-Vipps-Sub: evil\"\r\na\r\n0\r\n\r\n" + inner,
		"chunk of wrong size":  "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n" + inner,
		"huge chunk":           "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nabc\r\n0\r\n\r\n" + inner,
		"trailer":              "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Vipps-Sub: evil\r\n\r\n" + inner,
		"upgrade":              "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n" + inner,
		"h2c":                  "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + inner,
		"expect":               fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(inner)) + inner,
		"connection of length": "Connection: keep-alive, Content-Length\r\nContent-Length: 3\r\n\r\nabc" + inner,
		"connection of host":   "Connection: Host, Cookie, X-Vipps-Sub\r\nContent-Length: 0\r\n\r\n" + inner,
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.HTTP))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			fmt.Fprintf(conn, "POST /public HTTP/1.1\r\nHost: shop-a.localhost\r\nX-Vipps-Name: evil\r\n%s", raw)
			fmt.Fprint(conn, "GET /last HTTP/1.1\r\nHost: shop-a.localhost\r\nConnection: close\r\n\r\n")
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn) // until Caddy has answered all that it reads in it
			w.Upstream.Mutex.Lock()
			defer w.Upstream.Mutex.Unlock()
			for _, r := range w.Upstream.Requests {
				if strings.HasPrefix(r.URL.Path, "/account") {
					t.Errorf("the site got %s", r.RequestURI)
				}
				for field, values := range r.Header {
					if strings.Contains(strings.Join(values, ","), "evil") && strings.HasPrefix(field, "X-Vipps") || field == "Remote-User" {
						t.Errorf("%s: the site got %s: %q", r.RequestURI, field, values)
					}
				}
			}
			w.Upstream.Requests = nil
		})
	}
}

// TestMethodOverride: the method of a request is the one in its request line.
func TestMethodOverride(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	override := []string{"X-HTTP-Method-Override: GET", "X-Method-Override: GET", "X-HTTP-Method: GET"}
	b := harness.NewBrowser(t)
	callback := b.Approved(shop+"/", harness.Kari).RedirectTo()
	b.Do(harness.NewRequest(t, "POST", callback, nil, override...)).WantStatus(t, http.StatusMethodNotAllowed)
	b.Do(harness.NewRequest(t, "POST", shop+"/vipps/login?_method=GET", nil, override...)).WantStatus(t, http.StatusMethodNotAllowed)
	b.Do(harness.NewRequest(t, "POST", shop+"/?_method=GET", nil, override...)).WantStatus(t, http.StatusUnauthorized)
	b.Do(harness.NewRequest(t, "DELETE", shop+"/vipps/userinfo", nil, override...)).WantStatus(t, http.StatusMethodNotAllowed)
	b.Follow(b.Get(callback)).WantStatus(t, http.StatusOK)
	b.Do(harness.NewRequest(t, "PUT", shop+"/vipps/logout", nil, "X-HTTP-Method-Override: POST")).WantStatus(t, http.StatusMethodNotAllowed)
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
}

// TestNothingOfTheSiteWithARefusal: the answer of an endpoint, or that a login is needed, has nothing of the
// site in it, and the site has not seen the request (CVE-2025-31492).
func TestNothingOfTheSiteWithARefusal(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	for _, path := range []string{"/", "/account/x", "/vipps/login", "/vipps/callback?state=x&code=y", "/vipps/callback", "/vipps/logout", "/vipps/userinfo"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS"} {
			a := harness.NewBrowser(t).Do(harness.NewRequest(t, method, shop+path, nil))
			if strings.Contains(a.Text, "hello from") || w.Upstream.Count() > 0 || a.StatusCode == http.StatusOK {
				t.Errorf("%s %s: %d %s", method, path, a.StatusCode, a.Text)
			}
		}
	}
}

// TestRefusalIsNotProxied: an error route that proxies gets the address that was refused with the refusal. With the
// directive in it, the site is asked for nothing that was refused, until the address is another; our cookies go
// along in no case.
func TestRefusalIsNotProxied(t *testing.T) {
	w := harness.NewWorld(t)
	address := w.Shop("shop-a.localhost")
	for name, test := range map[string]struct {
		block, errors string
		discovery     http.HandlerFunc
		host, path    string
		want          int
		reached       string // "" is nothing
	}{
		"denied":             {"on_unauthenticated deny", "vipps_login 123456", nil, "", "/account/x", 401, ""},
		"no login begins":    {"", "vipps_login /account/* 123456", harness.WithStatus(500, ""), "", "/account/x", 502, ""},
		"no merchant":        {"", "vipps_login {\n\t\t\tmerchant 123456 known.localhost\n\t\t}", nil, "unknown.localhost", "/x", 421, ""},
		"failed before":      {"", "vipps_login /account/* 123456", nil, "", "/account/early", 404, ""},
		"failed before, out": {"", "vipps_login /account/* 123456", nil, "", "/early", 404, "/early"},
		"a prefix less":      {"on_unauthenticated deny", "uri strip_prefix /account\n\t\tvipps_login 123456", nil, "", "/account/x", 401, ""},
		"a prefix more":      {"on_unauthenticated deny", "rewrite * /site{uri}\n\t\tvipps_login 123456", nil, "", "/account/x", 401, ""},
		"another query":      {"on_unauthenticated deny", "uri query -a\n\t\tvipps_login 123456", nil, "", "/account/x?a=1", 401, ""},
		"another spelling":   {"on_unauthenticated deny", "method GET\n\t\tvipps_login 123456", nil, "", "/account/x^", 401, ""},
		"rewritten":          {"on_unauthenticated deny", "rewrite * /errors.html\n\t\tvipps_login 123456", nil, "", "/account/x", 401, "/errors.html"},
		"the site's own":     {"", "vipps_login 123456", nil, "", "/late", 404, "/late"},
		"no directive there": {"on_unauthenticated deny", "", nil, "", "/account/x", 401, "/account/x"}, // as docs/directive.md says
		"an endpoint's":      {"", "vipps_login 123456", nil, "", "/vipps/callback", 400, "/vipps/callback"},
	} {
		t.Run(name, func(t *testing.T) {
			merchants := "vipps_login /account/* 123456 {"
			site := "http://shop-a.localhost:$HTTP"
			if test.host != "" {
				merchants, site = "vipps_login {\n\t\tmerchant 123456 known.localhost", "http://:$HTTP"
			}
			w.Vipps.Answer(harness.PathDiscovery, test.discovery)
			w.Anew(site+` {
	@early path /early /account/early
	route {
		error @early 404
		`+merchants+"\n\t\t\terror_pages off\n\t\t\t"+test.block+`
		}
		error /late 404
		reverse_proxy $UPSTREAM
	}
	handle_errors {
		`+test.errors+`
		reverse_proxy $UPSTREAM
	}
}
`, len(name))
			w.Upstream.Requests = nil
			headers := []string{"Cookie: vipps_session=1AAAA; theirs=1"}
			if test.host != "" {
				headers = append(headers, "Host: "+test.host)
			}
			a := harness.NewBrowser(t).Get(address+test.path, headers...)
			if test.reached == "" {
				a.WantStatus(t, test.want)
				if w.Upstream.Count() > 0 {
					t.Errorf("the site got %s", w.Upstream.Last(t).URL)
				}
				return
			}
			if r := w.Upstream.Last(t); r.URL.Path != test.reached || r.Header.Get("Cookie") != "theirs=1" {
				t.Errorf("the site got %s with the cookies %q", r.URL, r.Header.Get("Cookie"))
			}
		})
	}
}

// TestMatcherThatFails: where it is not known whether a login is needed, nothing is shown, whatever the error routes do.
func TestMatcherThatFails(t *testing.T) {
	w := harness.NewWorld(t)
	for _, errors := range []string{"", "vipps_login 123456"} {
		for _, pages := range []string{"on", "off"} {
			if errors == "" && pages == "off" {
				continue // docs/directive.md: what the site's own error routes do is the site's to say
			}
			w.Load(`
http://shop-a.localhost:$HTTP {
	@needed expression path('/account/*')||int({http.request.uri.query.id})>100
	vipps_login @needed 123456 {
		error_pages ` + pages + `
	}
	reverse_proxy $UPSTREAM
	handle_errors {
		` + errors + `
		reverse_proxy $UPSTREAM
	}
}
`)
			b := harness.NewBrowser(t)
			b.Get(w.Shop("shop-a.localhost")+"/items?id=500").WantStatus(t, http.StatusFound)
			b.Get(w.Shop("shop-a.localhost")+"/items?id=500x").WantStatus(t, http.StatusInternalServerError)
			if w.Upstream.Count() > 0 {
				t.Errorf("error_pages %s, handle_errors { %s }: the site got %s", pages, errors, w.Upstream.Last(t).URL)
			}
			if strings.Contains(w.Logged(), "500x\\\"") {
				t.Error("the log has what the matcher quotes")
			}
		}
	}
}
