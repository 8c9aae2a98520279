package merchant

import (
	"strings"
	"sync"
	"sync/atomic"
)

// SharedHosts knows the hosts that belong to more than one merchant, on several ports. A browser sends the cookies of
// one to the other (RFC 6265 section 8.5), so their names have to differ.
type SharedHosts struct {
	mu     sync.Mutex
	tables []func() *Hosts
	found  atomic.Pointer[hostSets] // nil: not computed yet
}

// hostSets are sets of hosts; wildcards without their first label.
type hostSets struct{ exact, wildcard map[string]bool }

// Add adds a site's table. If the function returns another table later, call Changed.
func (s *SharedHosts) Add(table func() *Hosts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables = append(s.tables, table)
	s.found.Store(nil)
}

// Changed says that a table has changed.
func (s *SharedHosts) Changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found.Store(nil)
}

// Has reports whether a host belongs to more than one merchant.
func (s *SharedHosts) Has(host string) bool {
	found := s.found.Load()
	if found == nil {
		found = s.look()
	}
	return found.has(host)
}

func (f *hostSets) has(host string) bool {
	if len(f.exact) == 0 && len(f.wildcard) == 0 {
		return false
	}
	_, parent, _ := strings.Cut(host, ".")
	return f.exact[host] || f.wildcard[parent]
}

// look compares all tables.
func (s *SharedHosts) look() *hostSets {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := &hostSets{make(map[string]bool), make(map[string]bool)}
	if len(s.tables) > 1 {
		exact, wildcard := make(map[string]string), make(map[string]string)
		for _, table := range s.tables {
			hosts := table()
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
	s.found.Store(found)
	return found
}

// note adds the hosts of one table to known, and to twice those that have another MSN there.
func note(known map[string]string, twice map[string]bool, hosts map[string]*Unit) {
	for host, unit := range hosts {
		if msn, ok := known[host]; ok && msn != unit.MSN {
			twice[host] = true
		}
		known[host] = unit.MSN
	}
}
