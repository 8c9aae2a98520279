package stacks_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// rawAttacks are requests that no client library sends, of a host: without the blank line, after which a body may come.
func rawAttacks(host string) map[string]string {
	const chunked = "\r\nTransfer-Encoding: chunked\r\n"
	get := func(line, header string) string { return line + "\r\nHost: " + host + "\r\n" + header }
	return map[string]string{
		"HTTP/1.0":                 get("GET / HTTP/1.0", "X-Vipps-Sub: evil\r\n"),
		"absolute form":            get("GET http://"+host+"/ HTTP/1.1", "X-Vipps-Sub: evil\r\n"),
		"very long":                get("GET / HTTP/1.1", "X-Vipps-Sub: "+strings.Repeat("evil", 10<<10)+"\r\n"),
		"a hundred times":          get("GET / HTTP/1.1", strings.Repeat("X-Vipps-Sub: evil\r\n", 100)),
		"a space before the colon": get("GET / HTTP/1.1", "X-Vipps-Sub : evil\r\n"),
		"a folded line":            get("GET / HTTP/1.1", "X-Fill: a\r\n X-Vipps-Sub: folded\r\n"),
		"other signs":              get("GET / HTTP/1.1", "X~Vipps~Sub: evil\r\nX!Vipps!Sub: evil\r\nX'Vipps*Sub: evil\r\n"),
		"Connection twice":         get("GET / HTTP/1.1", "Connection: close\r\nConnection: x-vipps-sub\r\nX-Vipps-Sub: evil\r\n"),
		"a trailer":                get("POST / HTTP/1.1", "Trailer: X-Vipps-Sub"+chunked) + "$BODY4\r\nbody\r\n0\r\nX-Vipps-Sub: evil\r\n",
		"a trailer not announced":  get("POST / HTTP/1.1", chunked[2:]) + "$BODY4\r\nbody\r\n0\r\nX-Vipps-Sub: evil\r\n",
		"a trailer with TE":        get("POST / HTTP/1.1", "TE: trailers\r\nTrailer: X_Vipps_Sub"+chunked) + "$BODY4\r\nbody\r\n0\r\nX_Vipps_Sub: evil\r\n",
	}
}

// attackRaw is attack with requests written by hand.
func (r *trial) attackRaw() string {
	r.T.Helper()
	found := miss
	sub := *r.ask("utf8").Sub
	for _, port := range []int{r.HTTP, r.HTTPS} {
		shop := fmt.Sprintf("%s-utf8.localhost:%d", r.key, port)
		for what, request := range rawAttacks(shop) {
			head, body, hasBody := strings.Cut(request, "$BODY")
			if hasBody && r.stack.protocol == h2c {
				continue // an answer before the end of the body is a race inside Caddy 2.11.9 (bodyNopCloserIfNotRead)
			}
			for who, cookie := range map[string]string{sub: r.b.Cookies("http://" + shop + "/"), "": "lang=nb"} {
				got := r.sendRaw(port, head+"Cookie: "+cookie+"\r\n\r\n"+body+"\r\n")
				a := answer{status: got.StatusCode}
				if got.StatusCode == http.StatusOK {
					a = r.read(got)
				}
				if strings.Contains(got.Text, "evil") || a.Sub != nil && *a.Sub != who || got.StatusCode == http.StatusOK && a.Sub == nil && who != "" {
					r.T.Errorf("%s, by %q: %d %s", what, who, got.StatusCode, got.Text)
					found = hit
				}
			}
		}
	}
	return found
}

func (r *trial) sendRaw(port int, request string) harness.Answer {
	r.T.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		r.T.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, request)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		r.T.Fatalf("%v after %.200s", err, request)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil { // a server that has answered need not wait for the rest of a request, and what it cuts off says nothing
		response.StatusCode = 0
	}
	return harness.Answer{Response: response, Text: string(body)}
}
