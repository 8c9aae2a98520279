package attack_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// closedPaths and openPaths are those of a site whose matcher is /account/*.
var (
	closedPaths = []string{
		"/account/x", "/account/", "/ACCOUNT/x", "//account/x", "/account//x", "/%61ccount/x", "/account%2fx", "/account/x?y", "/account/x#y", "/./account/x",
		"/public/../account/x", "/public/%2e%2e/account/x", "/public/..;/account/x", "/account;v=1/x", "/account/..", "/account/../public", `/account\x`, `\account\x`, "/vipps/../account/x", "/%2e/account/x", "/account/%00", "/%2561ccount/%25zz", "/x/%252e%252e/account/x%25",
	}
	openPaths = []string{"/public", "/", "/accounts", "/x/account/y", "/vipps/other", "/public?u=/account/x", "/public%3f/account/x"}
)

// TestPathTricks: what Caddy does to a path around the directive opens nothing that the matcher closes, and
// takes no endpoint away (CVE-2025-54576, CVE-2026-40575, CVE-2026-41059, CVE-2026-27587).
func TestPathTricks(t *testing.T) {
	w := harness.NewWorld(t)
	for name, test := range map[string]struct {
		around string // beside the directive
		login  []string
		open   []string
	}{
		"nothing":            {"", closedPaths, openPaths},
		"uri strip_prefix":   {"uri strip_prefix /app", []string{"/app/account/x", "/account/x", "/app//account/x"}, []string{"/app/public", "/app"}},
		"uri replace":        {"uri replace /konto/ /account/", []string{"/konto/x", "/account/x", "/KONTO/../account/x"}, []string{"/kont/x"}},
		"uri path_regexp":    {"uri path_regexp ^/([a-z]+)x/ /$1/", []string{"/accountx/y", "/account/y"}, []string{"/publicx/y"}},
		"uri strip_suffix":   {"uri strip_suffix .html", []string{"/account/x.html", "/account/.html"}, []string{"/account.html", "/public.html"}},
		"rewrite to it":      {"rewrite /open /account/x", []string{"/open", "/open?x", "/account/x"}, []string{"/other"}},
		"rewrite away":       {"rewrite /account/* /index.php?page={path}", []string{"/account/x", "/account/", "/account/x?page=/public"}, []string{"/public"}},
		"rewrite everything": {"rewrite * /index.php?page={path}&{query}", []string{"/account/x", "/account/x?page=/"}, []string{"/public", "/?page=/account/x"}},
		"method":             {"method /account/* GET", []string{"/account/x"}, []string{"/public"}},
		"try_files":          {"try_files {path} {path}/ /index.php?{query}", []string{"/account/x", "/account/x?/public"}, []string{"/public", "/?/account/x"}},
		"handle":             {"handle /account/* {\n\t\treverse_proxy $UPSTREAM\n\t}", []string{"/account/x", "//account/x"}, []string{"/public"}},
		"handle_path":        {"handle_path /account/* {\n\t\treverse_proxy $UPSTREAM\n\t}", []string{"/account/x", "/account/../account/x"}, []string{"/public"}},
		"route":              {"route /account/* {\n\t\turi strip_prefix /account\n\t\treverse_proxy $UPSTREAM\n\t}", []string{"/account/x"}, []string{"/public"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456\n\t" + test.around + "\n\treverse_proxy $UPSTREAM\n}\n")
			headers := "X-Original-URL: /public\r\nX-Rewrite-URL: /public\r\nX-Forwarded-Uri: /public\r\nX-Forwarded-Prefix: /public\r\n"
			w.Upstream.Requests = nil
			for _, path := range test.login {
				if got := harness.RawGetWith(t, w.HTTP, path, headers); got != http.StatusFound && got != http.StatusBadRequest || w.Upstream.Count() > 0 {
					t.Errorf("%s: got %d, and the site %d requests", path, got, w.Upstream.Count())
				}
			}
			for _, path := range test.open {
				if got := harness.RawGetWith(t, w.HTTP, path, headers); got != http.StatusOK {
					t.Errorf("%s: got %d, want the site's 200", path, got)
				}
			}
			for path, want := range map[string]int{"/vipps/login": 302, "/vipps/userinfo": 401, "/vipps/callback": 400, "/vipps/logout": 302} {
				if got := harness.RawGetWith(t, w.HTTP, path, ""); got != want {
					t.Errorf("%s: got %d, want %d", path, got, want)
				}
			}
		})
	}
}

