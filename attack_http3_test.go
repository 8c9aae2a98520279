package vippslogin_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// TestEarlyData: what comes before the TLS handshake is over can be sent once more by anybody on the network
// (RFC 8446 section 8), so no endpoint answers it: not behind a proxy that says so (RFC 8470 section 5.1), and
// not where Caddy takes it itself, over HTTP/3.
func TestEarlyData(t *testing.T) {
	w := newWorld(t)
	w.loadWhole(strings.Replace(w.globals(), "protocols h1 h2", "protocols h1 h2 h3", 1) + secureShops)
	shop := w.secureShop("shop-a.localhost")
	b := newBrowser(t)
	callback := b.approved(shop+"/page", kari).location()
	w.vipps.counted()
	for _, target := range []string{callback, shop + "/vipps/login", shop + "/vipps/logout", shop + "/vipps/userinfo"} {
		if a := b.get(target, "Early-Data: 1").wantStatus(t, http.StatusTooEarly); len(a.Cookies()) > 0 || a.location() != "" {
			t.Errorf("%s: cookies %v, led to %q", target, a.Cookies(), a.location())
		}
	}
	if calls := w.vipps.counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	b.follow(b.get(callback)).wantStatus(t, http.StatusOK) // the browser's second try
	b.get(shop+"/page", "Early-Data: 1").wantStatus(t, http.StatusOK)

	early := &earlyClient{t: t, tls: &tls.Config{InsecureSkipVerify: true, ServerName: "shop-a.localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}}
	early.get(http.MethodGet, shop+"/vipps/logout") // for a ticket
	// Whether the handshake is over before Caddy's goroutine looks is a race, which the client wins nearly always.
	waitFor(t, func() bool { return early.get(http3.MethodGet0RTT, shop+"/vipps/login") == http.StatusTooEarly })
	if status := early.get(http.MethodGet, shop+"/vipps/login"); status != http.StatusFound {
		t.Errorf("after the handshake: got %d", status)
	}
}

// earlyClient makes a connection over QUIC for each request, with the session ticket of an earlier one.
type earlyClient struct {
	t   *testing.T
	tls *tls.Config
}

func (c *earlyClient) get(method, target string) int {
	c.t.Helper()
	transport := &http3.Transport{
		TLSClientConfig: c.tls,
		Dial: func(ctx context.Context, address string, config *tls.Config, quicConfig *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, strings.Replace(address, "shop-a.localhost", "127.0.0.1", 1), config, quicConfig)
		},
	}
	defer transport.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestWebsocketsOverHTTP3 are a CONNECT of a kind of their own (RFC 9220), of which Caddy's proxy makes a GET
// with Upgrade: the matcher is asked about that, too.
func TestWebsocketsOverHTTP3(t *testing.T) {
	w := newWorld(t)
	w.loadWhole(strings.Replace(w.globals(), "protocols h1 h2", "protocols h1 h2 h3", 1) + `
https://shop-a.localhost:$HTTPS {
	tls $CERT $KEY
	vipps_login /account/* 123456
	reverse_proxy $UPSTREAM
}
https://shop-b.localhost:$HTTPS {
	tls $CERT $KEY
	@pages method GET HEAD
	vipps_login @pages 234567
	reverse_proxy $UPSTREAM
}
https://shop-c.localhost:$HTTPS {
	tls $CERT $KEY
	@websockets {
		path /account/*
		header Connection *Upgrade*
		header Upgrade websocket
	}
	vipps_login @websockets 123456
	reverse_proxy $UPSTREAM
}
`)
	for address, want := range map[string]int{
		w.secureShop("shop-a.localhost") + "/account/x": 401, w.secureShop("shop-a.localhost") + "/y/../account/x": 401, w.secureShop("shop-a.localhost") + "/public": 200,
		w.secureShop("shop-b.localhost") + "/":          401,
		w.secureShop("shop-c.localhost") + "/account/x": 401, w.secureShop("shop-c.localhost") + "/;/account/x": 401, w.secureShop("shop-c.localhost") + "/public": 200,
	} {
		w.upstream.mu.Lock()
		w.upstream.requests = nil
		w.upstream.mu.Unlock()
		if got := extendedConnect(t, address); got != want || (w.upstream.count() > 0) != (want == http.StatusOK) {
			t.Errorf("%s: got %d, want %d, and the site %d requests", address, got, want, w.upstream.count())
		}
	}
}

// extendedConnect asks for a websocket over HTTP/3.
func extendedConnect(t *testing.T, address string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req := newRequest(t, http.MethodConnect, address, nil, "Sec-WebSocket-Version: 13")
	req.Proto = "websocket"
	host, port, _ := strings.Cut(req.URL.Host, ":")
	conn, err := quic.DialAddr(ctx, "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true, ServerName: host, NextProtos: []string{http3.NextProtoH3}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	client := new(http3.Transport).NewClientConn(conn)
	<-client.ReceivedSettings()
	stream, err := client.OpenRequestStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendRequestHeader(req); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}
