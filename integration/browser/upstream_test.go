package browser_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestSpoofedHeaders: whatever the client says about itself, in whatever spelling, is gone.
func TestSpoofedHeaders(t *testing.T) {
	w := harness.NewWorld(t)
	w.LoadWhole(strings.Replace(w.Globals(), "protocols h1 h2", harness.AllowAliases, 1) + harness.SpoofSites)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	session := b.Cookies(shop + "/")
	w.Upstream.Last(t)

	for _, spelling := range harness.SpoofedSpellings {
		for kind, cookie := range map[string]string{"public": "", "with a session": session, "with a broken one": "vipps_session=1AAAA"} {
			t.Run(spelling+" "+kind, func(t *testing.T) {
				raw := "POST /public HTTP/1.1\r\nHost: shop-a.localhost\r\nConnection: close\r\nContent-Length: 0\r\n" + spelling + ": evil\r\nX-Other: kept\r\n"
				if cookie != "" {
					raw += "Cookie: " + cookie + "\r\n"
				}
				if status, _ := harness.RawRequest(t, w.HTTP, raw+"\r\n"); status != http.StatusOK {
					t.Fatalf("status %d", status)
				}
				r := w.Upstream.Last(t)
				for field, values := range r.Header {
					if slices.Contains(values, "evil") {
						t.Errorf("the site got %s: evil", field)
					}
				}
				if r.Header.Get("X-Other") != "kept" {
					t.Error("another header was removed")
				}
			})
		}
	}
}

// TestSpoofedTrailers: announced ones, and ones that only another announcement makes room for.
func TestSpoofedTrailers(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.SpoofSites)
	trailers := make(chan http.Header, 1)
	w.Upstream.Handler = func(_ http.ResponseWriter, r *http.Request) { trailers <- r.Trailer }
	for announced, sent := range map[string]string{
		"X-Vipps-Sub, X-Kept": "X-Vipps-Sub: evil\r\nX-Kept: 1\r\n",
		"X-Kept":              "X-Kept: 1\r\nx-vipps-sub: evil\r\nRemote-User: evil\r\nX_Vipps_Sub: evil\r\n",
	} {
		raw := "POST /public HTTP/1.1\r\nHost: shop-a.localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: " + announced +
			"\r\n\r\n3\r\nabc\r\n0\r\n" + sent + "\r\n"
		if status, _ := harness.RawRequest(t, w.HTTP, raw); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		got := <-trailers
		if fmt.Sprint(got) != "map[X-Kept:[1]]" {
			t.Errorf("announced %s: the site got %v", announced, got)
		}
	}
}

// TestIdentityCannotBeMadeToVanish by naming it in Connection (CVE-2025-48865).
func TestIdentityCannotBeMadeToVanish(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.SpoofSites)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	session := b.Cookies(shop + "/")
	for _, connection := range []string{
		"Connection: close, X-Vipps-Sub\r\n", "Connection: x-vipps-sub,Remote-User\r\nConnection: X-Vipps-Name, X-Shop\r\n",
		"Connection: X-Vipps-Msn , close\r\n",
	} {
		raw := "GET /account/ HTTP/1.1\r\nHost: shop-a.localhost\r\nCookie: " + session + "\r\n" + connection + "\r\n"
		if status, _ := harness.RawRequest(t, w.HTTP, raw); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		r := w.Upstream.Last(t)
		for _, field := range []string{"X-Vipps-Sub", "X-Vipps-Msn", "X-Vipps-Name", "Remote-User", "X-Shop"} {
			if r.Header.Get(field) == "" {
				t.Errorf("%q took %s away", connection, field)
			}
		}
	}
}

// TestOtherCookiesUntouched: byte for byte, whatever they look like, and none of ours among them.
func TestOtherCookiesUntouched(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.SpoofSites)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	session := b.Cookies(shop + "/")
	for sent, want := range map[string][]string{
		"Cookie: a=1; " + session + "; b=2":                                    {"a=1; b=2"},
		"Cookie: " + session + `; q="x y",z ;odd;=;a==b; ä=ø`:                  {`q="x y",z ;odd;=;a==b; ä=ø`},
		"Cookie: " + session:                                                   nil,
		"Cookie: a=1;b=2;  c=3 ":                                               {"a=1;b=2;  c=3"},
		"Cookie: a=1\r\nCookie: " + session + "\r\nCookie: b=2":                {"a=1", "b=2"},
		"Cookie: vipps_session_1=x; __Host-vipps_session_9=y; vipps_sessions=": {"vipps_sessions="},
		"Cookie: vipps_login_AAAAAAAAAAAAAAAAAAAAAA=x; my_vipps_login_x=1":     {"my_vipps_login_x=1"},
		"Cookie: __Host-vipps_session=x; a=1":                                  {"a=1"},
	} {
		raw := "GET /public HTTP/1.1\r\nHost: shop-a.localhost\r\nConnection: close\r\n" + sent + "\r\n\r\n"
		if status, _ := harness.RawRequest(t, w.HTTP, raw); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		if got := w.Upstream.Last(t).Header["Cookie"]; !slices.Equal(got, want) {
			t.Errorf("sent %q, the site got %q, want %q", sent, got, want)
		}
	}
}

