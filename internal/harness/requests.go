package harness

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func RawGetWith(t *testing.T, port int, path, headers string) int {
	t.Helper()
	status, _ := TryRequest(t, port, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: shop-a.localhost\r\nAccept: text/html\r\nConnection: close\r\n%s\r\n", path, headers))
	return status
}

// TryRequest is rawRequest for what may be answered by closing the connection: that is status 400, where it is done
// each time. When Caddy reloads, it may close one that the old listener has taken.
func TryRequest(t *testing.T, port int, raw string) (int, http.Header) {
	t.Helper()
	for range 3 {
		conn := dial(t, port)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, raw)
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			defer resp.Body.Close()
			return resp.StatusCode, resp.Header
		}
	}
	return http.StatusBadRequest, nil
}

// WithQuery returns address with other query parameters: "name=value", or "-name" to take one away.
func WithQuery(t testing.TB, address string, changes ...string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	for _, change := range changes {
		if name, ok := strings.CutPrefix(change, "-"); ok {
			query.Del(name)
			continue
		}
		name, value, _ := strings.Cut(change, "=")
		query.Set(name, value)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// MustQuery returns the query of an address.
func MustQuery(t testing.TB, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// AlterCookies flips a character of each cookie.
func AlterCookies(b *Browser, address string) {
	u, _ := url.Parse(address)
	cookies := b.Client.Jar.Cookies(u)
	for _, c := range cookies {
		c.Path = "/"
		if i := len(c.Value) / 2; c.Value[i] == 'A' {
			c.Value = c.Value[:i] + "B" + c.Value[i+1:]
		} else {
			c.Value = c.Value[:i] + "A" + c.Value[i+1:]
		}
	}
	b.Client.Jar.SetCookies(u, cookies)
}

const SecureShops = `
https://shop-a.localhost:$HTTPS {
	tls $CERT $KEY
	vipps_login 123456
	reverse_proxy $UPSTREAM
}
https://shop-b.localhost:$HTTPS {
	tls $CERT $KEY
	vipps_login 234567
	reverse_proxy $UPSTREAM
}
https://shop-c.localhost:$HTTPS {
	tls $CERT $KEY
	vipps_login 123456
	reverse_proxy $UPSTREAM
}
`

func NewReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// RawRequest sends bytes as they are and returns the answer's status and header.
func RawRequest(t *testing.T, port int, raw string) (int, http.Header) {
	t.Helper()
	conn := dial(t, port)
	defer conn.Close()
	if _, err := conn.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// dial connects to Caddy, which may be about to hand its listener over to the next config.
func dial(t *testing.T, port int) (conn net.Conn) {
	t.Helper()
	WaitFor(t, func() bool {
		var err error
		conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil
	})
	return conn
}
