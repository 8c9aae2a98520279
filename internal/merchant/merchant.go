package merchant

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Unit is one merchant's sales unit at Vipps MobilePay, as a login needs it.
type Unit struct {
	// MSN is the Merchant Serial Number, or a placeholder that is resolved for each request.
	MSN string
	// ClientID and ClientSecret are the sales unit's own keys; both empty where the partner's are used.
	ClientID, ClientSecret string
	// Scope is what a login asks for, joined by spaces, "openid" included.
	Scope string
	// Audience is the value that the ID token's aud must be or contain; empty if it is unknown.
	Audience string
	// Claims are the claims of userinfo that a session keeps, besides sub; nil for all.
	Claims []string
	// Market is NO, DK, FI, SE or empty.
	Market string
}

// HasOwnKeys reports whether the sales unit logs in with its own keys rather than the partner's.
func (u *Unit) HasOwnKeys() bool { return u.ClientID != "" }

// Hosts maps hosts to sales units. A lookup costs the same for ten hosts and for 100,000; an exact host wins over a wildcard.
type Hosts struct {
	Exact    map[string]*Unit
	Wildcard map[string]*Unit // keyed by the host without its first label: "example.no" for "*.example.no"
	Site     *Unit            // the unit of the whole site, or nil
}

var errHostPattern = errors.New(`write a host name, or "*." and a host name for one label of any name`)

func NewHosts() *Hosts {
	return &Hosts{Exact: map[string]*Unit{}, Wildcard: map[string]*Unit{}}
}

// Clone returns a copy to add to while t is in use.
func (t *Hosts) Clone() *Hosts {
	return &Hosts{Exact: maps.Clone(t.Exact), Wildcard: maps.Clone(t.Wildcard), Site: t.Site}
}

// UsesSite reports whether the site's unit has a host that no merchant has.
func (t *Hosts) UsesSite() bool {
	for _, hosts := range []map[string]*Unit{t.Exact, t.Wildcard} {
		for _, unit := range hosts {
			if unit == t.Site {
				return true
			}
		}
	}
	return false
}

// yields reports whether a host may go from one unit to another. A merchant may take a host from the site's unit if both have
// the same MSN, or if the site's is a placeholder. A second fixed MSN would be a contradiction.
func (t *Hosts) yields(from, to *Unit) bool {
	return from == t.Site && (from.MSN == to.MSN || !IsMSN(from.MSN))
}

// Add maps pattern to unit. A host can be added once only, and once more after the whole site's.
func (t *Hosts) Add(pattern string, unit *Unit) error {
	hosts, name := t.Exact, pattern
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		hosts, name = t.Wildcard, rest
	}
	host, ok := CanonicalHost(name)
	if !ok || hasPort(name) {
		return fmt.Errorf("%q is not a host: %w", pattern, errHostPattern)
	}
	switch other, ok := hosts[host]; {
	case !ok || t.yields(other, unit):
	case other.MSN == unit.MSN:
		return fmt.Errorf("host %q stands twice: write it once", pattern)
	default:
		return fmt.Errorf("host %q is given to MSN %s and to MSN %s: keep it at one of them", pattern, other.MSN, unit.MSN)
	}
	hosts[host] = unit
	return nil
}

// Lookup returns the sales unit of a canonical host, or nil.
func (t *Hosts) Lookup(host string) *Unit {
	if unit := t.Exact[host]; unit != nil {
		return unit
	}
	if _, parent, ok := strings.Cut(host, "."); ok {
		return t.Wildcard[parent]
	}
	return nil
}

// Sample returns at most n of the hosts, with one host for each wildcard.
func (t *Hosts) Sample(n int) []string {
	var hosts []string
	for host := range t.Exact {
		if len(hosts) == n {
			break
		}
		hosts = append(hosts, host)
	}
	for parent := range t.Wildcard {
		if len(hosts) >= 2*n {
			break
		}
		hosts = append(hosts, "any."+parent)
	}
	slices.Sort(hosts)
	return hosts
}

// CanonicalHost returns the canonical spelling of a Host header or a configured host: lower case, no port, no trailing dot, no
// brackets, IDN as punycode. It is false for anything that is not a host.
func CanonicalHost(hostport string) (string, bool) {
	host := WithoutPort(hostport)
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	host = strings.TrimSuffix(host, ".")
	if !isASCII(host) {
		if !utf8.ValidString(host) {
			return "", false
		}
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", false
		}
		host = ascii
	}
	host = strings.ToLower(host)
	return host, isHost(host)
}

// WithoutPort cuts ":port" off, and leaves a bare IPv6 address alone.
func WithoutPort(hostport string) string {
	i := strings.LastIndexByte(hostport, ':')
	if i < 0 || strings.HasSuffix(hostport, "]") {
		return hostport
	}
	if strings.IndexByte(hostport, ':') != i && !strings.HasPrefix(hostport, "[") {
		return hostport
	}
	return hostport[:i]
}

func hasPort(host string) bool { return WithoutPort(host) != host }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isHost accepts hosts that need no quoting in a URL: names of at most 253 characters (RFC 1035 section 2.3.4) and IP
// addresses. They become part of redirect URIs.
func isHost(host string) bool {
	if strings.IndexByte(host, ':') >= 0 {
		_, err := netip.ParseAddr(host)
		return err == nil && strings.IndexByte(host, '%') < 0
	}
	if host == "" || len(host) > 253 || host[0] == '.' || host[len(host)-1] == '.' || strings.Contains(host, "..") {
		return false
	}
	for i := range len(host) {
		c := host[i]
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letter && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// IsMSN reports whether s is a Merchant Serial Number: 4 to 10 digits.
func IsMSN(s string) bool {
	if len(s) < 4 || len(s) > 10 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
