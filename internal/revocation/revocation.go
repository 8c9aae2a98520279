package revocation

import (
	"encoding/base64"
	"sync/atomic"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/session"
)

// Sessions are in browsers, and expire. A short list of revocations ends them early at all instances. Every instance has the
// list in memory, so that no request waits for storage. store.go shares the list between instances.

// Entry revokes sessions: the one with an id, or all that began no later than Before, of a user, of a merchant, or of
// everybody.
type Entry struct {
	Session string `json:"session,omitempty"` // the id of one session, as text
	MSN     string `json:"msn,omitempty"`     // "" for every merchant
	Sub     string `json:"sub,omitempty"`     // "" for every user
	Before  int64  `json:"before"`            // seconds since 1970
	Until   int64  `json:"until"`             // when the last such session has expired
}

// person is a user at a merchant; msn is "" where the sub is enough.
type person struct{ msn, sub string }

// revoked is an index of revocations. It never changes.
type revoked struct {
	everybody int64
	merchants map[string]int64
	persons   map[person]int64
	sessions  map[string]bool
}

// newRevoked builds the index of those that still count.
func newRevoked(now time.Time, lists ...[]Entry) *revoked {
	r := &revoked{merchants: make(map[string]int64), persons: make(map[person]int64), sessions: make(map[string]bool)}
	for _, list := range lists {
		for _, entry := range list {
			if entry.Until >= now.Unix() {
				r.add(entry)
			}
		}
	}
	return r
}

func (r *revoked) add(entry Entry) {
	switch {
	case entry.Session != "":
		id, _ := base64.RawURLEncoding.DecodeString(entry.Session) // an invalid id matches no session
		r.sessions[string(id)] = true
	case entry.Sub != "":
		who := person{entry.MSN, entry.Sub}
		r.persons[who] = max(r.persons[who], entry.Before)
	case entry.MSN != "":
		r.merchants[entry.MSN] = max(r.merchants[entry.MSN], entry.Before)
	default:
		r.everybody = max(r.everybody, entry.Before)
	}
}

// has reports whether a session of a merchant is revoked. A login in the same second as a revocation counts as before it.
func (r *revoked) has(s *session.Session, msn string) bool {
	if r == nil {
		return false
	}
	began := s.Issued.Unix()
	if began <= r.everybody || began <= r.merchants[msn] || r.sessions[s.ID] {
		return true
	}
	if len(r.persons) == 0 {
		return false
	}
	sub := s.Sub()
	return began <= r.persons[person{msn, sub}] || began <= r.persons[person{"", sub}]
}

// revokedNow is what requests use: the index of what was read from storage, and of the few entries that this instance has
// added since, which is rebuilt for each addition.
type revokedNow struct {
	read, added atomic.Pointer[revoked]
}

func (r *revokedNow) Has(s *session.Session, msn string) bool {
	return r.read.Load().has(s, msn) || r.added.Load().has(s, msn)
}
