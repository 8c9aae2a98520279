package phone

import (
	gocache "github.com/patrickmn/go-cache"
	"golang.org/x/sync/singleflight"
)

// Memory is what this process knows of logins from phone numbers, across reloads. The rest is in storage.
type Memory struct {
	logins  *gocache.Cache // in front of storage, by MSN and id
	locks   keyedLocks
	polls   singleflight.Group // by MSN and id: all that wait for a login share one poll
	waiters waiters
	leases  *gocache.Cache // of this instance, by MSN and id
	pending *gocache.Cache // ids of logins that were started here and have not ended, to count
}

func NewMemory() *Memory {
	return &Memory{
		logins:  gocache.New(cachedFor, 0),
		leases:  gocache.New(gocache.NoExpiration, 0),
		pending: gocache.New(gocache.NoExpiration, 0),
	}
}

// DeleteExpired removes expired entries.
func (m *Memory) DeleteExpired() {
	m.logins.DeleteExpired()
	m.leases.DeleteExpired()
	m.pending.DeleteExpired()
}

// Pending returns how many logins were started here and have not ended, as far as this process knows.
func (m *Memory) Pending() int { return len(m.pending.Items()) }
