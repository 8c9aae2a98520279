package vippslogin

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

// salesUnit is one merchant's sales unit at Vipps MobilePay, as a login needs it.
type salesUnit struct {
	// msn is the Merchant Serial Number, or a placeholder that is resolved for each request.
	msn string
	// clientID and clientSecret are the sales unit's own keys; both empty where the partner's are used.
	clientID, clientSecret string
	// scope is what a login asks for, joined by spaces, "openid" included.
	scope string
	// market is NO, DK, FI, SE or empty.
	market string
}

// hasOwnKeys reports whether the sales unit logs in with its own keys rather than the partner's.
func (u *salesUnit) hasOwnKeys() bool { return u.clientID != "" }

// hostTable says which sales unit a host belongs to. A lookup costs the same for ten hosts and for
// 100,000; an exact host wins over a wildcard.
type hostTable struct {
	exact    map[string]*salesUnit
	wildcard map[string]*salesUnit // keyed by what follows the first label, for "*.example.no" "example.no"
	site     *salesUnit            // the one that stands for every host of the site, or nil
}

var errHostPattern = errors.New(`write a host name, or "*." and a host name for one label of any name`)

func newHostTable() *hostTable {
	return &hostTable{exact: map[string]*salesUnit{}, wildcard: map[string]*salesUnit{}}
}

// clone is a table to add to while t is looked at.
func (t *hostTable) clone() *hostTable {
	return &hostTable{exact: maps.Clone(t.exact), wildcard: maps.Clone(t.wildcard), site: t.site}
}

// usesSite reports whether the site's unit has a host that no merchant has taken.
func (t *hostTable) usesSite() bool {
	for _, hosts := range []map[string]*salesUnit{t.exact, t.wildcard} {
		for _, unit := range hosts {
			if unit == t.site {
				return true
			}
		}
	}
	return false
}

// yields reports whether a host may go from one unit to another: a merchant may say more about a host of a
// site with its own MSN, and beside a placeholder about any. A second fixed MSN would be a contradiction.
func (t *hostTable) yields(from, to *salesUnit) bool {
	return from == t.site && (from.msn == to.msn || !isMSN(from.msn))
}

// add maps pattern to unit. A host can be added once only, and once more after the whole site's.
func (t *hostTable) add(pattern string, unit *salesUnit) error {
	hosts, name := t.exact, pattern
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		hosts, name = t.wildcard, rest
	}
	host, ok := canonicalHost(name)
	if !ok || hasPort(name) {
		return fmt.Errorf("%q is not a host: %w", pattern, errHostPattern)
	}
	switch other, ok := hosts[host]; {
	case !ok || t.yields(other, unit):
	case other.msn == unit.msn:
		return fmt.Errorf("host %q stands twice: write it once", pattern)
	default:
		return fmt.Errorf("host %q is given to MSN %s and to MSN %s: keep it at one of them", pattern, other.msn, unit.msn)
	}
	hosts[host] = unit
	return nil
}

// lookup returns the sales unit of a canonical host, or nil.
func (t *hostTable) lookup(host string) *salesUnit {
	if unit := t.exact[host]; unit != nil {
		return unit
	}
	if _, parent, ok := strings.Cut(host, "."); ok {
		return t.wildcard[parent]
	}
	return nil
}

// sample returns some of the hosts, of wildcards one each, at most n: all of them where there are no more.
func (t *hostTable) sample(n int) []string {
	var hosts []string
	for host := range t.exact {
		if len(hosts) == n {
			break
		}
		hosts = append(hosts, host)
	}
	for parent := range t.wildcard {
		if len(hosts) >= 2*n {
			break
		}
		hosts = append(hosts, "any."+parent)
	}
	slices.Sort(hosts)
	return hosts
}

// canonicalHost returns the one spelling of a Host header or a configured host that everything else
// compares: lower case, no port, no trailing dot, no brackets, IDN as punycode. It is false for what
// is no host at all.
func canonicalHost(hostport string) (string, bool) {
	host := withoutPort(hostport)
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

// withoutPort cuts ":port" off, and leaves a bare IPv6 address alone.
func withoutPort(hostport string) string {
	i := strings.LastIndexByte(hostport, ':')
	if i < 0 || strings.HasSuffix(hostport, "]") {
		return hostport
	}
	if strings.IndexByte(hostport, ':') != i && !strings.HasPrefix(hostport, "[") {
		return hostport
	}
	return hostport[:i]
}

func hasPort(host string) bool { return withoutPort(host) != host }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isHost accepts what can stand in a URL's authority without quoting: a name of at most 253
// characters (RFC 1035 section 2.3.4) or an IP address. What it lets through goes into redirect URIs.
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

// isMSN reports whether s is a Merchant Serial Number: 4 to 10 digits.
func isMSN(s string) bool {
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
