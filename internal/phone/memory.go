package phone

import (
	"sync"
	"sync/atomic"
	"time"

	gocache "github.com/patrickmn/go-cache"
	"golang.org/x/sync/singleflight"
)

// Memory is what this process knows of logins from phone numbers, across reloads. The rest is in the shared state.
type Memory struct {
	logins   *gocache.Cache     // kept, by MSN and id
	polls    singleflight.Group // by MSN and id: all that wait for a login share one poll
	waiters  waiters
	unstored unstored
	newest   atomic.Pointer[Store] // that of the newest config
	leasing  sync.Mutex            // held while a lease is changed
	leases   *gocache.Cache        // of this instance, by MSN and id
	pending  *gocache.Cache        // ids of logins that were started here and have not ended, to count
}

// kept is a login as it was read or written, and never changes.
type kept struct {
	login  *Login
	sealed []byte // as it is stored
	at     time.Time
}

const (
	// keptFor is how long a login that nobody asks for is in memory.
	keptFor = 2 * time.Minute

	// endedFor is how long one that has ended is: who waits for it, or asks again, comes by then. The shared state keeps it
	// for longer. With the user's data, it takes three times the memory of a login that has not ended.
	endedFor = 10 * time.Second
)

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{
		logins:  gocache.New(keptFor, 0),
		leases:  gocache.New(gocache.NoExpiration, 0),
		pending: gocache.New(gocache.NoExpiration, 0),
	}
}

// login returns what is known of a login.
func (m *Memory) login(id, msn string) (kept, bool) {
	found, _ := m.logins.Get(msn + "/" + id)
	k, ok := found.(kept)
	return k, ok
}

// keep takes over what is known of a login, unless something newer is.
func (m *Memory) keep(k kept, msn string) {
	if known, ok := m.login(k.login.ID, msn); ok && known.at.After(k.at) {
		return
	}
	key := msn + "/" + k.login.ID
	m.logins.Set(key, k, gocache.DefaultExpiration)
	if k.login.Status != Pending {
		m.pending.Delete(k.login.ID)
		m.leases.Delete(key)
		time.AfterFunc(endedFor, func() { m.logins.Delete(key) })
	}
}

func (m *Memory) forget(id, msn string) { m.logins.Delete(msn + "/" + id) }

// DeleteExpired removes expired entries.
func (m *Memory) DeleteExpired() {
	m.logins.DeleteExpired()
	m.leases.DeleteExpired()
	m.pending.DeleteExpired()
}

// Pending returns how many logins were started here and have not ended, as far as this process knows.
func (m *Memory) Pending() int { return len(m.pending.Items()) }
