package attack_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

const siteSession = `{
		site_session sid other
	}
	reverse_proxy $UPSTREAM
`

// siteSessionShops are two hosts of one merchant, and one of another, on HTTPS.
const siteSessionShops = `
https://shop-a.localhost:$HTTPS, https://shop-c.localhost:$HTTPS {
	tls $CERT $KEY
	vipps_login /account/* {
		merchant 123456 shop-a.localhost shop-c.localhost
		site_session sid other
	}
	reverse_proxy $UPSTREAM
}
https://shop-b.localhost:$HTTPS {
	tls $CERT $KEY
	vipps_login /account/* 234567 ` + siteSession + "}\n"

func newSiteSessionWorld(t *testing.T) *harness.World {
	t.Helper()
	return harness.WorldWith(t, func(w *harness.World) (merchants []simulator.Merchant) {
		for msn, hosts := range map[string][]string{"123456": {"shop-a.localhost", "shop-c.localhost"}, "234567": {"shop-b.localhost"}} {
			merchant := simulator.Merchant{MSN: msn}
			for _, host := range hosts {
				merchant.RedirectURIs = append(merchant.RedirectURIs, w.SecureShop(host)+"/vipps/callback", w.Shop(host)+"/vipps/callback")
			}
			merchants = append(merchants, merchant)
		}
		return merchants
	})
}

// answering has the site answer as the handler says.
func answering(w *harness.World, handler http.HandlerFunc) {
	w.Upstream.Mutex.Lock()
	defer w.Upstream.Mutex.Unlock()
	w.Upstream.Handler = handler
}

// boundAt has the site set sid for whoever asks for address, and returns the pair that the browser then has.
func boundAt(t *testing.T, w *harness.World, b *harness.Browser, address, value string) string {
	t.Helper()
	answering(w, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Set-Cookie", "sid="+value+"; Path=/nowhere")
	})
	defer answering(w, nil)
	line := b.Get(address).WantStatus(t, http.StatusOK).Header.Get("Set-Cookie")
	pair, _, _ := strings.Cut(line, ";")
	if !strings.HasPrefix(pair, "sid=") || strings.Contains(pair, value) {
		t.Fatalf("the browser gets %s", line)
	}
	return pair
}

// TestSiteSessionOfAnother: a cookie of the site's own is worth nothing to another user, to nobody, at another host, at another
// merchant, under another name, or changed; whatever the request is, in every version of HTTP.
func TestSiteSessionOfAnother(t *testing.T) {
	w := newSiteSessionWorld(t)
	w.StartHTTP3(strings.ReplaceAll(siteSessionShops, "$HTTPS", "$HTTP"), "")
	shop, gym, other := w.SecureShop("shop-a.localhost"), w.SecureShop("shop-b.localhost"), w.SecureShop("shop-c.localhost")
	kari, bjorn, visitor := harness.NewBrowser(t), harness.NewBrowser(t), harness.NewBrowser(t)
	for _, address := range []string{shop, gym, other} {
		kari.Login(address+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
		bjorn.Login(address+"/account/", harness.Bjorn).WantStatus(t, http.StatusOK)
	}
	karis, visitors := boundAt(t, w, kari, shop+"/account/", "karis"), boundAt(t, w, visitor, shop+"/", "visitors")
	own := boundAt(t, w, bjorn, shop+"/account/", "own")
	_, value, _ := strings.Cut(karis, "=")
	gets := func(major int, b *harness.Browser, method, address, cookies string) string {
		t.Helper()
		who := transports[major](t)
		who.Client.Jar = b.Client.Jar
		a := who.Do(harness.NewRequest(t, method, address, nil, "Cookie: a=1; "+cookies+"; b=2"))
		if a.StatusCode != http.StatusOK || a.ProtoMajor != major {
			t.Fatalf("%s %s over HTTP/%d: %d", method, address, a.ProtoMajor, a.StatusCode)
		}
		return w.Upstream.Last(t).Header.Get("Cookie")
	}
	for major := range transports {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS", "PROPFIND"} {
			if got := gets(major, kari, method, shop+"/account/", karis); got != "a=1; sid=karis; b=2" {
				t.Errorf("HTTP/%d: of Kari's own request the site gets %q", major, got)
			}
			if got := gets(major, visitor, method, shop+"/", visitors); got != "a=1; sid=visitors; b=2" {
				t.Errorf("HTTP/%d: of a visitor's own request the site gets %q", major, got)
			}
			for name, test := range map[string]struct {
				b                *harness.Browser
				address, cookies string
			}{
				"another user": {bjorn, shop + "/account/", karis}, "another user, a public page": {bjorn, shop + "/", karis}, "nobody": {visitor, shop + "/", karis},
				"another host": {kari, other + "/account/", karis}, "another merchant": {kari, gym + "/account/", karis},
				"another name": {kari, shop + "/", "other=" + value}, "another spelling": {kari, shop + "/", "SID=" + value}, "changed": {kari, shop + "/", karis[:len(karis)-3] + "AAA"}, "twice the value": {kari, shop + "/", karis + value},
				"unbound": {kari, shop + "/", "sid=karis"}, "unbound, a visitor": {visitor, shop + "/", "sid=karis"}, "a visitor's": {kari, shop + "/", visitors},
				"a visitor's, at another host": {visitor, other + "/", visitors},
			} {
				if got := gets(major, test.b, method, test.address, test.cookies); got != "a=1; b=2" {
					t.Errorf("HTTP/%d, %s, %s: the site gets %q", major, method, name, got)
				}
			}
		}
		if got := gets(major, bjorn, "GET", shop+"/", "sid=evil; "+karis+"; "+own+"; "+visitors+"; s%69d=evil"); got != "a=1; sid=own; b=2" {
			t.Errorf("HTTP/%d: of many the site gets %q", major, got)
		}
	}
}