// TestStreamsAndTheEndOfASession: what is open when a session ends goes on, as with any login in front of a
// site, and nothing new opens.
func TestStreamsAndTheEndOfASession(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	lines := make(chan string)
	w.Upstream.Handler = func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" {
			return
		}
		rw.Header().Set("Content-Type", "text/event-stream")
		for line := range lines {
			fmt.Fprintf(rw, "data: %s %s\n\n", r.Header.Get("X-Vipps-Name"), line)
			_ = http.NewResponseController(rw).Flush()
		}
	}
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	thief := harness.CopyOf(b, shop+"/")
	open := func(path, extra string) (int, *bufio.Reader) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.HTTP))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: shop-a.localhost\r\nCookie: %s\r\n%s\r\n", path, thief.Cookies(shop+"/"), extra)
		reader := bufio.NewReader(conn)
		go func() { lines <- "first" }()
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, bufio.NewReader(resp.Body)
	}
	status, stream := open("/stream", "Accept: text/event-stream\r\n")
	if line, _ := stream.ReadString('\n'); status != http.StatusOK || line != "data: Kari Nordmann first\n" {
		t.Fatalf("%d %q", status, line)
	}
	b.Get(shop+"/vipps/logout").WantStatus(t, http.StatusFound)
	lines <- "second"
	_, _ = stream.ReadString('\n')
	if line, _ := stream.ReadString('\n'); line != "data: Kari Nordmann second\n" {
		t.Errorf("the open stream ended: %q", line)
	}
	close(lines)
	w.Upstream.Requests = nil
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, extra := range []string{"Accept: text/event-stream\r\n", upgrade} {
		if got, _ := harness.TryRequest(t, w.HTTP, "GET /stream HTTP/1.1\r\nHost: shop-a.localhost\r\nCookie: "+thief.Cookies(shop+"/")+"\r\n"+extra+"\r\n"); got != http.StatusUnauthorized {
			t.Errorf("%s: got %d after the session has ended", strings.TrimSpace(extra), got)
		}
	}
	if w.Upstream.Count() > 0 {
		t.Error("the site was reached")
	}
}

// TestQueriesReadOtherwise: a query that Caddy's matcher finds nothing in, since some of it is not well formed,
// is one that a site reads the rest of.
func TestQueriesReadOtherwise(t *testing.T) {
	w := harness.NewWorld(t)
	for matcher, queries := range map[string][]string{
		"query page=account":                       {"page=account", "page=account&a;b", "page=account&x=%zz", "page=account&%", "page=account&%%%4", "a;page=account", "page=account" + strings.Repeat("&", 10_001), strings.Repeat("&", 5_001) + "page=account" + strings.Repeat("&", 5_001), "x=%z;page=account", "page=%61ccount&;", "page=public&page=account"},
		"expression `{query.page} == \"account\"`": {"page=account", "page=account&a;b", "page=account&x=%zz"},
	} {
		w.Load("http://shop-a.localhost:$HTTP {\n\t@account " + matcher + "\n\tvipps_login @account 123456\n\treverse_proxy $UPSTREAM\n}\n")
		for _, query := range queries {
			if status := harness.RawGetWith(t, w.HTTP, "/?"+query, ""); status != http.StatusFound {
				t.Errorf("%s: %s: got %d", matcher, query, status)
			}
		}
		for _, query := range []string{"", "page=public", "page=public&a;b", "x=page=account%zz", "account;page"} {
			if status := harness.RawGetWith(t, w.HTTP, "/?"+query, ""); status != http.StatusOK {
				t.Errorf("%s: %s: got %d, want the site's 200", matcher, query, status)
			}
		}
	}
}
