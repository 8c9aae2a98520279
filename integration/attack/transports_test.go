package attack_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// transports are the versions of HTTP that are not text, and a browser for each.
var transports = map[int]func(t testing.TB) *harness.Browser{2: harness.NewBrowser, 3: newHTTP3Browser}

// newHTTP3Browser returns a browser that opens HTTPS sites over QUIC, and never another way.
func newHTTP3Browser(t testing.TB) *harness.Browser {
	b := harness.NewBrowser(t)
	quick := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true,
		Dial: func(ctx context.Context, addr string, config *tls.Config, quicConfig *quic.Config) (*quic.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return quic.DialAddrEarly(ctx, "127.0.0.1:"+port, config, quicConfig)
		}}
	t.Cleanup(func() { _ = quick.Close() })
	b.Client.Transport = byScheme{"https": quick, "http": b.Client.Transport}
	return b
}

type byScheme map[string]http.RoundTripper

func (s byScheme) RoundTrip(r *http.Request) (*http.Response, error) {
	return s[r.URL.Scheme].RoundTrip(r)
}

// rawFields sends a request of exactly these fields ("name: value", pseudo-headers and all) over HTTP/2 or
// HTTP/3. What is refused by a reset is status 400, as in tryRequest.
func rawFields(t *testing.T, major, port int, fields ...string) (int, http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	send := map[int]func(context.Context, string, [][2]string) ([][2]string, error){2: rawHTTP2, 3: rawHTTP3}[major]
	var pairs [][2]string
	for _, field := range fields {
		colon := strings.Index(field[1:], ": ") + 1
		pairs = append(pairs, [2]string{field[:colon], field[colon+2:]})
	}
	answered, err := send(ctx, fmt.Sprintf("127.0.0.1:%d", port), pairs)
	if ctx.Err() != nil {
		t.Errorf("%q: no answer", fields)
	}
	if err != nil {
		return http.StatusBadRequest, nil
	}
	status, header := 0, http.Header{}
	for _, pair := range answered {
		if pair[0] == ":status" {
			status, _ = strconv.Atoi(pair[1])
		}
		header.Add(pair[0], pair[1])
	}
	return status, header
}

var errRefused = errors.New("the request was reset")

func rawHTTP2(ctx context.Context, address string, fields [][2]string) (answered [][2]string, err error) {
	conn, err := (&tls.Dialer{Config: rawTLS("h2")}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range fields {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // to memory
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	framer := http2.NewFramer(conn, conn)
	framer.AllowIllegalWrites = true
	if err := framer.WriteSettings(); err != nil {
		return nil, err
	}
	// A connection-specific error may come before our writing ends: only reading tells.
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch frame := frame.(type) {
		case *http2.HeadersFrame:
			decoder := hpack.NewDecoder(4096, func(f hpack.HeaderField) { answered = append(answered, [2]string{f.Name, f.Value}) })
			_, err := decoder.Write(frame.HeaderBlockFragment())
			return answered, err
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return nil, errRefused
		}
	}
}

func rawTLS(protocol string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}, ServerName: "shop-a.localhost"}
}

// RFC 9114 sections 6.2.1 and 7.2.
const (
	h3ControlStream = 0x0
	h3Headers       = 0x1
	h3Settings      = 0x4
)

