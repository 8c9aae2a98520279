package session

import (
	"crypto/cipher"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/seal"
)

// openedSlots is how many sessions an Opened keeps at most. One takes at most 7 KiB: its cookie, and its claims, of which no more
// than a cookie's are kept.
const openedSlots = 1024

// Opened keeps sessions that were opened lately, so that the next request of the same user decodes and decrypts nothing. It
// says only what Open would say again: that these very cookies are this session, with these keys, at this host and MSN.
// Whether the session has expired or is revoked is for the caller to find out at each request. There is no lock: a session
// that hashes to the slot of another one replaces it.
type Opened struct {
	seed  maphash.Seed
	slots [openedSlots]atomic.Pointer[openedSession]
}

type openedSession struct {
	hash             uint64
	value, host, msn string
	key              *cipher.AEAD // the first key of the keyring: another keyring has another address
	session          Session      // never changed
}

// NewOpened returns an Opened without sessions.
func NewOpened() *Opened { return &Opened{seed: maphash.MakeSeed()} }

// Open is Open, with what it has kept. The session is a copy that the caller may change, except for its claims.
func (o *Opened) Open(keys seal.Keyring, values []string, host, msn string) (*Session, bool) {
	if len(values) != 1 || len(keys) == 0 {
		return Open(keys, values, host, msn) // too large, or none
	}
	// The seed is secret and the whole cookie is hashed, so the time of the comparison says nothing about another's cookie: it
	// is not compared with one that differs.
	hash := maphash.String(o.seed, values[0])
	slot := &o.slots[hash%openedSlots]
	if kept := slot.Load(); kept != nil && kept.hash == hash && kept.is(values[0], host, msn, &keys[0]) {
		s := kept.session
		return &s, true
	}
	s, ok := Open(keys, values, host, msn)
	if !ok || max(len(values[0]), claimBytes(s)) > cookie.MaxChunkBytes {
		return s, ok
	}
	kept := *s
	kept.Claims = slices.Clip(s.Claims) // so that no append writes into them
	// The cookie is a part of the request's header, which would be kept as a whole.
	slot.Store(&openedSession{hash, strings.Clone(values[0]), strings.Clone(host), strings.Clone(msn), &keys[0], kept})
	return s, true
}

// claimBytes is how much the claims of a session are: compressed, many fit in one cookie.
func claimBytes(s *Session) (bytes int) {
	for _, c := range s.Claims {
		bytes += c.Size()
	}
	return bytes
}

func (k *openedSession) is(value, host, msn string, key *cipher.AEAD) bool {
	return k.value == value && k.host == host && k.msn == msn && k.key == key
}
