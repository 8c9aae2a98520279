// Package assertion signs statements about a user, for sites that want proof: a JWT (RFC 7519) with ES256 on each
// request, and the public keys to check it with (RFC 7517).
package assertion

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/state"
)

const (
	// MaxLifetime is the maximum lifetime of an assertion.
	MaxLifetime = time.Hour

	// KeysMaxAge is how long sites may cache the public keys.
	KeysMaxAge = 5 * time.Minute

	// signsFor is how long a key signs.
	signsFor = 30 * 24 * time.Hour

	// publishedBefore is how long the next key is published before it signs: longer than other instances and sites together
	// cache the keys.
	publishedBefore = 15 * time.Minute

	// rereadAfter is how long an instance uses the keys that it has read.
	rereadAfter = 5 * time.Minute

	keyPrefix = "assertion_keys/"

	// sealedUnder stands before what stored keys are bound to: the name that they have always had.
	sealedUnder = "vipps_login/"

	// trustedFor is how long it uses them without waiting for newer ones: a site that then caches them knows the next key
	// before it signs.
	trustedFor = publishedBefore - KeysMaxAge

	// maxWait limits waiting for newer keys where there are known ones.
	maxWait = time.Second
)

// key is one signing key, as it is stored.
type key struct {
	ID      string    `json:"kid"`
	Private []byte    `json:"private"` // PKCS #8
	From    time.Time `json:"from"`    // when it begins to sign; it ends when the next one begins

	signer *ecdsa.PrivateKey
}

// ring has the keys of one merchant, the oldest first.
type ring struct {
	keys []*key
	read time.Time // from the shared state
}

// current returns the key that signs at a time.
func (r *ring) current(now time.Time) *key {
	signs := r.keys[0]
	for _, k := range r.keys {
		if !k.From.After(now) {
			signs = k
		}
	}
	return signs
}

// needsNext reports whether it is time to make the key that comes after the newest.
func (r *ring) needsNext(now time.Time) bool {
	newest := r.keys[len(r.keys)-1]
	return !now.Before(newest.From.Add(signsFor - publishedBefore))
}

// withoutExpired returns the keys whose assertions may still be valid.
func withoutExpired(keys []*key, now time.Time) []*key {
	for len(keys) > 1 && now.Sub(keys[1].From) > MaxLifetime+publishedBefore {
		keys = keys[1:]
	}
	return keys
}

// Access is needed to read and write the keys: the shared state, and the cookie keys, which seal them.
type Access struct {
	Shared state.Engine
	Keys   *seal.Keys
}

// names returns where a merchant's keys are in the shared state: that of the newest cookie secret first.
func (at Access) names(msn string) []string {
	names := at.Keys.IndexNames("assertion", msn)
	for i, name := range names {
		names[i] = keyPrefix + name
	}
	return names
}

// sealedFor returns the context that stored keys are bound to.
func sealedFor(name, msn string) []byte { return seal.Context(sealedUnder+name, msn) }

// Memory caches the keys of an instance. It outlives a config.
type Memory struct {
	mu     sync.RWMutex
	rings  map[string]*ring // by the key in the shared state
	flight singleflight.Group
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{rings: make(map[string]*ring)} }

func (m *Memory) known(name string) *ring {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.rings[name]
}

// get returns the keys of a merchant. Known keys are used while they are read again in the background, and while the shared
// state is unavailable. If they are old, as at an instance where a merchant had no requests, the caller waits a moment: others
// may have replaced them. Only if no keys are known does it get errors.
func (m *Memory) get(ctx context.Context, at Access, msn string, now time.Time) (*ring, error) {
	name := at.names(msn)[0]
	known := m.known(name)
	if known != nil && now.Sub(known.read) < rereadAfter {
		return known, nil
	}
	refreshed := m.flight.DoChan(name, func() (any, error) {
		return m.refresh(context.WithoutCancel(ctx), at, msn, now)
	})
	if known != nil {
		return newer(refreshed, known, now), nil
	}
	select {
	case got := <-refreshed:
		r, _ := got.Val.(*ring)
		return r, got.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", state.ErrUnavailable, ctx.Err())
	}
}

// newer returns the refreshed keys if the known ones are old and the others come soon.
func newer(refreshed <-chan singleflight.Result, known *ring, now time.Time) *ring {
	if now.Sub(known.read) < trustedFor {
		return known
	}
	select {
	case got := <-refreshed:
		if r, ok := got.Val.(*ring); ok && got.Err == nil {
			return r
		}
	case <-time.After(maxWait):
	}
	return known
}