func rawHTTP3(ctx context.Context, address string, fields [][2]string) (answered [][2]string, err error) {
	conn, err := quic.DialAddr(ctx, address, rawTLS(http3.NextProtoH3), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	control, err := conn.OpenUniStream()
	if err != nil {
		return nil, err
	}
	if _, err := control.Write([]byte{h3ControlStream, h3Settings, 0}); err != nil {
		return nil, err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for _, field := range fields {
		_ = encoder.WriteField(qpack.HeaderField{Name: field[0], Value: field[1]}) // to memory
	}
	frame := append(quicvarint.Append([]byte{h3Headers}, uint64(block.Len())), block.Bytes()...)
	if _, err := stream.Write(frame); err != nil {
		return nil, err
	}
	_ = stream.Close() // the end of the request; it may have been refused by now
	reader := bufio.NewReader(stream)
	for {
		kind, err := quicvarint.Read(reader)
		if err != nil {
			return nil, err
		}
		length, err := quicvarint.Read(reader)
		if err != nil {
			return nil, err
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(reader, payload); err != nil {
			return nil, err
		}
		if kind != h3Headers {
			continue
		}
		decode := qpack.NewDecoder().Decode(payload)
		for {
			field, err := decode()
			if errors.Is(err, io.EOF) {
				return answered, nil
			}
			if err != nil {
				return nil, err
			}
			answered = append(answered, [2]string{field.Name, field.Value})
		}
	}
}

// secureSpoofSites are spoofSites on HTTPS, with an error route.
const secureSpoofSites = `
https://shop-a.localhost:$HTTPS {
	tls $CERT $KEY
	vipps_login /account/* 123456 {
		header Remote-User sub
		header X-Shop msn
	}
	error /missing 404
	reverse_proxy $UPSTREAM
	handle_errors {
		reverse_proxy $UPSTREAM
	}
}
`

// TestSpoofedHeadersOverHTTP2And3, where names are in lower case, Connection is not allowed, and trailers come
// in a frame of their own; in every spelling, and on every kind of request, OPTIONS and errors too
// (CVE-2026-30851, CVE-2025-64484, CVE-2026-52845, GHSA-49wc-4hcv-v58q).
func TestSpoofedHeadersOverHTTP2And3(t *testing.T) {
	w := harness.NewWorld(t)
	w.StartHTTP3(secureSpoofSites, strings.TrimPrefix(harness.AllowAliases, "protocols h1 h2"))
	shop := w.SecureShop("shop-a.localhost")
	var spoofed []string
	trailers := http.Header{"X-Kept": {"1"}}
	for _, spelling := range harness.SpoofedSpellings {
		spoofed = append(spoofed, spelling+": evil")
		trailers[spelling] = []string{"evil"}
	}
	for major, newBrowser := range transports {
		b, stranger := newBrowser(t), newBrowser(t)
		b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
		w.Upstream.Last(t)
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "X-VIPPS"} {
			for _, path := range []string{"/public", "/missing", "/account", "/account/", "/vipps/other", "/vipps/userinfo"} {
				for who, someone := range map[string]*harness.Browser{"stranger": stranger, "user": b} {
					says := fmt.Sprintf("HTTP/%d, %s %s %s", major, who, method, path)
					req := harness.NewRequest(t, method, shop+path, nil)
					for _, line := range spoofed {
						name, value, _ := strings.Cut(line, ": ")
						req.Header[name] = []string{value} // as it is spelt
					}
					if method != "GET" && method != "HEAD" && method != "TRACE" {
						req.Body, req.ContentLength, req.Trailer = io.NopCloser(strings.NewReader("body")), -1, trailers.Clone()
						req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("body")), nil } // for a connection that the server ends
					}
					if a := someone.Do(req); a.ProtoMajor != major {
						t.Fatalf("%s: HTTP/%d", says, a.ProtoMajor)
					}
					if reaches := path != "/vipps/userinfo" && (path != "/account/" || who == "user"); !reaches || w.Upstream.Count() == 0 {
						if reaches || w.Upstream.Count() > 0 {
							t.Errorf("%s: the site got %d requests", says, w.Upstream.Count())
						}
						continue
					}
					r := w.Upstream.Last(t)
					for _, header := range []http.Header{r.Header, r.Trailer} {
						for field, values := range header {
							if strings.Contains(strings.Join(values, ","), "evil") {
								t.Errorf("%s: the site got %s", says, field)
							}
						}
					}
					if sub := r.Header.Get("X-Vipps-Sub"); (sub == "") != (who == "stranger") && path != "/missing" {
						t.Errorf("%s: sub %q", says, sub)
					}
				}
			}
		}
	}
}