// TestSiteSessionPlanted: cookies that a sibling subdomain plants, of one name and another Path or Domain, reach the site
// neither before a login nor after it, and do not end the user's own.
func TestSiteSessionPlanted(t *testing.T) {
	w := harness.NewWorld(t)
	harness.NewLegacy(w)
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456 {\n\t\tsite_session sid {\n\t\t\tkeep_at_login\n\t\t}\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
	shop := w.Shop("shop-a.localhost")
	attacker := harness.NewBrowser(t)
	attacker.Ask(shop + "/?put=trap")
	u, err := url.Parse(shop)
	if err != nil {
		t.Fatal(err)
	}
	visitors := strings.TrimPrefix(attacker.Cookies(shop), "sid=")
	attacker.Login(shop+"/account/", harness.Bjorn).WantStatus(t, http.StatusOK)
	bjorns := ""
	for _, c := range attacker.Client.Jar.Cookies(u) {
		if c.Name == "sid" {
			bjorns = c.Value
		}
	}
	direct := harness.NewBrowser(t) // past Caddy, to have a session's own id
	direct.Ask(w.Upstream.URL + "/?put=trap")
	for name, planted := range map[string]string{"unbound": strings.TrimPrefix(direct.Cookies(w.Upstream.URL), "sid="), "the attacker's": bjorns, "a visitor's": visitors} {
		for _, path := range []string{"/", "/vipps", "/account", "/vipps/callback"} {
			victim := harness.NewBrowser(t)
			victim.Ask(shop + "/?put=book")
			plant := func(value string) {
				victim.Client.Jar.SetCookies(u, []*http.Cookie{{Name: "sid", Value: value, Path: path, Domain: "shop-a.localhost"}})
			}
			if path != "/" { // there a browser has one of them, in the jar that is used here
				plant(planted)
			}
			page := victim.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK).Text
			if strings.Contains(page, "trap") || strings.Contains(page, "Bjørn") {
				t.Errorf("%s at %s: Kari's first page is %q", name, path, page)
			}
			victim.Ask(shop + "/account/?put=one")
			victim.Ask(shop + "/account/?put=more")
			for _, before := range []bool{true, false} { // the order in which a browser sends them
				cookies := "sid=" + planted + "; " + victim.Cookies(shop+"/account/")
				if !before {
					cookies = victim.Cookies(shop+"/account/") + "; sid=" + planted
				}
				if page = harness.NewBrowser(t).Ask(shop+"/account/", "Cookie: "+cookies); !strings.HasPrefix(page, "user=Kari") || !strings.Contains(page, "one,more") {
					t.Errorf("%s at %s: Kari's page is %q", name, path, page)
				}
			}
			if page = victim.Ask(shop + "/account/"); !strings.Contains(page, "one,more") {
				t.Errorf("%s at %s: Kari's own session is gone: %q", name, path, page)
			}
		}
	}
}

