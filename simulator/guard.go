package simulator

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forwardingHeaders are set by proxies and tunnels. With one of them the peer on
// loopback is not the client: somebody has put the simulator on the network.
var forwardingHeaders = []string{
	"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip",
}

// fromThisMachine says whether a request may be answered. Whoever reaches the
// simulator can log in as anyone, so it must come from a loopback address, have
// arrived at one, name a loopback host (a page of the internet whose name was
// rebound to 127.0.0.1 does not), and have passed no proxy.
//
// It does not notice a tunnel that leaves no trace, like an SSH port forward.
func fromThisMachine(r *http.Request) bool {
	return isLoopbackAddr(r.RemoteAddr) && arrivedOnLoopback(r) &&
		isLoopbackHost(r.Host) && !wasForwarded(r.Header)
}

// arrivedOnLoopback looks at the connection's local address, which net/http and
// Caddy leave in the context. A handler called without a server has none.
func arrivedOnLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return !ok || isLoopbackAddr(local.String())
}

// isLoopbackAddr is false for everything that is not an IP address and port: a
// Unix socket has no loopback to check.
func isLoopbackAddr(addr string) bool {
	parsed, err := netip.ParseAddrPort(addr)
	return err == nil && parsed.Addr().Unmap().IsLoopback()
}

// isLoopbackHost takes a host with or without a port: localhost and the names
// below it (RFC 6761, section 6.3), 127.0.0.0/8 and [::1].
func isLoopbackHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return hostPattern.MatchString(host) && (host == "localhost" || strings.HasSuffix(host, ".localhost"))
}

func wasForwarded(h http.Header) bool {
	for _, name := range forwardingHeaders {
		if len(h.Values(name)) > 0 {
			return true
		}
	}
	return false
}
