package vippslogin

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// sharedPool holds what outlives a config: a reload with the same keys goes on with the same tokens,
// discovery document, keys and connections.
var sharedPool = caddy.NewUsagePool()

// shared is what all sites and all configs with the same keys have in common.
type shared struct {
	client *vipps.Client

	phones      *phone.Memory
	revocations *revocation.List
}

// sharedKey names it by everything it depends on. The secrets go in as a hash, over parts that no
// other list of parts gives.
func sharedKey(base string, keys vipps.Keys, system vipps.System) string {
	sum := sha256.Sum256(seal.Context(base, keys.ClientID, keys.ClientSecret, keys.SubscriptionKey,
		system.Name, system.Version, system.PluginName, system.PluginVersion))
	return hex.EncodeToString(sum[:])
}

// useShared returns what belongs to those keys, made if no config uses it yet. Give it back with
// releaseShared.
func useShared(base string, keys vipps.Keys, system vipps.System) (*shared, string) {
	key := sharedKey(base, keys, system)
	value, _, _ := sharedPool.LoadOrNew(key, func() (caddy.Destructor, error) {
		return &shared{
			client:      vipps.NewClient(base, keys, system, counted.observeCall),
			revocations: revocation.NewList(),
			phones:      phone.NewMemory(),
		}, nil // cannot fail
	})
	return value.(*shared), key
}

func releaseShared(key string) error {
	_, err := sharedPool.Delete(key)
	return err
}

// DeleteExpired makes room in memory.
func (s *shared) deleteExpired() {
	login.Used.DeleteExpired()
	s.phones.DeleteExpired()
}

// Destruct ends what runs in the background. Caddy calls it when the last config is gone.
func (s *shared) Destruct() error {
	s.client.Stop()
	return nil
}