// TestSiteSessionFixation: with keep_at_login an attacker's own session survives a victim's login, as the documentation says,
// unless the site gives it a new id, or the victim has a session of their own.
func TestSiteSessionFixation(t *testing.T) {
	w := harness.NewWorld(t)
	legacy := harness.NewLegacy(w)
	shop := w.Shop("shop-a.localhost")
	for _, test := range []struct {
		keep, renews, taken bool
	}{{true, false, true}, {true, true, false}, {false, false, false}} {
		legacy.Renews = test.renews
		lines := "site_session sid"
		if test.keep {
			lines += " {\n\t\t\tkeep_at_login\n\t\t}"
		}
		w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456 {\n\t\t" + lines + "\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
		attacker := harness.NewBrowser(t)
		attacker.Ask(shop + "/")
		victim := harness.CopyOf(attacker, shop+"/")
		victim.Login(shop+"/account/?put=secret", harness.Kari).WantStatus(t, http.StatusOK)
		if page := attacker.Ask(shop + "/"); strings.Contains(page, "secret") != test.taken {
			t.Errorf("%+v: the attacker reads %q", test, page)
		}
		if page := attacker.Login(shop+"/account/", harness.Bjorn).Text; strings.Contains(page, "secret") && !test.taken {
			t.Errorf("%+v: the attacker, logged in, reads %q", test, page)
		}
	}
}

// TestSiteSessionSetManyTimes: a site may set it a thousand times, in any spelling of the field, with a body or without: the
// browser gets nothing that is not bound. Trailers have none.
func TestSiteSessionSetManyTimes(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456 " + siteSession + "}\n")
	shop := w.Shop("shop-a.localhost")
	raw := "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
	for i, field := range slices.Repeat([]string{"Set-Cookie", "set-cookie", "SET-COOKIE", "sEt-cOOkie"}, 250) {
		raw += fmt.Sprintf("%s: sid=plain%d; Path=/%d\r\n", field, i, i)
	}
	raw += "Set-Cookie: sid=\"plain; x\"; Path=/\r\nSet-Cookie:sid = plain\r\nSet-Cookie:\tother=plain;;;Path=/\r\nSet-Cookie: kept=1\r\nTrailer: X-End\r\n\r\n2\r\nok\r\n0\r\nX-End: 1\r\nSet-Cookie: sid=plain\r\n\r\n"
	answering(w, func(rw http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, raw)
	})
	b := harness.NewBrowser(t)
	a := b.Get(shop+"/").WantStatus(t, http.StatusOK)
	lines := a.Header["Set-Cookie"]
	if len(lines) != 1004 || !slices.Contains(lines, "kept=1") || a.Text != "ok" {
		t.Errorf("%d lines, %q", len(lines), a.Text)
	}
	for _, line := range lines {
		if strings.Contains(line, "plain") {
			t.Errorf("not bound: %s", line)
		}
	}
	if len(a.Trailer["Set-Cookie"]) > 0 || a.Trailer.Get("X-End") != "1" {
		t.Errorf("trailers: %v", a.Trailer)
	}
	answering(w, nil)
	b.Client.Jar = nil
	for _, line := range lines[:1000:1000] {
		pair, _, _ := strings.Cut(line, ";")
		b.Get(shop+"/", "Cookie: "+pair)
		if got := w.Upstream.Last(t).Header.Get("Cookie"); !strings.HasPrefix(got, "sid=plain") {
			t.Fatalf("the site gets %q", got)
		}
	}
}

