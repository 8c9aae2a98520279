package stacks_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// forged are what clients send to be taken for others.
var forged = []string{
	"X-Forwarded-Proto: http", "X-Forwarded-Host: evil.localhost", "X-Forwarded-Port: 99", "X-Forwarded-For: 6.6.6.6",
	"X_Forwarded_Proto: http", "Forwarded: for=6.6.6.6;proto=http;host=evil.localhost", "X-Real-IP: 6.6.6.6", "PROXY: TCP4 6.6.6.6 6.6.6.6 1 2",
}

// hopByHop has proxies drop fields, that of their own too unless they mind (CVE-2022-31813).
const hopByHop = "Connection: X-Forwarded-Proto, X-Forwarded-For, X-Forwarded-Host, X-Real-IP"

// attacks are forged fields one by one and together, over HTTP/2 and HTTP/1.1, and what only HTTP/1.1 has.
func attacks(attack func(http2 bool, header ...string)) {
	for _, http2 := range []bool{true, false} {
		attack(http2)
		attack(http2, forged...)
		for _, field := range forged {
			attack(http2, field)
		}
	}
	attack(false, hopByHop)
	attack(false, append(slices.Clone(forged), hopByHop)...)
}

// wantsOrigin checks where a login comes back to.
func (f *front) wantsOrigin(http2 bool, origin string, header ...string) {
	f.T.Helper()
	a := f.browser(http2).Get(publicShop+"/", header...).WantStatus(f.T, http.StatusFound)
	if got := harness.MustQuery(f.T, a.RedirectTo()).Get("redirect_uri"); got != origin+"/vipps/callback" {
		f.T.Errorf("with %q, the redirect URI is %s, want %s", header, got, origin)
	}
	if cookie := a.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-") {
		f.T.Errorf("with %q, the cookie is %s", header, cookie)
	}
}

func (f *front) redirectsPlainHTTP(balancer string) {
	f.T.Helper()
	if balancer == "Caddy" {
		return // its own business
	}
	const target = "/a%2Fb%20c%C3%B8?d=%26e+f"
	a := f.browser(true).Get("http://shop-a.localhost:"+f.m.port("PLAIN")+target, "Host: shop-a.localhost")
	want := http.StatusPermanentRedirect // 301 has browsers turn a POST into a GET
	if balancer == "Traefik" {
		want = http.StatusMovedPermanently // for GET
	}
	if a.StatusCode != want || a.RedirectTo() != publicShop+target {
		f.T.Errorf("plain HTTP: %d %s", a.StatusCode, a.RedirectTo())
	}
}

// forwards: scheme, host, port and client address are the browser's, whatever it claims.
func (f *front) forwards() {
	f.T.Helper()
	f.wantsOrigin(true, publicShop+":8443", "Host: shop-a.localhost:8443")
	f.hidesForgeries()
	r := f.Upstream.Last(f.T)
	if proto, host := r.Header["X-Forwarded-Proto"], r.Header["X-Forwarded-Host"]; fmt.Sprint(proto, host) != "[https] [shop-a.localhost]" {
		f.T.Errorf("the site sees %q and %q", proto, host)
	}
}

// hidesForgeries: nothing that a client sends is taken for what the load balancer says.
func (f *front) hidesForgeries() {
	f.T.Helper()
	users := map[bool]*harness.Browser{true: f.browser(true), false: f.browser(false)}
	for _, b := range users {
		b.Login(publicShop+"/", harness.Kari).WantStatus(f.T, http.StatusOK)
	}
	attacks(func(http2 bool, header ...string) {
		f.wantsOrigin(http2, publicShop, header...)
		users[http2].Get(publicShop+"/", header...).WantStatus(f.T, http.StatusOK)
		seen := f.Upstream.Last(f.T).Header
		if got := seen["X-Real-Ip"]; len(got) != 1 || got[0] != clientIP {
			f.T.Errorf("with %q, the client is %q", header, got)
		}
		if got := seen["X-Forwarded-Host"]; len(got) != 1 || got[0] != "shop-a.localhost" || strings.Contains(fmt.Sprint(seen["X-Forwarded-For"]), "6.6.6.6") {
			f.T.Errorf("with %q, the site sees X-Forwarded-Host %q and X-Forwarded-For %q", header, got, seen["X-Forwarded-For"])
		}
	})
	users[true].Get(publicShop+"/").WantStatus(f.T, http.StatusOK)
}

