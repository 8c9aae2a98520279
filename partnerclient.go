package vippslogin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/assertion"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

// sharedPool holds what outlives a config: after a reload with the same keys, tokens, discovery document, signing keys and
// connections are the same.
var sharedPool = caddy.NewUsagePool()

// shared is what all sites, and successive configs, with the same partner keys have in common.
type shared struct {
	client *vipps.Client

	phones      *phone.Memory
	revocations *revocation.List

	refusedCodes *login.RefusedCodes

	assertionKeys *assertion.Memory

	generated generatedSecrets
}

// generatedSecrets has the cookie secret of each shared state that was used, by its config: one reload more while the state is away
// must not end all sessions.
type generatedSecrets struct {
	mu      sync.Mutex
	byPlace map[string]string
}

func (g *generatedSecrets) get(place string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byPlace[place]
}

func (g *generatedSecrets) set(place, secret string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byPlace == nil {
		g.byPlace = make(map[string]string)
	}
	g.byPlace[place] = secret
}

// sharedKey returns the key in sharedPool: everything that it depends on. Secrets are hashed, in an unambiguous encoding.
func sharedKey(base string, keys vipps.Keys, system vipps.System) string {
	sum := sha256.Sum256(seal.Context(base, keys.ClientID, keys.ClientSecret, keys.SubscriptionKey,
		system.Name, system.Version, system.PluginName, system.PluginVersion))
	return hex.EncodeToString(sum[:])
}

// useShared returns the shared state for these keys, and creates it if no config uses it yet. Release it with
// releaseShared.
func useShared(base string, keys vipps.Keys, system vipps.System) (*shared, string) {
	key := sharedKey(base, keys, system)
	value, _, _ := sharedPool.LoadOrNew(key, func() (caddy.Destructor, error) {
		return &shared{
			client:      vipps.NewClient(base, keys, system, counted.observeCall),
			revocations: revocation.NewList(),
			phones:      phone.NewMemory(),

			refusedCodes: login.NewRefusedCodes(),

			assertionKeys: assertion.NewMemory(),
		}, nil // cannot fail
	})
	return value.(*shared), key
}

func releaseShared(key string) error {
	_, err := sharedPool.Delete(key)
	return err
}

// deleteExpired removes expired entries from memory.
func (s *shared) deleteExpired() {
	login.Used.DeleteExpired()
	s.phones.DeleteExpired()
	s.refusedCodes.DeleteExpired()
	s.revocations.Now.DeleteExpired()
}

// Destruct stops what runs in the background. Caddy calls it when the last config with these keys is gone. One with others
// stores what could not be stored.
func (s *shared) Destruct() error {
	s.client.Stop()
	sharedPool.Range(func(_, value any) bool {
		if next, ok := value.(*shared); ok && next != s {
			next.revocations.Adopt(s.revocations)
		}
		return true
	})
	return nil
}

// baseURL returns the API base of an environment.
func baseURL(environment string) (string, error) {
	switch environment {
	case "", "production":
		return vipps.ProductionURL, nil
	case "test":
		return vipps.TestURL, nil
	}
	u, err := url.Parse(environment)
	if err != nil || u.User != nil { // not quoted: it may have a password
		return "", errors.New("it is neither production nor test nor a base URL: write a scheme and a host, such as https://api.vipps.no")
	}
	if u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is neither production nor test nor a base URL: write a scheme and a host, such as https://api.vipps.no", environment)
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && vipps.IsLoopbackHost(u.Hostname())) {
		return "", fmt.Errorf("%q would carry keys in the clear: use https (http is for loopback hosts only)", environment)
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

func (a *App) resolvePartnerKeys() (vipps.Keys, error) {
	if a.ClientID == "" && a.ClientSecret == "" && a.SubscriptionKey == "" {
		return vipps.Keys{}, nil
	}
	var keys vipps.Keys
	for _, key := range []struct {
		name, value string
		to          *string
	}{
		{"client_id", a.ClientID, &keys.ClientID},
		{"client_secret", a.ClientSecret, &keys.ClientSecret},
		{"subscription_key", a.SubscriptionKey, &keys.SubscriptionKey},
	} {
		value, err := resolveSecret(key.value)
		if err != nil {
			return keys, fmt.Errorf("%s: %w, or leave out all three partner keys where every merchant has its own", key.name, err)
		}
		*key.to = value
	}
	return keys, nil
}
