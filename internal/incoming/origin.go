package incoming

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// Origin is scheme, canonical host, and the port unless it is the scheme's default, as the browser sees them.
type Origin struct {
	Scheme, Host, Port string
}

// Secure reports whether the browser reached us over HTTPS.
func (o Origin) Secure() bool { return o.Scheme == "https" }

// URL returns path on this origin. Whatever path is, the result stays on the origin: for this reason no redirect of ours is
// relative.
func (o Origin) URL(path string) string {
	host := o.Host
	if strings.IndexByte(host, ':') >= 0 {
		host = "[" + host + "]"
	}
	if o.Port != "" {
		return o.Scheme + "://" + host + ":" + o.Port + path
	}
	return o.Scheme + "://" + host + path
}

// Origins determines the origin of requests.
type Origins struct {
	// Public is the configured origin, or nil to use the request's. Its host is "" for the request's host.
	Public *Origin
	// HTTPPort and HTTPSPort are Caddy's http_port and https_port, which browsers reach as 80 and 443.
	HTTPPort, HTTPSPort string
}

// Of returns the origin of r, and the canonical host that r asks for, which is the same unless Public says otherwise.
// X-Forwarded-* headers count only from a peer in Caddy's trusted_proxies: any client can send them (CVE-2024-21498). It is
// false if the request has no usable host.
func (os *Origins) Of(r *http.Request) (o Origin, asked string, ok bool) {
	asked, ok = merchant.CanonicalHost(SentHost(r))
	switch {
	case os.Public != nil:
		o = *os.Public
		if o.Host == "" {
			o.Host = asked
		}
		return o, asked, ok
	case fromTrustedProxy(r):
		if scheme := forwardedScheme(r); scheme != "" {
			return NewOrigin(scheme, asked, credible(scheme, forwardedPort(r))), asked, ok
		}
	}
	if r.TLS != nil {
		return NewOrigin("https", asked, os.directPort(r, os.HTTPSPort)), asked, ok
	}
	return NewOrigin("http", asked, os.directPort(r, os.HTTPPort)), asked, ok
}

// NewOrigin returns an Origin, without a port that is the scheme's default.
func NewOrigin(scheme, host, port string) Origin {
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		port = ""
	}
	return Origin{scheme, host, port}
}

// forwardedScheme returns the browser's scheme as a trusted proxy tells it, or "" if that is missing or unknown. Traefik sends
// ws and wss for websockets.
func forwardedScheme(r *http.Request) string {
	switch nearest(lastValue(r.Header, "X-Forwarded-Proto")) {
	case "https", "wss":
		return "https"
	case "http", "ws":
		return "http"
	}
	return ""
}

// IsStrangeScheme reports whether a trusted proxy names a scheme that we do not know.
func IsStrangeScheme(r *http.Request) bool {
	return len(r.Header["X-Forwarded-Proto"]) > 0 && fromTrustedProxy(r) && forwardedScheme(r) == ""
}

// forwardedPort returns the port that a trusted proxy tells: in X-Forwarded-Host, in X-Forwarded-Port, or in Host.
func forwardedPort(r *http.Request) string {
	host := forwardedHost(r)
	if port := portOf(host); port != "" {
		return port
	}
	if port := nearest(lastValue(r.Header, "X-Forwarded-Port")); IsPort(port) {
		return port
	}
	if host != "" {
		return ""
	}
	return portOf(r.Host)
}

// credible drops the default port of the other scheme: of two proxies, the outer may tell https, and the inner its own port
// 80. No browser sees such an origin.
func credible(scheme, port string) string {
	if scheme == "https" && port == "80" || scheme == "http" && port == "443" {
		return ""
	}
	return port
}

// directPort returns the port that the browser sees without a proxy: that of Host, if it is the listener's. A Host without a
// port means the scheme's default if the listener has Caddy's http_port or https_port (8443 in a container, 443 outside), as
// in Caddy's redirects to HTTPS.
func (os *Origins) directPort(r *http.Request, own string) string {
	port := localPort(r)
	if port == own && portOf(r.Host) == "" {
		return ""
	}
	return port
}

// portOf returns the port of a Host header, or "".
func portOf(hostport string) string {
	if bare := merchant.WithoutPort(hostport); bare != hostport && IsPort(hostport[len(bare)+1:]) {
		return hostport[len(bare)+1:]
	}
	return ""
}

// IsPort reports whether s is a port as browsers write it: no sign, and no zero before it.
func IsPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s == strconv.FormatUint(n, 10)
}

// IsMisspelt reports whether the host of r is not in its canonical spelling: it has a final dot, capitals, or letters outside
// ASCII. Browsers keep separate cookies for some of these.
func IsMisspelt(r *http.Request, canonical string) bool {
	host := merchant.WithoutPort(SentHost(r))
	if strings.HasPrefix(host, "[") {
		host = strings.TrimSuffix(host[1:], "]")
	}
	return host != canonical
}

// SentHost returns the Host that the client sent, as a trusted proxy tells it.
func SentHost(r *http.Request) string {
	if forwarded := forwardedHost(r); forwarded != "" && fromTrustedProxy(r) {
		return forwarded
	}
	return r.Host
}

// forwardedHost returns the host that the nearest proxy tells, or "". Apache appends its own to that of a proxy before it.
func forwardedHost(r *http.Request) string {
	return lastOf(lastValue(r.Header, "X-Forwarded-Host"))
}

func fromTrustedProxy(r *http.Request) bool {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

// lastValue returns the value that the nearest proxy wrote, as Caddy's reverse_proxy reads it.
func lastValue(h http.Header, field string) string {
	values := h[field]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// nearest returns the last of a list of values in lower case: "http" for "https, http".
func nearest(list string) string { return strings.ToLower(lastOf(list)) }

// lastOf returns the last of a list of values.
func lastOf(list string) string {
	return strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])
}

// localPort returns the port of the listener, or "" for a Unix socket.
func localPort(r *http.Request) string {
	switch addr := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		return strconv.Itoa(addr.Port)
	case *net.UDPAddr: // HTTP/3
		return strconv.Itoa(addr.Port)
	}
	return ""
}
