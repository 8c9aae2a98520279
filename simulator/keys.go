package simulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"sync"
)

// keyBits is half of what Vipps MobilePay's keys have: 4096 bits would make
// every start wait for seconds, and RS256 is the same with 2048.
const keyBits = 2048

// signingKey is a key that signs ID tokens, under the kid that the key set
// publishes.
type signingKey struct {
	kid     string
	private *rsa.PrivateKey
}

// firstKey is made when the first ID token or key set is asked for, not at the
// start of Caddy or on `caddy validate`, and once for all simulators of the
// process: tests start many.
var firstKey = sync.OnceValue(newSigningKey)

func newSigningKey() *signingKey {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		panic("simulator: RSA key of a supported size: " + err.Error())
	}
	// kids of Vipps MobilePay look like this.
	return &signingKey{kid: "public:" + randomUUID(), private: private}
}

// keyRing is the current key, and the one before it.
type keyRing struct {
	mu                sync.Mutex
	current, previous *signingKey
}

func newKeyRing() *keyRing { return &keyRing{} }

// list gives the current key first.
func (k *keyRing) list() []*signingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil {
		k.current = firstKey()
	}
	if k.previous == nil {
		return []*signingKey{k.current}
	}
	return []*signingKey{k.current, k.previous}
}

// rotate keeps one old key: ID tokens signed a moment ago are still good.
func (k *keyRing) rotate() {
	next := newSigningKey()
	old := k.list()[0]
	k.mu.Lock()
	defer k.mu.Unlock()
	k.previous, k.current = old, next
}

// RotateKey makes a new signing key. ID tokens are signed with it from now on;
// the key set publishes it and the one before it.
func (s *Simulator) RotateKey() { s.keys.rotate() }

// jwks serves the key set (RFC 7517).
func (s *Simulator) jwks(w http.ResponseWriter, _ *http.Request) {
	keys := []map[string]string{}
	for _, key := range s.keys.list() {
		public := key.private.PublicKey
		keys = append(keys, map[string]string{
			"kty": "RSA",
			"use": "sig",
			"alg": "RS256",
			"kid": key.kid,
			"n":   base64.RawURLEncoding.EncodeToString(public.N.Bytes()),
			"e":   base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes()),
		})
	}
	// How long to keep it is the client's business: Vipps documents nothing.
	w.Header().Del("Cache-Control")
	writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
}

// sign makes a JWS in compact form (RFC 7515, section 7.1) with RS256. It is
// written out rather than left to a JWT library so that the plugin's library is
// tested against something else than itself.
func (key *signingKey) sign(header, claims map[string]any) (string, error) {
	head, err := encodePart(header)
	if err != nil {
		return "", err
	}
	payload, err := encodePart(claims)
	if err != nil {
		return "", err
	}
	signed := head + "." + payload
	hash := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, key.private, crypto.SHA256, hash[:])
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func encodePart(v map[string]any) (string, error) {
	b, err := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(b), err
}