// TestSiteSessionInterimAnswers: early hints set no session, whatever the version of HTTP; the answer behind them does.
func TestSiteSessionInterimAnswers(t *testing.T) {
	w := newSiteSessionWorld(t)
	w.StartHTTP3(strings.ReplaceAll(siteSessionShops, "$HTTPS", "$HTTP")+"http://shop-a.localhost:"+fmt.Sprint(w.HTTP)+" {\n\tvipps_login /account/* 123456 "+siteSession+"}\n", "")
	answering(w, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header()["Set-Cookie"] = []string{"sid=early; Path=/", "kept=1"}
		rw.Header().Set("Link", "</style.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.WriteHeader(http.StatusProcessing)
		rw.Header().Set("Set-Cookie", "sid=late; Path=/")
		_, _ = io.WriteString(rw, "hello")
	})
	for major, newBrowser := range map[int]func(testing.TB) *harness.Browser{1: harness.NewBrowser, 2: harness.NewBrowser, 3: newHTTP3Browser} {
		shop := w.SecureShop("shop-a.localhost")
		if major == 1 {
			shop = w.Shop("shop-a.localhost")
		}
		var interim []http.Header
		trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
			interim = append(interim, http.Header(header))
			return nil
		}}
		r := harness.NewRequest(t, http.MethodGet, shop+"/", nil)
		a := newBrowser(t).Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
		if a.ProtoMajor != major || len(interim) != 2 || interim[0].Get("Link") == "" || !slices.Equal(interim[0]["Set-Cookie"], []string{"kept=1"}) {
			t.Errorf("HTTP/%d: interim answers %v", a.ProtoMajor, interim)
		}
		if lines := a.Header["Set-Cookie"]; len(lines) != 1 || !strings.HasPrefix(lines[0], "sid=") || strings.Contains(lines[0], "late") || a.Text != "hello" {
			t.Errorf("HTTP/%d: sets %q", a.ProtoMajor, lines)
		}
	}
}

// socket is an open websocket: how it was answered, and both of its directions.
type socket struct {
	status int
	header http.Header
	io.Reader
	io.Writer
}

// openWebsocket opens one at /socket over HTTP/1.1 (RFC 6455), HTTP/2 (RFC 8441) or HTTP/3 (RFC 9220).
func openWebsocket(t *testing.T, w *harness.World, major int, cookies string) socket {
	t.Helper()
	local := fmt.Sprintf("127.0.0.1:%d", w.HTTPS)
	if major == 2 {
		return openHTTP2Websocket(t, local, cookies)
	}
	reader, writer := io.Pipe()
	t.Cleanup(func() { writer.Close() })
	r := harness.NewRequest(t, http.MethodGet, w.Shop("shop-a.localhost")+"/socket", nil, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	transport := harness.NewBrowser(t).Client.Transport
	if major == 3 {
		r = harness.NewRequest(t, http.MethodConnect, w.SecureShop("shop-a.localhost")+"/socket", reader)
		r.Proto = "websocket"
		quick := &http3.Transport{TLSClientConfig: rawTLS("h3"), Dial: func(ctx context.Context, _ string, config *tls.Config, quicConfig *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, local, config, quicConfig)
		}}
		t.Cleanup(func() { _ = quick.Close() })
		transport = quick
	}
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Cookie", cookies)
	resp, err := transport.RoundTrip(r.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	opened := socket{resp.StatusCode, resp.Header, resp.Body, writer}
	if both, ok := resp.Body.(io.Writer); ok {
		opened.Writer = both
	}
	return opened
}

// openHTTP2Websocket writes the frames itself: no client of Go's sends :protocol.
func openHTTP2Websocket(t *testing.T, address, cookies string) (opened socket) {
	t.Helper()
	conn, err := tls.Dial("tcp", address, rawTLS("h2"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":authority", "shop-a.localhost"}, {":path", "/socket"}, {"sec-websocket-version", "13"}, {"cookie", cookies}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // to memory
	}
	_, err = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	if err := errors.Join(err, framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})); err != nil {
		t.Fatal(err)
	}
	reader, received := io.Pipe()
	t.Cleanup(func() { reader.Close() })
	opened = socket{header: http.Header{}, Reader: reader, Writer: dataFrames{framer}}
	answered := make(chan struct{})
	go func() {
		for {
			switch frame, err := framer.ReadFrame(); frame := frame.(type) {
			case *http2.HeadersFrame:
				_, _ = hpack.NewDecoder(4096, func(f hpack.HeaderField) { opened.header.Add(f.Name, f.Value) }).Write(frame.HeaderBlockFragment())
				close(answered)
			case *http2.DataFrame:
				_, _ = received.Write(frame.Data())
			case nil:
				received.CloseWithError(err)
				return
			}
		}
	}()
	<-answered
	opened.status, _ = strconv.Atoi(opened.header.Get(":status"))
	return opened
}