// believesNobodyElse: who reaches an instance past the load balancer cannot speak for it.
func (f *front) believesNobodyElse() {
	f.T.Helper()
	for i, port := range f.ports {
		got := f.past(port, "GET / HTTP/1.1\r\nHost: shop-a.localhost\r\nAccept: text/html\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.localhost\r\n\r\n")
		if got.StatusCode != http.StatusFound || !strings.Contains(got.Header.Get("Location"), "redirect_uri=http%3A%2F%2Fshop-a.localhost") {
			f.T.Errorf("instance %d believes a client: %d %s", i, got.StatusCode, got.Header.Get("Location"))
		}
	}
}

// findsClientIn: of a load balancer that appends to X-Forwarded-For, what it appended counts.
func (f *front) findsClientIn(forwardedFor string) {
	f.T.Helper()
	b := f.browser(true)
	b.Login(publicShop+"/", harness.Kari).WantStatus(f.T, http.StatusOK)
	for i, port := range f.ports {
		a := harness.NewBrowser(f.T).Get(fmt.Sprintf("http://127.0.0.1:%d/", port), "Host: shop-a.localhost", "Cookie: "+b.Cookies(publicShop+"/"),
			"X-Forwarded-Proto: https", "X-Forwarded-For: "+forwardedFor).WantStatus(f.T, http.StatusOK)
		if client := f.Upstream.Last(f.T).Header.Get("X-Real-Ip"); client != clientIP {
			f.T.Errorf("instance %d takes %s for the client: %d", i, client, a.StatusCode)
		}
	}
}

// believesNoOtherPROXY is believesNobodyElse for the PROXY protocol, where TLS is ended before.
func (f *front) believesNoOtherPROXY() {
	f.T.Helper()
	b := f.browser(true)
	b.Login(publicShop+"/", harness.Kari).WantStatus(f.T, http.StatusOK)
	for i, port := range f.ports {
		got := f.past(port, "PROXY TCP4 6.6.6.6 127.0.0.1 1 443\r\nGET / HTTP/1.1\r\nHost: shop-a.localhost\r\nCookie: "+b.Cookies(publicShop+"/")+"\r\n\r\n")
		if client := f.Upstream.Last(f.T).Header.Get("X-Real-Ip"); got.StatusCode != http.StatusOK || client != clientIP {
			f.T.Errorf("instance %d believes a client: %d %s", i, got.StatusCode, client)
		}
	}
}

// past sends a request straight to an instance.
func (f *front) past(port int, request string) *http.Response {
	f.T.Helper()
	conn, err := fromClient(fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		f.T.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, request)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		f.T.Fatal(err)
	}
	return resp
}

// balances: users are served, whichever instance is there.
func (f *front) balances(probes bool) {
	f.T.Helper()
	b := f.largeUser()
	f.websocket(b)
	f.waitForBoth(b)
	f.repeatsNoPOST(false)
	if f.postOverHTTP2 {
		f.repeatsNoPOST(true)
	}

	f.instances[0].Kill()
	f.wantsOnly("b", b)
	f.browser(true).Login(publicShop+"/", harness.Kari).WantStatus(f.T, http.StatusOK)
	f.startInstance(0, f.sites)
	f.waitForBoth(b)
	if probes {
		f.instances[0].Kill()
		f.startInstance(0, strings.Replace(f.sites, "respond /healthz 200", "respond /healthz 503", 1))
		f.waitForOne(b)
		f.wantsOnly("b", b)
	}
	request := harness.NewRequest(f.T, http.MethodPost, publicShop+"/vipps/logout", nil, "Origin: "+publicShop)
	b.Do(request).WantStatus(f.T, http.StatusSeeOther)
	b.Get(publicShop+"/").WantStatus(f.T, http.StatusFound)
}

// repeatsNoPOST: when an instance dies over a POST, the user is told so, and the other one does not get it.
func (f *front) repeatsNoPOST(http2 bool) {
	f.T.Helper()
	b := f.browser(http2)
	b.Login(publicShop+"/", harness.Kari).WantStatus(f.T, http.StatusOK)
	orders := make(chan int, 10)
	f.serve(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			i := int(r.Header.Get("X-Instance")[0] - 'a')
			f.instances[i].Kill()
			orders <- i
		}
	})
	// Not b.Do, which repeats requests itself.
	resp, err := b.Client.Do(harness.NewRequest(f.T, http.MethodPost, publicShop+"/order", strings.NewReader("mug"), "Origin: "+publicShop))
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode < 500 {
			f.T.Errorf("a POST whose instance died: %d", resp.StatusCode)
		}
	}
	f.startInstance(<-orders, f.sites)
	if n := len(orders); n > 0 {
		f.T.Errorf("a POST came %d times more", n)
		f.startInstance(<-orders, f.sites)
	}
	f.waitForBoth(b)
}

