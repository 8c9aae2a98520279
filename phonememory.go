package vippslogin

import (
	gocache "github.com/patrickmn/go-cache"
	"golang.org/x/sync/singleflight"
)

// phoneMemory is what this process knows of logins from phone numbers, through reloads: storage knows the rest.
type phoneMemory struct {
	logins  *gocache.Cache // in front of storage, by MSN and id
	locks   keyedLocks
	polls   singleflight.Group // by MSN and id: who waits for one login shares one poll
	waiters waiters
	leases  *gocache.Cache // of this instance, by MSN and id
	pending *gocache.Cache // ids of logins that were started here and have not ended, to count
}

func newPhoneMemory() *phoneMemory {
	return &phoneMemory{
		logins:  gocache.New(cachedFor, 0),
		leases:  gocache.New(gocache.NoExpiration, 0),
		pending: gocache.New(gocache.NoExpiration, 0),
	}
}

// deleteExpired makes room.
func (m *phoneMemory) deleteExpired() {
	m.logins.DeleteExpired()
	m.leases.DeleteExpired()
	m.pending.DeleteExpired()
}
