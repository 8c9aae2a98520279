package vippslogin

import (
	"context"
	"errors"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

// keySet is one copy of the keys that Vipps MobilePay signs ID tokens with.
type keySet struct {
	keys keyfunc.Keyfunc
	ids  map[string]bool
}

// fetchKeySet reads the key set (RFC 7517). Keys we cannot use are passed over; a set without any is
// no good answer, so that the last good one stays.
func (c *partnerClient) fetchKeySet(ctx context.Context) (*keySet, time.Duration, error) {
	doc, err := c.discovery.get(ctx)
	if err != nil {
		return nil, 0, err
	}
	var answer jwkset.JWKSMarshal
	header, err := c.get(calling(ctx, "keys"), doc.JWKSURI, "", &answer)
	if err != nil {
		return nil, 0, callError{"keys", err}
	}
	set, err := newKeySet(ctx, answer)
	if err != nil {
		return nil, 0, callError{"keys", errBadAnswer}
	}
	return set, maxAge(header), nil
}

func newKeySet(ctx context.Context, answer jwkset.JWKSMarshal) (*keySet, error) {
	storage := jwkset.NewMemoryStorage()
	set := &keySet{ids: make(map[string]bool)}
	for _, marshalled := range answer.Keys {
		jwk, err := jwkset.NewJWKFromMarshal(marshalled, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil || marshalled.KID == "" || set.ids[marshalled.KID] {
			continue
		}
		if err := storage.KeyWrite(ctx, jwk); err != nil {
			return nil, err
		}
		set.ids[marshalled.KID] = true
	}
	if len(set.ids) == 0 {
		return nil, errBadAnswer
	}
	var err error
	// A key for encryption signs nothing (RFC 7517 section 4.2).
	set.keys, err = keyfunc.New(keyfunc.Options{Storage: storage, UseWhitelist: []jwkset.USE{jwkset.UseSig, ""}})
	return set, err
}

var errUnknownKey = errors.New("no key of that id")

// verificationKey finds the key that a token names, and asks Vipps MobilePay once, not too often,
// about one that is not known: keys rotate (OpenID Connect Core section 10.1.1).
func (c *partnerClient) verificationKey(ctx context.Context, token *jwt.Token) (any, error) {
	kid, _ := token.Header["kid"].(string)
	if kid == "" {
		return nil, errUnknownKey // no guessing among the keys
	}
	set, err := c.keySet.get(ctx)
	if err != nil {
		return nil, err
	}
	if !set.ids[kid] && c.rotations.Allow() {
		if set, err = c.keySet.renew(ctx); err != nil {
			return nil, err
		}
	}
	if !set.ids[kid] {
		return nil, errUnknownKey
	}
	return set.keys.KeyfuncCtx(ctx)(token)
}