// serve has the site answer in another way.
func (f *front) serve(handler http.HandlerFunc) {
	f.Upstream.Mutex.Lock()
	defer f.Upstream.Mutex.Unlock()
	f.Upstream.Handler = handler
}

// largeUser logs in somebody with more claims than a Cookie line of 8 KiB has room for.
func (f *front) largeUser() *harness.Browser {
	f.T.Helper()
	large := harness.RandomText(9 << 10)
	f.Vipps.Sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["large"] = large }})
	defer f.Vipps.Sim.SetFaults(simulator.Faults{})
	b := f.browser(true)
	b.Login(publicShop+"/", harness.Bjorn).WantStatus(f.T, http.StatusOK)
	if got := f.Upstream.Last(f.T).Header.Get("X-Vipps-Large"); got != large {
		f.T.Errorf("%d bytes arrive of %d", len(got), len(large))
	}
	size := len(b.Cookies(publicShop + "/"))
	if size < 9000 {
		f.T.Errorf("only %d bytes of cookies", size)
	}
	b.Get(publicShop+"/", "X-Fill: "+strings.Repeat("x", 15500-size)).WantStatus(f.T, http.StatusOK)
	return b
}

// served says which instance has served a page view.
func (f *front) served(b *harness.Browser) string {
	f.T.Helper()
	b.Get(publicShop+"/").WantStatus(f.T, http.StatusOK)
	return f.Upstream.Last(f.T).Header.Get("X-Instance")
}

// waitForBoth waits until both instances have served this user.
func (f *front) waitForBoth(b *harness.Browser) {
	f.T.Helper()
	seen := map[string]bool{}
	harness.WaitFor(f.T, func() bool {
		b.Client.CloseIdleConnections() // one connection has one instance where TLS is passed on
		seen[f.served(b)] = true
		return seen["a"] && seen["b"]
	})
}

// waitForOne waits until one instance is left out.
func (f *front) waitForOne(b *harness.Browser) {
	f.T.Helper()
	row := 0
	harness.WaitFor(f.T, func() bool {
		if row++; f.served(b) != "b" {
			row = 0
		}
		return row > 5
	})
}

func (f *front) wantsOnly(instance string, b *harness.Browser) {
	f.T.Helper()
	for range 10 {
		b.Client.CloseIdleConnections()
		if got := f.served(b); got != instance {
			f.T.Errorf("instance %s serves", got)
		}
	}
}

// websocket: one is opened with a session, and refused without.
func (f *front) websocket(b *harness.Browser) {
	f.T.Helper()
	f.serve(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		conn, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			f.T.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n%s\n", r.Header.Get("X-Vipps-Given-Name"))
		line, _ := buffered.ReadString('\n')
		fmt.Fprint(conn, line)
	})
	if status, _, _ := f.upgrade(""); status != http.StatusUnauthorized {
		f.T.Errorf("a websocket without a session: %d", status)
	}
	status, conn, reader := f.upgrade("Cookie: " + b.Cookies(publicShop+"/") + "\r\n")
	if status != http.StatusSwitchingProtocols {
		f.T.Fatalf("a websocket: %d", status)
	}
	name, _ := reader.ReadString('\n')
	fmt.Fprintln(conn, "echo")
	if echo, err := reader.ReadString('\n'); name != "Bjørn\n" || echo != "echo\n" {
		f.T.Errorf("the websocket says %q, and %q: %v", name, echo, err)
	}
}

func (f *front) upgrade(header string) (int, net.Conn, *bufio.Reader) {
	f.T.Helper()
	plain, err := fromClient("127.0.0.1:" + f.m.port("BALANCER"))
	if err != nil {
		f.T.Fatal(err)
	}
	f.T.Cleanup(func() { plain.Close() })
	_ = plain.SetDeadline(time.Now().Add(patience))
	conn := tls.Client(plain, &tls.Config{ServerName: "shop-a.localhost", InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	fmt.Fprint(conn, "GET /socket HTTP/1.1\r\nHost: shop-a.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: "+publicShop+"\r\n"+header+"\r\n")
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		f.T.Fatal(err)
	}
	return resp.StatusCode, conn, reader
}