// TestClaimsAsHeaders: every kind of claim, in the three encodings.
func TestClaimsAsHeaders(t *testing.T) {
	w := harness.NewWorld(t)
	w.Vipps.Sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) {
		claims["name"] = "Bjørn Ærlig-Åsen"
		claims["blanks"], claims["breaks"] = "  ", "\r\n\x00"
		claims["evil"] = "a\r\nX-Injected: 1\x00\u2028b{env.HOME}{http.request.header.Cookie}"
		claims["percent"] = "100 %41"
		claims["none"] = nil
		claims["blank"] = ""
		claims["number"] = 12.50
		claims["yes"] = true
		claims["no"] = false
		claims["address"] = map[string]any{"formatted": "Storgata 1\n0155 Ås", "emoji": "😀"}
		claims["list"] = []any{"æ", 1}
		claims["weird name:x"] = "y"
		claims["msn"] = "999999"
	}})
	for encoding, want := range map[string]map[string]string{
		"utf8": {
			"X-Vipps-Name": "Bjørn Ærlig-Åsen", "X-Vipps-Evil": "a  X-Injected: 1  b{env.HOME}{http.request.header.Cookie}", "X-Vipps-Percent": "100 %41",
		},
		"percent": {
			"X-Vipps-Name": "Bj%C3%B8rn %C3%86rlig-%C3%85sen", "X-Vipps-Evil": "a%0D%0AX-Injected: 1%00%E2%80%A8b{env.HOME}{http.request.header.Cookie}",
			"X-Vipps-Percent": "100 %2541",
		},
		"base64url": {
			"X-Vipps-Name": "QmrDuHJuIMOGcmxpZy3DhXNlbg", "X-Vipps-Weird-Name-X": "eQ",
		},
	} {
		t.Run(encoding, func(t *testing.T) {
			w.Load(`
http://shop-a.localhost:$HTTP {
	vipps_login 123456 {
		header_encoding ` + encoding + `
		header Remote-User sub
		header X-None none
	}
	reverse_proxy $UPSTREAM {
		header_up X-Id {http.auth.user.id}
		header_up X-Placeholder {http.auth.user.name}
		header_up X-Evil {http.auth.user.evil}
		header_up X-Msn {http.vipps_login.msn}
		header_up X-Nobody {http.auth.user.nobody}
		header_up X-Age {http.auth.user.age}
	}
}
`)
			b := harness.NewBrowser(t)
			b.Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
			h := w.Upstream.Last(t).Header
			for field, value := range want {
				if got := h.Get(field); got != value {
					t.Errorf("%s: got %q, want %q", field, got, value)
				}
			}
			for field, value := range map[string]string{
				"X-Vipps-Msn": "123456", "X-Vipps-Number": "12.5", "X-Vipps-Yes": "true", "X-Vipps-No": "false",
				"X-Vipps-Address": `{"emoji":"\ud83d\ude00","formatted":"Storgata 1\n0155 \u00c5s"}`, "X-Vipps-List": `["\u00e6",1]`,
				"X-Placeholder": "Bjørn Ærlig-Åsen", "X-Msn": "123456",
			} {
				if got := h.Get(field); got != value {
					t.Errorf("%s: got %q, want %q", field, got, value)
				}
			}
			if nobody, age := h.Get("X-Nobody"), h.Get("X-Age"); nobody != "" || age != "" {
				t.Errorf("a claim that is none: %q, %q", nobody, age)
			}
			absent := map[string][]string{"utf8": {"X-Vipps-Blanks", "X-Vipps-Breaks"}, "percent": {"X-Vipps-Blanks"}}[encoding]
			for _, field := range append(absent, "X-Vipps-None", "X-Vipps-Blank", "X-None", "X-Injected") {
				if got, ok := h[field]; ok {
					t.Errorf("%s is there: %q", field, got)
				}
			}
			if h.Get("X-Vipps-Sub") != h.Get("Remote-User") || h.Get("X-Id") == "" {
				t.Errorf("sub %q, Remote-User %q, id %q", h.Get("X-Vipps-Sub"), h.Get("Remote-User"), h.Get("X-Id"))
			}
			if strings.Contains(h.Get("X-Evil"), "/root") || !strings.Contains(h.Get("X-Evil"), "{env.HOME}") {
				t.Errorf("a placeholder in a claim was expanded: %q", h.Get("X-Evil"))
			}
			for field, values := range h {
				if strings.ContainsAny(strings.Join(values, ""), "\r\n") {
					t.Errorf("line break in %s", field)
				}
			}
		})
	}
}