// dataFrames writes to the stream of an HTTP/2 websocket.
type dataFrames struct{ framer *http2.Framer }

func (d dataFrames) Write(b []byte) (int, error) { return len(b), d.framer.WriteData(1, false, b) }

// TestSiteSessionUpgrades: a websocket gets the user's own cookie, what it sets is bound, and both sides are heard; over
// HTTP/1.1, 2 and 3.
func TestSiteSessionUpgrades(t *testing.T) {
	w := newSiteSessionWorld(t)
	t.Setenv("GODEBUG", "http2xconnect=1")
	w.StartHTTP3(strings.ReplaceAll(siteSessionShops, "$HTTPS", "$HTTP")+"http://shop-a.localhost:"+fmt.Sprint(w.HTTP)+" {\n\tvipps_login /account/* 123456 "+siteSession+"}\n", "")
	upgrading := func(rw http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSet-Cookie: sid=socket; Path=/\r\n\r\nhello " + r.Header.Get("Cookie") + "\n")
		_ = buffered.Flush()
		line, _ := buffered.ReadString('\n')
		_, _ = io.WriteString(conn, "heard "+line)
	}
	for major, status := range map[int]int{1: http.StatusSwitchingProtocols, 2: http.StatusOK, 3: http.StatusOK} {
		shop := map[bool]string{true: w.Shop("shop-a.localhost"), false: w.SecureShop("shop-a.localhost")}[major == 1]
		answering(w, nil)
		kari := harness.NewBrowser(t)
		kari.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
		own, visitors := boundAt(t, w, kari, shop+"/", "karis"), boundAt(t, w, harness.NewBrowser(t), shop+"/", "visitors")
		answering(w, upgrading)
		opened := openWebsocket(t, w, major, kari.Cookies(shop+"/")+"; sid=evil; "+visitors+"; "+own)
		if set := opened.header.Get("Set-Cookie"); opened.status != status || !strings.HasPrefix(set, "sid=") || strings.Contains(set, "socket") {
			t.Errorf("HTTP/%d: %d, sets %q", major, opened.status, set)
		}
		lines := bufio.NewReader(opened)
		if line, err := lines.ReadString('\n'); line != "hello sid=karis\n" {
			t.Errorf("HTTP/%d: %q, %v", major, line, err)
		}
		if _, err := io.WriteString(opened, "me\n"); err != nil {
			t.Error(err)
		}
		if line, err := lines.ReadString('\n'); line != "heard me\n" {
			t.Errorf("HTTP/%d: %q, %v", major, line, err)
		}
	}
}

