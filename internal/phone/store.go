package phone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/state"
)

// Store keeps logins from phone numbers in the shared state.
type Store struct {
	Shared state.Engine
	Memory *Memory
	Keys   *seal.Keys
}

// Keys begin the keys of records that expire.
var Keys = []string{loginKey, requestKey, askedKey}

const (
	loginKey   = "phone_login/"
	requestKey = "phone_request/"
	askedKey   = "phone_asked/"

	// sealedUnder stands before what an index entry is bound to: the name that it has always had.
	sealedUnder = "vipps_login/"

	// cachedFor is how long an instance believes what it read of a login that another one may change.
	cachedFor = time.Second

	// clockSkew is how far the clocks of two instances may be apart.
	clockSkew = time.Minute
)

// read returns a login of this merchant, as it was read or written at notBefore or later.
func (s Store) read(ctx context.Context, id, msn string, notBefore time.Time) (*Login, error) {
	if l := s.Memory.unstored.get(msn + "/" + id); l != nil && l.Status != Pending {
		return l.known(time.Now())
	}
	if kept, ok := s.Memory.login(id, msn); ok && !kept.at.Before(notBefore) {
		return kept.login.known(time.Now())
	}
	kept, err := s.fetch(ctx, id, msn)
	if err != nil {
		return nil, err
	}
	return kept.login.known(time.Now())
}

// load reads from the shared state. A login of another merchant does not open, and so does not exist.
func (s Store) load(ctx context.Context, id, msn string) (*Login, error) {
	kept, err := s.fetch(ctx, id, msn)
	return kept.login, err
}

// fetch is load, with the bytes that are stored, and keeps both in memory.
func (s Store) fetch(ctx context.Context, id, msn string) (kept, error) {
	began := time.Now()
	sealed, err := s.Shared.Get(ctx, loginKey+id)
	switch {
	case errors.Is(err, state.ErrNotFound):
		s.Memory.forget(id, msn)
		return kept{}, ErrUnknown
	case err != nil:
		return kept{}, err
	}
	plain, ok := s.Keys.Phone.Open(bytes.Clone(sealed), seal.Context(id, msn))
	if !ok {
		return kept{}, ErrUnknown
	}
	k := kept{login: new(Login), sealed: sealed, at: began}
	if err := json.Unmarshal(plain, k.login); err != nil {
		return kept{}, fmt.Errorf("%w: %w", state.ErrUnavailable, err)
	}
	s.Memory.keep(k, msn)
	return k, nil
}

// seal makes the bytes of a login that are stored, and says for how long.
func (s Store) seal(l *Login, msn string) (k kept, life time.Duration, err error) {
	plain, err := json.Marshal(l)
	if err != nil {
		return kept{}, 0, err
	}
	known := *l
	return kept{login: &known, sealed: s.Keys.Phone.Seal(plain, seal.Context(l.ID, msn)), at: time.Now()}, l.life(), nil
}

// life is how long a login is kept from now on.
func (l *Login) life() time.Duration { return max(time.Until(l.Forgotten), 0) + clockSkew }

// update changes a login, on whatever instance: do sees it as it is, and says whether to save what it did. It may be
// called more than once. All who wait for the login are woken.
func (s Store) update(ctx context.Context, id, msn string, do func(*Login) (changed bool, err error)) (*Login, error) {
	// What is in memory may be old: then the swap fails, or do says no to what is not so any more.
	k, inMemory := s.Memory.login(id, msn)
	for {
		if !inMemory {
			var err error
			if k, err = s.fetch(ctx, id, msn); err != nil {
				return nil, err
			}
		}
		l := *k.login
		changed, err := do(&l)
		switch {
		case (err != nil || !changed) && inMemory:
			inMemory = false
			continue
		case err != nil:
			return nil, err
		case !changed:
			return l.known(time.Now())
		}
		fresh, life, err := s.seal(&l, msn)
		if err != nil {
			return nil, err
		}
		swapped, err := s.Shared.Swap(ctx, loginKey+id, k.sealed, fresh.sealed, life)
		if err != nil {
			return nil, err
		}
		if swapped {
			s.Memory.keep(fresh, msn)
			s.Memory.waiters.wake(id)
			return l.known(time.Now())
		}
		inMemory = false // another instance was faster
	}
}

// create writes a new login, and the way to it from Vipps MobilePay's handle.
func (s Store) create(ctx context.Context, l *Login, msn string) error {
	k, life, err := s.seal(l, msn)
	if err != nil {
		return err
	}
	if err := s.Shared.Put(ctx, loginKey+l.ID, k.sealed, life); err != nil {
		return err
	}
	s.Memory.keep(k, msn)
	s.Memory.pending.Set(l.ID, struct{}{}, max(time.Until(l.lastPoll()), time.Second))
	key := s.indexKeys(l.AuthReqID)[0]
	return s.Shared.Put(ctx, key, s.Keys.Phone.Seal([]byte(msn+" "+l.ID), seal.Context(sealedUnder+key)), life)
}

// indexKeys are where the shared state says which login Vipps MobilePay calls authReqID: under the newest secret
// first.
func (s Store) indexKeys(authReqID string) []string {
	names := s.Keys.IndexNames("auth_req_id", authReqID)
	for i, name := range names {
		names[i] = requestKey + name
	}
	return names
}

// find returns the merchant and the id of the login that Vipps MobilePay calls authReqID.
func (s Store) find(ctx context.Context, authReqID string) (msn, id string, err error) {
	for _, key := range s.indexKeys(authReqID) {
		sealed, err := s.Shared.Get(ctx, key)
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return "", "", err
		}
		if plain, ok := s.Keys.Phone.Open(sealed, seal.Context(sealedUnder+key)); err == nil && ok {
			msn, id, _ := strings.Cut(string(plain), " ")
			return msn, id, nil
		}
	}
	return "", "", ErrUnknown
}

// Remove forgets a login.
func (s Store) Remove(ctx context.Context, id, msn string) error {
	defer s.Memory.waiters.wake(id)
	l, err := s.load(ctx, id, msn)
	if err != nil {
		return err
	}
	for _, key := range append(s.indexKeys(l.AuthReqID), loginKey+id) { // the login last: an error leaves the rest to another try
		if _, err = s.Shared.Take(ctx, key); err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
	}
	s.Memory.forget(id, msn)
	if err != nil {
		return ErrUnknown // another request was faster
	}
	return nil
}

const (
	maxAsked    = 5 // logins one person can be asked for in askedWindow, by all callers together
	askedWindow = 10 * time.Minute
)

// AskedTooOften says that a person's phone has rung often enough.
type AskedTooOften struct{ Wait time.Duration }

func (AskedTooOften) Error() string { return "this person was asked too often" }

// ask counts a login for the person behind hint, and fails when there were too many: nobody's phone is
// made to ring without end. The shared state sees a name that tells nothing about the number.
func (s Store) ask(ctx context.Context, hint string) error {
	for _, name := range s.Keys.IndexNames("asked", hint) { // under each secret: during a rotation, other instances have another newest
		wait, err := s.Shared.Count(ctx, askedKey+name, maxAsked, askedWindow)
		if err != nil {
			return err
		}
		if wait > 0 {
			return AskedTooOften{wait}
		}
	}
	return nil
}
