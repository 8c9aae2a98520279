package login

import (
	"net/netip"
	"sync"
	"time"

	gocache "github.com/patrickmn/go-cache"
)

// A client that makes up authorization codes causes a call to Vipps MobilePay for each. Refused codes count against the
// client; good ones never do, so that an office behind one address is not locked out by its own logins.

const (
	maxRefusedCodes    = 20
	refusedCodesWindow = time.Minute
	// maxCodeClients limits memory. Beyond it all entries are dropped.
	maxCodeClients = 10_000
)

// RefusedCodes counts refused codes by client. It survives reloads.
type RefusedCodes struct {
	mu      sync.Mutex
	clients *gocache.Cache // of lists of times, the oldest first, at most maxRefusedCodes
}

// NewRefusedCodes returns an empty RefusedCodes.
func NewRefusedCodes() *RefusedCodes {
	return &RefusedCodes{clients: gocache.New(refusedCodesWindow, 0)}
}

// Add counts a code that was refused.
func (c *RefusedCodes) Add(client string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := network(client)
	found, known := c.clients.Get(key)
	if !known && c.clients.ItemCount() >= maxCodeClients {
		if c.clients.DeleteExpired(); c.clients.ItemCount() >= maxCodeClients {
			c.clients.Flush()
		}
	}
	before, _ := found.([]time.Time)
	times := append([]time.Time{}, before...)
	if times = append(times, now); len(times) > maxRefusedCodes {
		times = times[1:]
	}
	c.clients.SetDefault(key, times)
}

// Wait returns how long a client has to wait before its next code, or 0.
func (c *RefusedCodes) Wait(client string, now time.Time) time.Duration {
	found, _ := c.clients.Get(network(client))
	times, _ := found.([]time.Time)
	if len(times) < maxRefusedCodes {
		return 0
	}
	return max(refusedCodesWindow-now.Sub(times[0]), 0)
}

// network returns a client's IPv4 address, or its IPv6 network of one subscriber (RFC 6177).
func network(client string) string {
	address, err := netip.ParseAddr(client)
	if err != nil || address.Is4() || address.Is4In6() {
		return client
	}
	prefix, err := address.WithZone("").Prefix(64)
	if err != nil {
		return client
	}
	return prefix.String()
}
