package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"sync"
)

// keyBits is half of what Vipps MobilePay's keys have: 4096 bits would make
// every start wait for seconds, and RS256 is the same with 2048.
const keyBits = 2048

const (
	algRS256 = "RS256"
	algES256 = "ES256"
)

// signingKey is a key that signs ID tokens, under the kid that the key set
// publishes.
type signingKey struct {
	kid     string
	alg     string
	private any // *rsa.PrivateKey or *ecdsa.PrivateKey
}

// firstRSAKey is made when the first ID token or key set is asked for, not at
// the start of Caddy or on `caddy validate`, and once for all simulators of the
// process: tests start many.
var firstRSAKey = sync.OnceValue(func() *signingKey { return newSigningKey(algRS256) })

func newSigningKey(alg string) *signingKey {
	var private any
	var err error
	if alg == algES256 {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		private, err = rsa.GenerateKey(rand.Reader, keyBits)
	}
	if err != nil {
		panic("simulator: key of a supported size: " + err.Error())
	}
	// kids of Vipps MobilePay look like this.
	return &signingKey{kid: "public:" + randomUUID(), alg: alg, private: private}
}

// keyRing is the current key, and the one before it, of one algorithm.
type keyRing struct {
	alg               string
	mu                sync.Mutex
	current, previous *signingKey
}

func newKeyRing(alg string) *keyRing { return &keyRing{alg: alg} }

// list gives the current key first.
func (k *keyRing) list() []*signingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.current != nil:
	case k.alg == algRS256:
		k.current = firstRSAKey()
	default:
		k.current = newSigningKey(k.alg)
	}
	if k.previous == nil {
		return []*signingKey{k.current}
	}
	return []*signingKey{k.current, k.previous}
}

// rotate keeps one old key: ID tokens signed a moment ago are still good.
func (k *keyRing) rotate() {
	next := newSigningKey(k.alg)
	old := k.list()[0]
	k.mu.Lock()
	defer k.mu.Unlock()
	k.previous, k.current = old, next
}

// RotateKey makes a new signing key, also for logins from a phone number where
// they have one of their own. ID tokens are signed with it from now on; the key
// set publishes it and the one before it.
func (s *Simulator) RotateKey() {
	for _, ring := range s.keyRings() {
		ring.rotate()
	}
}

func (s *Simulator) keyRings() []*keyRing {
	if s.phoneKeys == s.keys {
		return []*keyRing{s.keys}
	}
	return []*keyRing{s.keys, s.phoneKeys}
}

// jwks serves the key set (RFC 7517).
func (s *Simulator) jwks(w http.ResponseWriter, _ *http.Request) {
	keys := []map[string]string{}
	for _, ring := range s.keyRings() {
		for _, key := range ring.list() {
			keys = append(keys, key.jwk())
		}
	}
	// How long to keep it is the client's business: Vipps documents nothing.
	w.Header().Del("Cache-Control")
	if s.currentFaults().NoStore || s.manners.has(hydraNoStore) {
		w.Header().Set("Cache-Control", "private, no-store, no-cache, must-revalidate")
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
}
