package login

import (
	"context"
	"net/netip"
	"sync"
	"time"

	gocache "github.com/patrickmn/go-cache"
)

// A client that makes up authorization codes causes a call to Vipps MobilePay for each. Refused codes count against the
// client; good ones never do, so that an office behind one address is not locked out by its own logins.
//
// A page of another site can have an office's browsers send codes that need no cookie of ours, those of logins in a phone's
// browser for one. So they count against codes of that kind alone. Codes of a browser that has proved to have begun the login
// count against both.

const (
	maxRefusedCodes    = 20
	refusedCodesWindow = time.Minute
	// maxCodeClients limits memory. Beyond it all entries are dropped.
	maxCodeClients = 10_000
	// maxCodeWait limits waiting for others' codes: where Vipps MobilePay hangs, people are told so rather than queue.
	maxCodeWait = 2 * time.Second
)

// RefusedCodes counts refused codes by client. It survives reloads.
type RefusedCodes struct {
	mu      sync.Mutex
	clients *gocache.Cache // of lists of times, the oldest first, at most maxRefusedCodes
	flying  map[string]*codesInFlight
}

// codesInFlight are the codes of a client whose outcome is not known yet.
type codesInFlight struct {
	number, waiting int
	ended           chan struct{} // is closed when one of them ends
}

// NewRefusedCodes returns an empty RefusedCodes.
func NewRefusedCodes() *RefusedCodes {
	return &RefusedCodes{clients: gocache.New(refusedCodesWindow, 0), flying: make(map[string]*codesInFlight)}
}

// Enter is called before a code of a client is sent; proven says that the browser has proved to have begun the login. It waits
// a moment while so many are on their way that the client might exceed the limit with them. It returns how long the client has to wait
// before its next code, or 0 and what to call with the outcome, once.
func (c *RefusedCodes) Enter(ctx context.Context, client string, proven bool) (wait time.Duration, leave func(refused bool)) {
	key := kind(client, proven)
	patience := time.NewTimer(maxCodeWait)
	defer patience.Stop()
	impatient := false
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		now := time.Now()
		if wait := c.wait(key, now); wait > 0 {
			return wait, nil
		}
		flying := c.flying[key]
		if flying == nil {
			flying = &codesInFlight{ended: make(chan struct{})}
			c.flying[key] = flying
		}
		if impatient || flying.number+len(c.recent(key, now)) < maxRefusedCodes {
			flying.number++
			return 0, func(refused bool) { c.leave(client, proven, refused) }
		}
		ended := flying.ended
		flying.waiting++
		c.mu.Unlock()
		select {
		case <-ended:
		case <-patience.C:
			impatient = true
		case <-ctx.Done():
		}
		c.mu.Lock()
		flying.waiting--
		if ctx.Err() != nil {
			c.forget(key, flying)
			return time.Second, nil
		}
	}
}

func (c *RefusedCodes) leave(client string, proven, refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := kind(client, proven)
	if refused {
		c.add(key, time.Now())
		if proven {
			c.add(kind(client, false), time.Now())
		}
	}
	flying := c.flying[key]
	close(flying.ended)
	flying.ended = make(chan struct{})
	flying.number--
	c.forget(key, flying)
}

// forget drops what nobody uses. mu is held.
func (c *RefusedCodes) forget(key string, flying *codesInFlight) {
	if flying.number == 0 && flying.waiting == 0 {
		delete(c.flying, key)
	}
}

// kind returns the key of a client's codes, of browsers that have proved to have begun the login or of others.
func kind(client string, proven bool) string {
	if proven {
		return network(client)
	}
	return network(client) + " unproven"
}

// add counts a code that was refused. mu is held.
func (c *RefusedCodes) add(key string, now time.Time) {
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

// DeleteExpired forgets clients whose refused codes no longer count.
func (c *RefusedCodes) DeleteExpired() { c.clients.DeleteExpired() }

// recent returns when codes were refused, within the window.
func (c *RefusedCodes) recent(key string, now time.Time) []time.Time {
	found, _ := c.clients.Get(key)
	times, _ := found.([]time.Time)
	for len(times) > 0 && now.Sub(times[0]) >= refusedCodesWindow {
		times = times[1:]
	}
	return times
}

// wait returns how long a client has to wait before its next code, or 0.
func (c *RefusedCodes) wait(key string, now time.Time) time.Duration {
	times := c.recent(key, now)
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
