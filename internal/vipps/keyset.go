package vipps

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
)

// keySet is a copy of the key set that ID tokens are signed with.
type keySet struct {
	keys  keyfunc.Keyfunc
	ids   map[string]bool
	all   []signingKey
	types map[string]string // types of keys by id, including those of the previous set
}

// signingKey is a key that can sign ID tokens.
type signingKey struct {
	id, algorithm string // algorithm is "" for any that fits
	public        any
}

// keyType returns "RSA", "EC", or "" for keys that cannot sign ID tokens.
func keyType(public any) string {
	switch public.(type) {
	case *rsa.PublicKey:
		return "RSA"
	case *ecdsa.PublicKey:
		return "EC"
	}
	return ""
}

// fetchKeySet fetches the key set (RFC 7517). Unusable keys are skipped; a set without usable keys is an error, so that the
// last good one stays in use.
func (c *Client) fetchKeySet(ctx context.Context) (*keySet, time.Duration, error) {
	doc, err := c.Discovery.Get(ctx)
	if err != nil {
		return nil, 0, err
	}
	var answer jwkset.JWKSMarshal
	header, err := c.get(calling(ctx, "keys"), doc.JWKSURI, "", &answer)
	if err != nil {
		return nil, 0, fmt.Errorf("keys: %w", err)
	}
	set, err := newKeySet(ctx, answer)
	if err != nil {
		return nil, 0, fmt.Errorf("keys: %w", ErrBadAnswer)
	}
	if before, ok := c.KeySet.load(); ok {
		set.remember(before.value)
	}
	return set, documentLife(header), nil
}

// remember takes over the types of the previous set's keys.
func (s *keySet) remember(before *keySet) {
	for _, key := range before.all {
		if _, known := s.types[key.id]; !known {
			s.types[key.id] = keyType(key.public)
		}
	}
}

func newKeySet(ctx context.Context, answer jwkset.JWKSMarshal) (*keySet, error) {
	storage := jwkset.NewMemoryStorage()
	set := &keySet{ids: make(map[string]bool), types: make(map[string]string)}
	for _, marshalled := range answer.Keys {
		jwk, err := jwkset.NewJWKFromMarshal(marshalled, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil || marshalled.KID == "" || set.ids[marshalled.KID] {
			continue
		}
		if err := storage.KeyWrite(ctx, jwk); err != nil {
			return nil, err
		}
		set.ids[marshalled.KID] = true
		// A key for encryption signs nothing (RFC 7517 section 4.2).
		if signs := marshalled.USE == jwkset.UseSig || marshalled.USE == ""; signs && keyType(jwk.Key()) != "" {
			set.all = append(set.all, signingKey{marshalled.KID, marshalled.ALG.String(), jwk.Key()})
			set.types[marshalled.KID] = keyType(jwk.Key())
		}
	}
	if len(set.ids) == 0 {
		return nil, ErrBadAnswer
	}
	var err error
	set.keys, err = keyfunc.New(keyfunc.Options{Storage: storage, UseWhitelist: []jwkset.USE{jwkset.UseSig, ""}})
	return set, err
}

// VerificationKey returns the key that a token names. If it is unknown, the key set is fetched once, within a limit: keys
// rotate (OpenID Connect Core section 10.1.1). newer says that the known key did not verify the signature, so that the key set
// is fetched as well.
//
// A code that is redeemed after a rotation gives a token with the old key's id and the new key's signature (seen at ORY Hydra).
// So the other keys of that key's type are accepted as well: all are Vipps MobilePay's. A token that names no key, or one that
// never existed, is refused.
func (c *Client) VerificationKey(ctx context.Context, token *jwt.Token, newer bool) (any, error) {
	kid, _ := token.Header["kid"].(string)
	if kid == "" {
		return nil, idtoken.ErrKey // keys are not guessed
	}
	since := time.Now()
	set, err := c.KeySet.Get(ctx)
	if err != nil {
		return nil, err
	}
	if newer || !set.ids[kid] {
		allow := c.rotations.Allow
		if newer {
			allow = c.misfits.Allow
		}
		if set, err = c.KeySet.renewIf(ctx, since, allow); err != nil {
			return nil, err
		}
	}
	others := set.others(kid, token.Method.Alg())
	if !set.ids[kid] {
		if len(others) == 0 {
			return nil, idtoken.ErrKey
		}
		return jwt.VerificationKeySet{Keys: others}, nil
	}
	named, err := set.keys.KeyfuncCtx(ctx)(token)
	if err != nil {
		return nil, idtoken.ErrKey
	}
	return jwt.VerificationKeySet{Keys: append([]jwt.VerificationKey{named}, others...)}, nil
}

// maxOthers limits how many keys are tried for one token.
const maxOthers = 4

// others returns the keys that may have signed in place of the one with that id: those of its type for the algorithm.
func (s *keySet) others(kid, algorithm string) []jwt.VerificationKey {
	var found []jwt.VerificationKey
	for _, key := range s.all {
		fits := key.algorithm == "" || key.algorithm == algorithm
		if key.id != kid && fits && keyType(key.public) == s.types[kid] && len(found) < maxOthers {
			found = append(found, key.public)
		}
	}
	return found
}