// Exist reports whether a merchant has keys. It makes none.
func (m *Memory) Exist(ctx context.Context, at Access, msn string) (bool, error) {
	if m.known(at.names(msn)[0]) != nil {
		return true, nil
	}
	found, err := at.load(ctx, msn)
	return len(found.keys) > 0, err
}

// refresh reads the keys, and makes missing ones.
func (m *Memory) refresh(ctx context.Context, at Access, msn string, now time.Time) (*ring, error) {
	name := at.names(msn)[0]
	known := m.known(name)
	if known != nil && now.Sub(known.read) < rereadAfter {
		return known, nil // another caller has just refreshed them
	}
	keys, err := m.upToDate(ctx, at, msn, now)
	if err != nil {
		return nil, err
	}
	r := &ring{keys: withoutExpired(keys, now), read: now}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rings[name] = r
	return r, nil
}

// upToDate reads the keys, and makes and stores missing ones, unless another instance was faster.
func (m *Memory) upToDate(ctx context.Context, at Access, msn string, now time.Time) ([]*key, error) {
	for {
		found, err := at.load(ctx, msn)
		if err != nil {
			return nil, err
		}
		keys, changed := m.complete(at, msn, found, now)
		if !changed {
			return keys, nil
		}
		stored, err := at.store(ctx, msn, keys, found.sealed)
		if err != nil {
			return nil, err
		}
		if stored {
			return keys, nil
		}
	}
}

// found is what is stored of a merchant's keys.
type found struct {
	keys   []*key
	sealed []byte // what is under the newest secret's name; nil: nothing
	whole  bool   // keys are from there
}

// load reads what is stored.
func (at Access) load(ctx context.Context, msn string) (f found, err error) {
	for i, name := range at.names(msn) {
		sealed, err := at.Shared.Get(ctx, name)
		if errors.Is(err, state.ErrNotFound) {
			continue
		}
		if err != nil {
			return found{}, err
		}
		if i == 0 {
			f.sealed = sealed
		}
		plain, ok := at.Keys.Assertion.Open(bytes.Clone(sealed), sealedFor(name, msn))
		if ok {
			if f.keys, err = parseKeys(plain); err == nil {
				f.whole = i == 0
				return f, nil
			}
		}
		// Keys that no secret opens are replaced: their secret was removed, or they are damaged.
	}
	return f, nil
}

// store writes the keys in place of what was found, unless another instance was faster.
func (at Access) store(ctx context.Context, msn string, keys []*key, old []byte) (stored bool, err error) {
	plain, err := json.Marshal(keys)
	if err != nil {
		return false, err
	}
	name := at.names(msn)[0]
	sealed := at.Keys.Assertion.Seal(plain, sealedFor(name, msn))
	if old == nil {
		return at.Shared.Add(ctx, name, sealed, state.ForEver)
	}
	return at.Shared.Swap(ctx, name, old, sealed, state.ForEver)
}

func parseKeys(plain []byte) (keys []*key, err error) {
	if err := json.Unmarshal(plain, &keys); err != nil {
		return nil, err
	}
	for _, k := range keys {
		private, err := x509.ParsePKCS8PrivateKey(k.Private)
		if err != nil {
			return nil, err
		}
		signer, ok := private.(*ecdsa.PrivateKey)
		if !ok || signer.Curve != elliptic.P256() {
			return nil, errors.New("not a P-256 key")
		}
		k.signer = signer
	}
	if len(keys) == 0 {
		return nil, errors.New("no key")
	}
	return keys, nil
}

// complete adds to the keys that were found what is missing, and reports whether anything was. Keys that the shared
// state has lost and this instance knows are stored again: sites have them, and what they signed is good.
func (m *Memory) complete(at Access, msn string, f found, now time.Time) (keys []*key, changed bool) {
	keys = f.keys
	if known := m.known(at.names(msn)[0]); keys == nil && known != nil {
		keys = known.keys
	}
	switch r := (&ring{keys: keys}); {
	case keys == nil:
		return []*key{newKey(now)}, true
	case r.needsNext(now):
		from := keys[len(keys)-1].From.Add(signsFor)
		if earliest := now.Add(publishedBefore); from.Before(earliest) {
			from = earliest
		}
		return append(slices.Clone(withoutExpired(keys, now)), newKey(from)), true
	}
	return keys, !f.whole
}

func newKey(from time.Time) *key {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		panic(err) // P-256 can be marshalled
	}
	return &key{ID: seal.RandomText(12), Private: private, From: from.Truncate(time.Second), signer: signer}
}

// jwk is a public key on the curve P-256 (RFC 7518 section 6.2.1).
type jwk struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	Use   string `json:"use"`
	Alg   string `json:"alg"`
	ID    string `json:"kid"`
	X     string `json:"x"`
	Y     string `json:"y"`
}
