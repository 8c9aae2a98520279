package vippslogin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/caddyserver/caddy/v2"
	gocache "github.com/patrickmn/go-cache"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// sharedPool holds what outlives a config: a reload with the same keys goes on with the same tokens,
// discovery document, keys and connections.
var sharedPool = caddy.NewUsagePool()

// shared is what all sites and all configs with the same keys have in common.
type shared struct {
	client *partnerClient

	phones     *gocache.Cache // in front of Caddy's storage: phone logins by MSN and id
	phoneLocks keyedLocks
	polls      singleflight.Group // by MSN and id: who waits for one login shares one poll
	waiters    waiters

	revocations *revocations
	leases      *gocache.Cache // of this instance, by MSN and id
	pending     *gocache.Cache // ids of phone logins that were started here and have not ended, to count
}

// sharedKey names it by everything it depends on. The secrets go in as a hash, over parts that no
// other list of parts gives.
func sharedKey(base string, keys partnerKeys, system systemHeaders) string {
	sum := sha256.Sum256(sealContext(base, keys.clientID, keys.clientSecret, keys.subscriptionKey,
		system.name, system.version, system.pluginName, system.pluginVersion))
	return hex.EncodeToString(sum[:])
}

// useShared returns what belongs to those keys, made if no config uses it yet. Give it back with
// releaseShared.
func useShared(base string, keys partnerKeys, system systemHeaders) (*shared, string) {
	key := sharedKey(base, keys, system)
	value, _, _ := sharedPool.LoadOrNew(key, func() (caddy.Destructor, error) {
		return &shared{
			client:      newPartnerClient(base, keys, system),
			revocations: newRevocations(),
			phones:      gocache.New(cachedFor, 0),
			leases:      gocache.New(gocache.NoExpiration, 0),
			pending:     gocache.New(gocache.NoExpiration, 0),
		}, nil // cannot fail
	})
	return value.(*shared), key
}

func releaseShared(key string) error {
	_, err := sharedPool.Delete(key)
	return err
}

// deleteExpired makes room in memory.
func (s *shared) deleteExpired() {
	spent.cache.DeleteExpired()
	s.phones.DeleteExpired()
	s.leases.DeleteExpired()
	s.pending.DeleteExpired()
}

// Destruct ends what runs in the background. Caddy calls it when the last config is gone.
func (s *shared) Destruct() error {
	s.client.stop()
	return nil
}

func newPartnerClient(base string, keys partnerKeys, system systemHeaders) *partnerClient {
	closed, cancel := context.WithCancel(context.Background())
	// No janitor: what expires is few things, read often.
	cache := gocache.New(gocache.NoExpiration, 0)
	c := &partnerClient{
		base: base, keys: keys, system: system,
		http:      newHTTPClient(),
		refusals:  newRefusals(),
		rotations: rate.NewLimiter(rate.Every(10*time.Second), 1),
		misfits:   rate.NewLimiter(rate.Every(10*time.Second), 1),
		close:     cancel,
	}
	c.token = kept[partnerToken]{name: "token", fetch: c.fetchToken, cache: cache, closed: closed}
	c.discovery = kept[discoveryDocument]{name: "discovery", fetch: c.fetchDiscovery, lasting: true, cache: cache, closed: closed}
	c.keySet = kept[*keySet]{name: "keys", fetch: c.fetchKeySet, lasting: true, cache: cache, closed: closed}
	return c
}

// stop ends the renewals in the background.
func (c *partnerClient) stop() {
	c.close()
	c.token.stop()
	c.discovery.stop()
	c.keySet.stop()
	c.http.CloseIdleConnections()
}