// TestSiteSessionStreams: a stream's first bytes come at once, with a cookie that is bound; an answer that comes after the next
// login is still the first user's.
func TestSiteSessionStreams(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login /account/* 123456 " + siteSession + "}\n")
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	more := make(chan string)
	answering(w, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			<-more
		}
		rw.Header().Set("Content-Type", "text/event-stream")
		rw.Header().Set("Set-Cookie", "sid=karis; Path=/")
		rw.(http.Flusher).Flush()
		for line := range more {
			fmt.Fprintf(rw, "data: %s\n\n", line)
			rw.(http.Flusher).Flush()
		}
	})
	resp, err := b.Client.Do(harness.NewRequest(t, http.MethodGet, shop+"/stream", nil, "Accept: text/event-stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if set := resp.Header.Get("Set-Cookie"); !strings.HasPrefix(set, "sid=") || strings.Contains(set, "karis") {
		t.Errorf("sets %q", set)
	}
	more <- "first"
	stream := bufio.NewReader(resp.Body)
	if line, err := stream.ReadString('\n'); line != "data: first\n" {
		t.Errorf("reads %q, %v", line, err)
	}
	late := make(chan *http.Response)
	go func() {
		resp, err := b.Client.Do(harness.NewRequest(t, http.MethodGet, shop+"/late", nil, "Accept: text/event-stream"))
		if err != nil {
			t.Error(err)
		}
		late <- resp
	}()
	harness.WaitFor(t, func() bool { return w.Upstream.Count() >= 3 }) // the login's page, the stream, and this
	b.Get(shop+"/vipps/logout").WantStatus(t, http.StatusFound)
	callback := b.Approved(shop+"/vipps/login?return_to=/account/", harness.Bjorn).RedirectTo()
	b.Get(callback).WantStatus(t, http.StatusFound)
	close(more)
	resp = <-late
	resp.Body.Close()
	answering(w, nil)
	if !strings.Contains(b.Cookies(shop), "sid=") {
		t.Error("the late answer brings no cookie: nothing was tried")
	}
	b.Get(shop+"/account/", harness.AsScript...).WantStatus(t, http.StatusOK)
	if r := w.Upstream.Last(t); r.Header.Get("Cookie") != "" || r.Header.Get("X-Vipps-Name") != "Bjørn Ærlig-Åsen" {
		t.Errorf("%s has %q", r.Header.Get("X-Vipps-Name"), r.Header.Get("Cookie"))
	}
}

// TestSiteSessionWithoutALogin: where anybody may pass, and on public pages, a visitor has a session of their own at the site,
// and a user theirs.
func TestSiteSessionWithoutALogin(t *testing.T) {
	w := harness.NewWorld(t)
	harness.NewLegacy(w)
	shop := w.Shop("shop-a.localhost")
	for _, directive := range []string{"vipps_login /account/* 123456 {", "vipps_login 123456 {\n\t\ton_unauthenticated pass"} {
		w.Load("http://shop-a.localhost:$HTTP {\n\t" + directive + "\n\t\tsite_session sid\n\t}\n\treverse_proxy $UPSTREAM\n}\n")
		b := harness.NewBrowser(t)
		b.Ask(shop + "/?put=book")
		if page := b.Ask(shop + "/"); page != "user= basket=book" {
			t.Errorf("%s a visitor: %s", directive, page)
		}
		b.Follow(b.Approved(shop+"/vipps/login?return_to=/", harness.Kari))
		b.Ask(shop + "/?put=pen")
		if page := b.Ask(shop + "/"); page != "user=Kari Nordmann basket=pen" {
			t.Errorf("%s Kari: %s", directive, page)
		}
		karis := "Cookie: " + b.Cookies(shop)
		b.Get(shop + "/vipps/logout")
		if page := b.Ask(shop+"/", karis); page != "user= basket=" {
			t.Errorf("%s after the logout: %s", directive, page)
		}
	}
}

// TestSiteSessionErrorRoutes: the site's error pages get what fits, once, whatever has failed, and bind what they set.
func TestSiteSessionErrorRoutes(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none") // tracing hands on a copy of the request
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	const directive = "\tvipps_login /account/* 123456 {\n\t\tsite_session sid\n\t\terror_pages off\n\t}\n"
	for name, test := range map[string]struct {
		before, errors string
		path           string
		bound          bool // what the error page sets
	}{
		"the site's proxy fails":                {"", directive, "/broken", true},
		"the site's proxy fails, no directive":  {"", "", "/broken", false},
		"the proxy fails, behind a copy":        {"\ttracing\n", directive, "/broken", true},
		"behind a copy, no directive":           {"\ttracing\n", "", "/broken", false},
		"something before the directive fails":  {"\ttry_files {path} {path}/nothing =404\n", directive, "/first", true},
		"a callback":                            {"", directive, "/vipps/callback?state=x&code=y", true},
		"a callback, no directive":              {"", "", "/vipps/callback?state=x&code=y", false},
		"a logout that another site has caused": {"", directive, "/vipps/logout", true},
	} {
		t.Run(name, func(t *testing.T) {
			w.Load("http://shop-a.localhost:$HTTP {\n" + directive + "\treverse_proxy $UPSTREAM\n}\n")
			kari, visitor := harness.NewBrowser(t), harness.NewBrowser(t)
			kari.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
			karis, visitors := boundAt(t, w, kari, shop+"/", "karis"), boundAt(t, w, visitor, shop+"/", "visitors")
			w.Upstream.Last(t)
			w.Load("http://shop-a.localhost:$HTTP {\n\tlog\n" + test.before + directive + "\t@broken path /broken\n\treverse_proxy @broken 127.0.0.1:1\n\treverse_proxy $UPSTREAM\n\thandle_errors {\n" +
				test.errors + "\trewrite * /error-page\n\t\treverse_proxy $UPSTREAM\n\t}\n}\n")
			answering(w, func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Set-Cookie", "sid=plain; Path=/x") })
			for who, b := range map[string]*harness.Browser{"karis": kari, "visitors": visitor} {
				if strings.HasPrefix(name, "a callback") && who == "karis" {
					continue // is sent on to the site
				}
				a := b.Get(shop+test.path, "Cookie: sid=evil; "+karis+"; "+visitors+"; x=1", "Sec-Fetch-Site: cross-site")
				r := w.Upstream.Last(t)
				if got := r.Header.Get("Cookie"); got != "sid="+who+"; x=1" || r.URL.Path != "/error-page" {
					t.Errorf("%s: %s gets %q", who, r.URL.Path, got)
				}
				lines := a.Header["Set-Cookie"]
				if set := strings.Join(lines, "\n"); len(lines) != 1 || strings.Contains(set, "plain") == test.bound || strings.Contains(set, "Max-Age") {
					t.Errorf("%s: sets %q", who, lines)
				}
			}
		})
	}
}

// TestSiteSessionInTrailers: a cookie behind the body of a request is none.
func TestSiteSessionInTrailers(t *testing.T) {
	w := newSiteSessionWorld(t)
	w.StartHTTP3(strings.ReplaceAll(siteSessionShops, "$HTTPS", "$HTTP")+"http://shop-a.localhost:"+fmt.Sprint(w.HTTP)+" {\n\tvipps_login /account/* 123456 "+siteSession+"}\n", "")
	answering(w, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	for major, newBrowser := range map[int]func(testing.TB) *harness.Browser{1: harness.NewBrowser, 2: harness.NewBrowser, 3: newHTTP3Browser} {
		shop := map[bool]string{true: w.Shop("shop-a.localhost"), false: w.SecureShop("shop-a.localhost")}[major == 1]
		r := harness.NewRequest(t, http.MethodPost, shop+"/", nil)
		r.Body, r.ContentLength, r.Trailer = io.NopCloser(strings.NewReader("body")), -1, http.Header{"Cookie": {"sid=evil"}, "X-Kept": {"1"}}
		newBrowser(t).Do(r).WantStatus(t, http.StatusOK)
		if got := w.Upstream.Last(t).Trailer; got.Get("X-Kept") != "1" && major < 3 || got.Get("Cookie") != "" { // of HTTP/3 Caddy forwards none
			t.Errorf("HTTP/%d: the site gets the trailers %v", major, got)
		}
	}
}

// TestSiteSessionOfAnAnswerThatFailed: what a site has set before its answer failed is not in the error page's.
func TestSiteSessionOfAnAnswerThatFailed(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load("http://shop-a.localhost:$HTTP {\n\troute {\n\t\tvipps_login /account/* 123456 {\n\t\t\tsite_session sid\n\t\t}\n\t\theader Set-Cookie \"sid=plain; Path=/\"\n\t\terror /broken 500\n\t\trespond /nothing 200\n\t\trespond /hello hello\n\t}\n\thandle_errors {\n\t\trespond sorry\n\t}\n}\n")
	shop := w.Shop("shop-a.localhost")
	for path, status := range map[string]int{"/broken": http.StatusInternalServerError, "/nothing": http.StatusOK, "/hello": http.StatusOK, "/end-of-the-routes": http.StatusOK} {
		a := harness.NewBrowser(t).Get(shop+path).WantStatus(t, status)
		if set := a.Header.Get("Set-Cookie"); strings.Contains(set, "plain") || (set == "") != (path == "/broken") {
			t.Errorf("%s sets %q", path, set)
		}
	}
}
