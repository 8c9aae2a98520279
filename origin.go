package vippslogin

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// origin is the address a browser sees in front of a path: scheme, canonical host, and the port where
// it is not the scheme's own.
type origin struct {
	scheme, host, port string
}

// secure reports whether the browser reached us over HTTPS.
func (o origin) secure() bool { return o.scheme == "https" }

// url returns path on this origin. Whatever path holds, the result stays on the origin: that is why
// no redirect of ours is ever relative.
func (o origin) url(path string) string {
	host := o.host
	if strings.IndexByte(host, ':') >= 0 {
		host = "[" + host + "]"
	}
	if o.port != "" {
		host += ":" + o.port
	}
	return o.scheme + "://" + host + path
}

// requestOrigin works out the origin of r. X-Forwarded-* headers count only where Caddy's own
// trusted_proxies says that the peer may set them; everyone else could write what they like in them
// (CVE-2024-21498). It is false when the request names no usable host.
func requestOrigin(r *http.Request) (origin, bool) {
	if fromTrustedProxy(r) {
		if proto := nearest(lastValue(r.Header, "X-Forwarded-Proto")); proto == "http" || proto == "https" {
			return forwardedOrigin(r, proto)
		}
	}
	o := origin{scheme: "http", port: localPort(r)}
	if r.TLS != nil {
		o.scheme = "https"
	}
	if o.scheme == "http" && o.port == "80" || o.scheme == "https" && o.port == "443" {
		o.port = ""
	}
	var ok bool
	o.host, ok = canonicalHost(sentHost(r))
	return o, ok
}

// forwardedOrigin is the origin behind a trusted proxy. Its port is not known to us and taken to be
// the scheme's own.
func forwardedOrigin(r *http.Request, proto string) (origin, bool) {
	host, ok := canonicalHost(sentHost(r))
	return origin{scheme: proto, host: host}, ok
}

// sentHost is the Host that the client sent, as far as a trusted proxy says so.
func sentHost(r *http.Request) string {
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
