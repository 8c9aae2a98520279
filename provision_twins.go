package vippslogin

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// twins knows the hosts that belong to more than one merchant, on several ports. A browser sends the cookies of
// one to the other (RFC 6265 section 8.5), so there the names of cookies tell them apart.
type twins struct {
	mu       sync.Mutex
	handlers []*Handler
	found    atomic.Pointer[twinHosts] // nil: to be looked up
}

// twinHosts are such hosts; wildcards by what follows their first label.
type twinHosts struct{ exact, wildcard map[string]bool }

// add makes the hosts of a handler count.
func (t *twins) add(h *Handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handlers = append(t.handlers, h)
	t.found.Store(nil)
}

// changed says that some handler has other hosts now.
func (t *twins) changed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found.Store(nil)
}

// names returns the names of the cookies of a merchant at a host.
func (t *twins) names(host, msn string) cookie.Names {
	found := t.found.Load()
	if found == nil {
		found = t.look()
	}
	if found.has(host) {
		return cookie.For(msn)
	}
	return cookie.Plain
}

func (f *twinHosts) has(host string) bool {
	if len(f.exact) == 0 && len(f.wildcard) == 0 {
		return false
	}
	_, parent, _ := strings.Cut(host, ".")
	return f.exact[host] || f.wildcard[parent]
}

// look goes through the hosts of all handlers.
func (t *twins) look() *twinHosts {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := &twinHosts{make(map[string]bool), make(map[string]bool)}
	if len(t.handlers) > 1 {
		exact, wildcard := make(map[string]string), make(map[string]string)
		for _, h := range t.handlers {
			hosts := h.hosts.Load()
			note(exact, found.exact, hosts.Exact)
			note(wildcard, found.wildcard, hosts.Wildcard)
		}
		for host, msn := range exact {
			_, parent, _ := strings.Cut(host, ".")
			if other, ok := wildcard[parent]; ok && other != msn {
				found.exact[host] = true
			}
		}
	}
	t.found.Store(found)
	return found
}

// note adds the hosts of one table to those that are known, and marks those that have another MSN there.
func note(known map[string]string, twice map[string]bool, hosts map[string]*merchant.Unit) {
	for host, unit := range hosts {
		if msn, ok := known[host]; ok && msn != unit.MSN {
			twice[host] = true
		}
		known[host] = unit.MSN
	}
}