// TestIdentityCannotBeMadeToVanishOverHTTP2And3: Connection has no place there, and whoever sends it all the
// same is refused, or the site is told who the person is (CVE-2025-48865).
func TestIdentityCannotBeMadeToVanishOverHTTP2And3(t *testing.T) {
	w := harness.NewWorld(t)
	w.StartHTTP3(secureSpoofSites, "")
	b := harness.NewBrowser(t)
	b.Login(w.SecureShop("shop-a.localhost")+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Upstream.Last(t)
	session := b.Cookies(w.SecureShop("shop-a.localhost") + "/")
	for major := range transports {
		for _, extra := range []string{"connection: x-vipps-sub, remote-user, x-shop", "Connection: x-vipps-sub", "proxy-connection: x-vipps-sub", "keep-alive: x-vipps-sub",
			"te: x-vipps-sub", "upgrade: x-vipps-sub", "transfer-encoding: x-vipps-sub", "trailer: x-vipps-sub, remote-user"} {
			status, _ := rawFields(t, major, w.HTTPS, ":method: GET", ":scheme: https", ":authority: shop-a.localhost", ":path: /account/", "cookie: "+session, extra)
			if status != http.StatusOK && status != http.StatusBadRequest {
				t.Errorf("HTTP/%d, %s: %d", major, extra, status)
			}
			if status != http.StatusOK {
				continue
			}
			r := w.Upstream.Last(t)
			for _, field := range []string{"X-Vipps-Sub", "X-Vipps-Msn", "X-Vipps-Name", "Remote-User", "X-Shop"} {
				if r.Header.Get(field) == "" {
					t.Errorf("HTTP/%d: %q took %s away", major, extra, field)
				}
			}
		}
		// Browsers send cookies in pieces here (RFC 9113 section 8.2.3, RFC 9114 section 4.2.1).
		fields := []string{":method: GET", ":scheme: https", ":authority: shop-a.localhost", ":path: /account/", "cookie: a=1"}
		for _, pair := range strings.Split(session, "; ") {
			fields = append(fields, "cookie: "+pair)
		}
		if status, _ := rawFields(t, major, w.HTTPS, append(fields, "cookie: b=2")...); status != http.StatusOK {
			t.Errorf("HTTP/%d, cookies in pieces: %d", major, status)
		} else if got := w.Upstream.Last(t).Header["Cookie"]; !slices.Equal(got, []string{"a=1; b=2"}) {
			t.Errorf("HTTP/%d, cookies in pieces: the site got %q", major, got)
		}
	}
}

// TestLoginOverHTTP3: a whole login, what the site is told, and a logout, with no other HTTP than this.
func TestLoginOverHTTP3(t *testing.T) {
	w := harness.NewWorld(t)
	w.StartHTTP3("https://shop-a.localhost:$HTTPS {\n\ttls $CERT $KEY\n\tvipps_login 123456\n\treverse_proxy $UPSTREAM\n}\n", "")
	shop := w.SecureShop("shop-a.localhost")
	b := newHTTP3Browser(t)
	if asked := harness.MustQuery(t, b.Get(shop+"/").RedirectTo()).Get("redirect_uri"); asked != shop+"/vipps/callback" {
		t.Errorf("redirect_uri %s", asked)
	}
	page := b.Login(shop+"/account/?x=1", harness.Kari).WantStatus(t, http.StatusOK)
	r := w.Upstream.Last(t)
	if page.ProtoMajor != 3 || page.Request.URL.String() != shop+"/account/?x=1" || r.Header.Get("X-Vipps-Name") != "Kari Nordmann" || r.Header.Get("Cookie") != "" {
		t.Errorf("HTTP/%d at %s, the site got %v", page.ProtoMajor, page.Request.URL, r.Header)
	}
	if !strings.HasPrefix(b.Cookies(shop+"/"), "__Host-") {
		t.Errorf("cookies: %s", b.Cookies(shop+"/"))
	}
	b.Get(shop+"/vipps/userinfo").WantStatus(t, http.StatusOK)
	thief := newHTTP3Browser(t)
	stolen := "Cookie: " + b.Cookies(shop+"/")
	thief.Get(shop+"/", stolen).WantStatus(t, http.StatusOK)
	b.Get(shop+"/vipps/logout").WantStatus(t, http.StatusFound)
	b.Get(shop+"/").WantStatus(t, http.StatusFound)
	thief.Get(shop+"/", stolen).WantStatus(t, http.StatusFound)
	b.Get(shop+"/vipps/callback?state=x&code=y").WantStatus(t, http.StatusBadRequest)
}

// TestPseudoHeaderTricks is TestHostTricks where hosts, paths and methods are fields of their own.
func TestPseudoHeaderTricks(t *testing.T) {
	w := harness.NewWorld(t)
	w.StartHTTP3(`
https://:$HTTPS {
	tls $CERT $KEY
	vipps_login {
		merchant 123456 shop-a.localhost
		merchant 234567 *.shops.localhost
	}
	reverse_proxy $UPSTREAM
}
`, "")
	const method, scheme, path, here = ":method: GET", ":scheme: https", ":path: /", ":authority: shop-a.localhost"
	request := func(authority string) []string { return []string{method, scheme, ":authority: " + authority, path} }
	registered := []string{w.SecureShop("shop-a.localhost") + "/vipps/callback", w.SecureShop("x.shops.localhost") + "/vipps/callback"}
	for name, test := range map[string]struct {
		fields []string
		want   int // or 400
	}{
		"the host":                    {request("shop-a.localhost"), 302},
		"with the port":               {request(fmt.Sprintf("shop-a.localhost:%d", w.HTTPS)), 302},
		"with another port":           {request("shop-a.localhost:1"), 302},
		"another spelling":            {request("SHOP-A.LocalHost."), 308},
		"of a wildcard":               {request("X.shops.localhost."), 308},
		"unknown":                     {request("evil.example"), 421},
		"unknown, forwarded":          {append(request("evil.example"), "x-forwarded-host: shop-a.localhost", "x-forwarded-proto: https"), 421},
		"forwarded elsewhere":         {append(request("shop-a.localhost"), "x-forwarded-host: evil.example", "x-forwarded-proto: http", "forwarded: host=evil.example"), 302},
		"two dots":                    {request("shop-a.localhost.."), 421},
		"user":                        {request("shop-a.localhost@evil.example"), 421},
		"our user":                    {request("evil.example@shop-a.localhost"), 421},
		"path in it":                  {request("shop-a.localhost/account"), 421},
		"list":                        {request("shop-a.localhost, evil.example"), 421},
		"blank":                       {request("shop-a.localhost evil.example"), 421},
		"percent":                     {request("shop-a%2elocalhost"), 421},
		"empty":                       {request(""), 421},
		"an address":                  {request(fmt.Sprintf("127.0.0.1:%d", w.HTTPS)), 421},
		"Host alone":                  {[]string{method, scheme, path, "host: shop-a.localhost"}, 302},
		"Host alone, unknown":         {[]string{method, scheme, path, "host: evil.example"}, 421},
		"no host":                     {[]string{method, scheme, path}, 421},
		"Host of another":             {append(request("shop-a.localhost"), "host: evil.example"), 302},
		"Host of ours":                {append(request("evil.example"), "host: shop-a.localhost"), 421},
		"two authorities":             {[]string{method, scheme, here, ":authority: evil.example", path}, 400},
		"two Hosts":                   {[]string{method, scheme, path, "host: shop-a.localhost", "host: evil.example"}, 400},
		"after a field":               {[]string{method, scheme, path, "accept: text/html", here}, 400},
		"two paths":                   {[]string{method, scheme, here, path, ":path: /public"}, 400},
		"two methods":                 {[]string{method, ":method: OPTIONS", scheme, here, path}, 400},
		"no path":                     {[]string{method, scheme, here}, 400},
		"empty path":                  {[]string{method, scheme, here, ":path: "}, 400},
		"star":                        {[]string{method, scheme, here, ":path: *"}, 302},
		"relative path":               {[]string{method, scheme, here, ":path: account/"}, 400},
		"absolute path, ours":         {[]string{method, scheme, here, ":path: https://shop-a.localhost/"}, 302},
		"absolute path, elsewhere":    {[]string{method, scheme, here, ":path: https://evil.example/"}, 302},
		"two slashes":                 {[]string{method, scheme, here, ":path: //evil.example/"}, 302},
		"scheme of plain HTTP":        {[]string{method, ":scheme: http", here, path}, 302},
		"scheme of a script":          {[]string{method, ":scheme: javascript", here, path}, 302},
		"no scheme":                   {[]string{method, here, path}, 302},
		"unknown pseudo-header":       {append([]string{":evil: 1"}, request("shop-a.localhost")...), 400},
		"status":                      {append([]string{":status: 200"}, request("shop-a.localhost")...), 400},
		"protocol without CONNECT":    {append([]string{":protocol: websocket"}, request("shop-a.localhost")...), 400},
		"upper case":                  {append(request("shop-a.localhost"), "X-Vipps-Sub: evil"), 400},
		"line break":                  {append(request("shop-a.localhost"), "x-a: b\r\nx-vipps-sub: evil"), 400},
		"line break in a name":        {append(request("shop-a.localhost"), "x-a\r\nx-vipps-sub: evil"), 400},
		"line break in the path":      {[]string{method, scheme, here, ":path: / HTTP/1.1\r\nX-Vipps-Sub: evil"}, 400},
		"line break in the method":    {[]string{":method: GET / HTTP/1.1\r\nX: y", scheme, here, path}, 400},
		"line break in the authority": {request("shop-a.localhost\r\nX-Vipps-Sub: evil"), 421},
		"CONNECT":                     {[]string{":method: CONNECT", here}, 401},
		"CONNECT to a path":           {[]string{":method: CONNECT", ":authority: /account/"}, 421},
		"CONNECT with a path":         {[]string{":method: CONNECT", scheme, here, path}, 400},
		"lower case method":           {[]string{":method: get", scheme, here, path}, 401},
	} {
		for major := range transports {
			got, header := rawFields(t, major, w.HTTPS, append(slices.Clone(test.fields), "sec-fetch-mode: navigate", "sec-fetch-dest: document")...)
			if got != test.want && got != http.StatusBadRequest || got == http.StatusBadRequest && test.want < 400 && !mayRefuse[name] {
				t.Errorf("HTTP/%d, %s: got %d, want %d", major, name, got, test.want)
			}
			if to := header.Get("Location"); got == http.StatusFound && (!strings.HasPrefix(to, w.Vipps.URL+"/") || !slices.Contains(registered, harness.MustQuery(t, to).Get("redirect_uri"))) {
				t.Errorf("HTTP/%d, %s: led to %s", major, name, to)
			}
		}
	}
	if w.Upstream.Count() > 0 {
		t.Errorf("the site got %s", w.Upstream.Last(t).RequestURI)
	}
}

// mayRefuse are tricks that one of Go's servers refuses by itself, and the other lets through to us.
var mayRefuse = map[string]bool{
	"Host of another": true, "star": true, "absolute path, ours": true, "absolute path, elsewhere": true, "scheme of plain HTTP": true, "scheme of a script": true, "no scheme": true,
}

// TestPathTricksOverHTTP2And3 is TestPathTricks where no parser of request lines comes first.
func TestPathTricksOverHTTP2And3(t *testing.T) {
	w := harness.NewWorld(t)
	w.StartHTTP3(secureSpoofSites, "")
	for major := range transports {
		ask := func(path string) int {
			status, _ := rawFields(t, major, w.HTTPS, ":method: GET", ":scheme: https", ":authority: shop-a.localhost", ":path: "+path,
				"sec-fetch-mode: navigate", "sec-fetch-dest: document", "x-original-url: /public", "x-rewrite-url: /public", "x-forwarded-uri: /public")
			return status
		}
		for _, path := range closedPaths {
			if got := ask(path); got != http.StatusFound && got != http.StatusBadRequest || w.Upstream.Count() > 0 {
				t.Errorf("HTTP/%d, %s: got %d, and the site %d requests", major, path, got, w.Upstream.Count())
			}
		}
		for _, path := range openPaths {
			if got := ask(path); got != http.StatusOK {
				t.Errorf("HTTP/%d, %s: got %d, want the site's 200", major, path, got)
			}
		}
		for path, want := range map[string]int{"/vipps/login": 302, "/vipps/userinfo": 401, "/vipps/callback": 400, "/vipps/logout": 302} {
			if got := ask(path); got != want {
				t.Errorf("HTTP/%d, %s: got %d, want %d", major, path, got, want)
			}
		}
		w.Upstream.Mutex.Lock()
		w.Upstream.Requests = nil
		w.Upstream.Mutex.Unlock()
	}
}

// TestWebsocketsByConnect: Caddy makes an extended CONNECT (RFC 8441, RFC 9220) a GET with Upgrade for the
// site, so it needs a session wherever either of the two needs one. Endpoints are no websockets.
func TestWebsocketsByConnect(t *testing.T) {
	matchers := map[string]bool{ // whether a websocket needs a login
		"path /account/*": true, "method GET": true, "method CONNECT": true, "header Upgrade websocket": true, "header Connection *Upgrade*": true,
		"expression {http.request.method}=='GET'&&{http.request.header.Upgrade}=='websocket'": true, "expression path('/account/*')&&header({'Upgrade':'websocket'})": true, "path /other/*": false, "method POST": false,
	}
	hosts := map[string]string{}
	for matcher := range matchers {
		hosts[matcher] = fmt.Sprintf("shop%d.localhost", len(hosts))
	}
	w := harness.WorldWith(t, func(w *harness.World) []simulator.Merchant {
		var uris []string
		for _, host := range hosts {
			uris = append(uris, w.SecureShop(host)+"/vipps/callback")
		}
		return []simulator.Merchant{{MSN: "123456", RedirectURIs: uris}}
	})
	var sites strings.Builder
	for matcher, host := range hosts {
		fmt.Fprintf(&sites, "https://%s:$HTTP {\n\ttls $CERT $KEY\n\ttracing\n\t@needed %s\n\tvipps_login @needed 123456\n\treverse_proxy $UPSTREAM\n}\n", host, matcher)
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	t.Setenv("GODEBUG", "http2xconnect=1") // which is how a Caddy is told to do this over HTTP/2, too
	w.StartHTTP3(sites.String(), "")
	for matcher, needed := range matchers {
		for major, newBrowser := range transports {
			t.Run(fmt.Sprintf("HTTP %d, %s", major, matcher), func(t *testing.T) {
				shop := w.SecureShop(hosts[matcher])
				b := newBrowser(t)
				b.Follow(b.Consent(b.Follow(b.Get(shop+"/vipps/login")), harness.Approve(harness.Kari))).WantStatus(t, http.StatusOK)
				w.Upstream.Last(t)
				connect := func(path string, extra ...string) int {
					status, _ := rawFields(t, major, w.HTTPS, append([]string{":method: CONNECT", ":protocol: websocket", ":scheme: https", ":authority: " + hosts[matcher], ":path: " + path,
						"sec-websocket-version: 13", "x-vipps-sub: evil"}, extra...)...)
					return status
				}
				got := connect("/account/socket")
				if want := map[bool]int{true: http.StatusUnauthorized, false: http.StatusOK}[needed]; got != want || (w.Upstream.Count() > 0) == needed {
					t.Errorf("without a session: %d, and the site got %d requests", got, w.Upstream.Count())
				}
				if strings.Contains(matcher, "/account/") {
					if got := connect("/;x/account/socket"); got != http.StatusUnauthorized {
						t.Errorf("without a session, for a path with a parameter: %d", got)
					}
				}
				if !needed && w.Upstream.Last(t).Header.Get("X-Vipps-Sub") != "" {
					t.Error("the site got what a stranger says")
				}
				got = connect("/account/socket", "cookie: "+b.Cookies(shop+"/"))
				if r := w.Upstream.Last(t); got != http.StatusOK || r.Method != http.MethodGet || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("X-Vipps-Name") != "Kari Nordmann" {
					t.Errorf("with a session: %d, and the site got %s %v", got, r.Method, r.Header)
				}
				for _, path := range []string{"/vipps/login", "/vipps/callback?state=x&code=y", "/vipps/userinfo"} {
					if got := connect(path, "cookie: "+b.Cookies(shop+"/")); got != http.StatusMethodNotAllowed {
						t.Errorf("%s: %d", path, got)
					}
				}
			})
		}
	}
}
