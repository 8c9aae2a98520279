package attack_test

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

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestEarlyData: what comes before the TLS handshake is over can be sent once more by anybody on the network
// (RFC 8446 section 8), so no endpoint answers it: not behind a proxy that says so (RFC 8470 section 5.1), and
// not where Caddy takes it itself, over HTTP/3.
func TestEarlyData(t *testing.T) {
	w := harness.NewWorld(t)
	w.StartHTTP3(harness.SecureShops+`
https://shop-d.localhost:$HTTPS {
	tls $CERT $KEY
	@outside not client_ip 10.0.0.0/8
	vipps_login @outside 123456
	reverse_proxy $UPSTREAM
	handle_errors {
		reverse_proxy $UPSTREAM
	}
}
`, "")
	shop := w.SecureShop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Get(shop+"/vipps/login", "Early-Data: 0").WantStatus(t, http.StatusTooEarly) // RFC 8470 section 5.1
	callback := b.Approved(shop+"/page", harness.Kari).RedirectTo()
	w.Vipps.Counted()
	for _, target := range []string{callback, shop + "/vipps/login", shop + "/vipps/logout", shop + "/vipps/userinfo"} {
		if a := b.Get(target, "Early-Data: 1").WantStatus(t, http.StatusTooEarly); len(a.Cookies()) > 0 || a.RedirectTo() != "" {
			t.Errorf("%s: cookies %v, led to %q", target, a.Cookies(), a.RedirectTo())
		}
	}
	if calls := w.Vipps.Counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	b.Follow(b.Get(callback)).WantStatus(t, http.StatusOK) // the browser's second try
	b.Get(shop+"/page", "Early-Data: 1").WantStatus(t, http.StatusOK)

	early := &earlyClient{t: t, tls: &tls.Config{InsecureSkipVerify: true, ServerName: "shop-a.localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}}
	early.get(http.MethodGet, shop+"/vipps/logout") // for a ticket
	// Whether the handshake is over before Caddy's goroutine looks is a race, which the client wins nearly always.
	harness.WaitFor(t, func() bool { return early.get(http3.MethodGet0RTT, shop+"/vipps/login") == http.StatusTooEarly })
	// A matcher that asks for the client's address fails until then.
	b.Follow(b.Get(shop+"/page")).WantStatus(t, http.StatusOK)
	w.Upstream.Last(t)
	inside := &earlyClient{t: t, tls: &tls.Config{InsecureSkipVerify: true, ServerName: "shop-d.localhost", ClientSessionCache: tls.NewLRUClientSessionCache(1)}}
	inside.get(http.MethodGet, w.SecureShop("shop-d.localhost")+"/vipps/logout")
	harness.WaitFor(t, func() bool {
		return inside.get(http3.MethodGet0RTT, w.SecureShop("shop-d.localhost")+"/secret") == http.StatusTooEarly
	})
	if w.Upstream.Count() > 0 {
		t.Errorf("the site got %s", w.Upstream.Last(t).URL)
	}
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
			return quic.DialAddrEarly(ctx, "127.0.0.1"+address[strings.LastIndexByte(address, ':'):], config, quicConfig)
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
