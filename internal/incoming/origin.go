package incoming

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// Origin is the address a browser sees in front of a path: scheme, canonical host, and the port where
// it is not the scheme's own.
type Origin struct {
	Scheme, Host, Port string
}

// Secure reports whether the browser reached us over HTTPS.
func (o Origin) Secure() bool { return o.Scheme == "https" }

// URL returns path on this origin. Whatever path holds, the result stays on the origin: that is why
// no redirect of ours is ever relative.
func (o Origin) URL(path string) string {
	host := o.Host
	if strings.IndexByte(host, ':') >= 0 {
		host = "[" + host + "]"
	}
	if o.Port != "" {
		host += ":" + o.Port
	}
	return o.Scheme + "://" + host + path
}

// Origins says how the origin of a request is found.
type Origins struct {
	// Public is what browsers see, whatever a request says; nil: the request says it. Its host is "" where it is the
	// request's.
	Public *Origin
	// HTTPPort and HTTPSPort are Caddy's own, which the world outside reaches as 80 and 443.
	HTTPPort, HTTPSPort string
}

// Of works out the origin of r, and the canonical host that r asks for, which is the same unless public says otherwise.
// X-Forwarded-* headers count only where Caddy's own trusted_proxies says that the peer may set them; everyone else
// could write what they like in them (CVE-2024-21498). It is false when the request names no usable host.
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

// NewOrigin leaves out a port that is the scheme's own.
func NewOrigin(scheme, host, port string) Origin {
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		port = ""
	}
	return Origin{scheme, host, port}
}

// forwardedScheme is what a trusted proxy says that the browser used, or "" where it says nothing that we know. Traefik
// calls websockets by their own schemes.
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

// forwardedPort is the port that a trusted proxy says: in X-Forwarded-Host, in X-Forwarded-Port, or in the Host that it
// hands on.
func forwardedPort(r *http.Request) string {
	host := lastValue(r.Header, "X-Forwarded-Host")
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

// credible leaves out the other scheme's own port: behind two proxies the outer one says https, and the inner one the
// port 80 that it was reached at. No browser sees such an origin.
func credible(scheme, port string) string {
	if scheme == "https" && port == "80" || scheme == "http" && port == "443" {
		return ""
	}
	return port
}

// directPort is the port that the browser sees, of a connection of its own: what it put into Host, where that is the
// listener's. A Host without one is the scheme's own port where the listener's is that which Caddy takes for it (443
// outside, https_port 8443 in a container), as in Caddy's redirects to HTTPS.
func (os *Origins) directPort(r *http.Request, own string) string {
	port := localPort(r)
	if port == own && portOf(r.Host) == "" {
		return ""
	}
	return port
}

// portOf is the port in a Host header, or "".
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

// IsMisspelt reports whether the host of r is the canonical one in another spelling: with a final dot, with capital
// letters, with letters that are no ASCII. Browsers keep cookies for each of them apart.
func IsMisspelt(r *http.Request, canonical string) bool {
	host := merchant.WithoutPort(SentHost(r))
	if strings.HasPrefix(host, "[") {
		host = strings.TrimSuffix(host[1:], "]")
	}
	return host != canonical
}

// SentHost is the Host that the client sent, as far as a trusted proxy says so.
func SentHost(r *http.Request) string {
	if forwarded := lastValue(r.Header, "X-Forwarded-Host"); forwarded != "" && fromTrustedProxy(r) {
		return forwarded
	}
	return r.Host
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

// nearest is the last of a list of values, in lower case: "https, http" is "http".
func nearest(list string) string {
	return strings.ToLower(strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:]))
}

// localPort is the port of the listener that took the connection, or "" (a Unix socket has none).
func localPort(r *http.Request) string {
	switch addr := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		return strconv.Itoa(addr.Port)
	case *net.UDPAddr: // HTTP/3
		return strconv.Itoa(addr.Port)
	}
	return ""
}