// TestUpgradedConnections: a websocket goes through with a session, and gets 401 without.
func TestUpgradedConnections(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	w.Upstream.Handler = func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		conn, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n%s\n", r.Header.Get("X-Vipps-Name"))
		line, _ := buffered.ReadString('\n')
		fmt.Fprint(conn, line)
	}
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	upgrade := "GET /socket HTTP/1.1\r\nHost: shop-a.localhost\r\nAccept: text/html\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if status, _ := harness.RawRequest(t, w.HTTP, upgrade+"\r\n"); status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", status)
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", w.HTTP))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, upgrade+"Cookie: "+b.Cookies(shop+"/")+"\r\n\r\n")
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	name, _ := reader.ReadString('\n')
	fmt.Fprintln(conn, "echo")
	echo, _ := reader.ReadString('\n')
	if name != "Kari Nordmann\n" || echo != "echo\n" {
		t.Errorf("got %q and %q", name, echo)
	}
	_, _ = io.Copy(io.Discard, reader) // until it is closed: when Caddy stops, it writes to streams that still copy (a race of its own)
}

// TestAccessLog: the user is in it, the callback and its code are not.
func TestAccessLog(t *testing.T) {
	w := harness.NewWorld(t)
	for _, pages := range []string{"on", "off"} {
		w.Load(`
http://shop-a.localhost:$HTTP {
	log
	vipps_login 123456 {
		error_pages ` + pages + `
	}
	reverse_proxy $UPSTREAM
	handle_errors {
		respond "site says {http.error.status_code} {http.error.message}"
	}
}
`)
		b := harness.NewBrowser(t)
		shop := w.Shop("shop-a.localhost")
		callback := b.Approved(shop+"/wanted", harness.Kari).RedirectTo()
		failed := b.Get(harness.WithQuery(t, callback, "-code", "error=server_error")).WantStatus(t, http.StatusBadGateway)
		if strings.HasPrefix(failed.Text, "site says 502") != (pages == "off") {
			t.Errorf("error_pages %s: %s", pages, failed.Text)
		}
		callback = b.Approved(shop+"/wanted", harness.Kari).RedirectTo()
		b.Follow(b.Get(callback)).WantStatus(t, http.StatusOK)
		sub := w.Upstream.Last(t).Header.Get("X-Vipps-Sub")
		log := w.Logged()
		if strings.Contains(log, "/vipps/callback?") || strings.Contains(log, harness.MustQuery(t, callback).Get("code")) {
			t.Errorf("error_pages %s: the callback is in the log", pages)
		}
		if !strings.Contains(log, `"user_id":"`+sub+`"`) || !strings.Contains(log, "login completed") {
			t.Errorf("error_pages %s: the user is not in the log", pages)
		}
	}
	// Without error routes of the site the status stands alone.
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login 123456 {\n\t\terror_pages off\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
	b := harness.NewBrowser(t)
	if a := b.Get(w.Shop("shop-a.localhost")+"/vipps/callback?state=x&code=secretcode").WantStatus(t, http.StatusBadRequest); a.Text != "" {
		t.Errorf("body: %s", a.Text)
	}
	if strings.Contains(w.Logged(), "secretcode") {
		t.Error("the code is in the log")
	}
}

// TestNothingPersonalInTheLog reads everything that a login leaves in the debug log.
func TestNothingPersonalInTheLog(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\tscope openid name email phoneNumber address birthDate nin\n\t}\n", 1))
	b := harness.NewBrowser(t)
	shop := w.Shop("shop-a.localhost")
	b.Login(shop+"/", harness.Bjorn).WantStatus(t, http.StatusOK)
	var claims map[string]any
	if err := json.Unmarshal([]byte(b.Get(shop+"/vipps/userinfo").Text), &claims); err != nil {
		t.Fatal(err)
	}
	bearer := strings.TrimPrefix(w.Vipps.Requests(harness.PathUserinfo)[0].Header.Get("Authorization"), "Bearer ")
	partner := strings.TrimPrefix(w.Vipps.Requests(harness.PathToken)[0].Header.Get("Authorization"), "Bearer ")
	secrets := []string{harness.PartnerSecret, harness.PartnerKey, harness.CookieSecret, bearer, partner, b.Cookies(shop + "/")}
	for name, value := range claims {
		if text, ok := value.(string); ok && name != "sub" && len(text) > 3 {
			secrets = append(secrets, text)
		}
	}
	log := w.Logged()
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"http.handlers.reverse_proxy"`) || strings.Contains(line, "autosaved") {
			continue // Caddy's own debug lines show the headers of every proxied request: the README warns
		}
		for _, secret := range secrets {
			if strings.Contains(line, secret) {
				t.Errorf("%q is in the log: %s", secret, line)
			}
		}
	}
	if len(secrets) < 10 || !strings.Contains(log, "login completed") {
		t.Errorf("this test looked for %d secrets in %d bytes", len(secrets), len(log))
	}
}
