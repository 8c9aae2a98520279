package revocation

import (
	"encoding/base64"
	"hash/maphash"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/session"
)

// Sessions are in browsers, and expire. A list of revocations ends them early at all instances. Every instance has the list in
// memory, so that no request waits for the shared state.

// Ended is the list, made to be asked by many requests at once, and added to one by one.
type Ended struct {
	sessions shards[[session.IDBytes]byte, sessionMark]
	people   shards[string, mark] // by MSN and sub; the MSN is "" where the sub is enough
	owners   shards[string, mark] // of all sessions of a merchant, by MSN; "" is everybody

	begun atomic.Int64 // revocations from before are not known, in seconds since 1970
}

// sessionMark is what is known of one session. There may be millions: they take 8 bytes besides their key.
type sessionMark struct {
	until uint32 // when the session has expired, in seconds since 1970
	seen  uint32 // the last reading of the feed that had it
}

// with returns the latest of two marks. Every entry of a session has the same end, so there is none that was not seen.
func (m sessionMark) with(other sessionMark) sessionMark {
	return sessionMark{max(m.until, other.until), max(m.seen, other.seen)}
}

// mark is what is known of several sessions: those that began no later than before are revoked, which counts until then.
type mark struct {
	before, until int64
	seen          uint32 // the last reading of the feed that had it
}

// with returns the latest of two marks. It was not seen if what was is less.
func (m mark) with(other mark) mark {
	if m.before > other.before || m.until > other.until {
		other.seen = m.seen
	}
	return mark{max(m.before, other.before), max(m.until, other.until), max(m.seen, other.seen)}
}

// Interface guards: staticcheck does not see uses through a constraint.
var (
	_ interface{ with(sessionMark) sessionMark } = sessionMark{}
	_ interface{ with(mark) mark }               = mark{}
)

const shardCount = 64

// shards are a map in parts, so that requests that ask and logouts that add hardly wait for one another.
type shards[K comparable, M any] struct {
	count atomic.Int64 // of all marks: mostly there is none, and nothing to look up
	parts [shardCount]shard[K, M]
}

type shard[K comparable, M any] struct {
	sync.RWMutex
	marks map[K]M
}

var hashSeed = maphash.MakeSeed()

func (s *shards[K, M]) part(key K) *shard[K, M] {
	return &s.parts[maphash.Comparable(hashSeed, key)%shardCount]
}

func (s *shards[K, M]) get(key K) (none M) {
	if s.count.Load() == 0 {
		return none
	}
	part := s.part(key)
	part.RLock()
	defer part.RUnlock()
	return part.marks[key]
}

// add joins a mark to what is known of a key. It is counted while its part is locked, as in each, so that the count is 0 only
// while there is none.
func (s *shards[K, M]) add(key K, m M, join func(known, m M) M) {
	part := s.part(key)
	part.Lock()
	defer part.Unlock()
	if part.marks == nil {
		part.marks = make(map[K]M)
	}
	known, ok := part.marks[key]
	if !ok {
		s.count.Add(1)
	}
	part.marks[key] = join(known, m)
}

// each calls do with every mark, and deletes those for which it returns false.
func (s *shards[K, M]) each(do func(key K, m M) (keep bool)) {
	for i := range s.parts {
		part := &s.parts[i]
		part.Lock()
		for key, m := range part.marks {
			if !do(key, m) {
				delete(part.marks, key)
				s.count.Add(-1)
			}
		}
		part.Unlock()
	}
}

func personKey(msn, sub string) string { return msn + "\x00" + sub }

// add ends sessions. seen is the reading of the feed that had the entry; 0 for none.
func (e *Ended) add(entry Entry, seen uint32) {
	m := mark{before: entry.Before, until: entry.Until, seen: seen}
	switch {
	case entry.Session != "":
		id, err := base64.RawURLEncoding.DecodeString(entry.Session)
		if err == nil && len(id) == session.IDBytes { // what is no id matches no session
			e.sessions.add([session.IDBytes]byte(id), sessionMark{uint32(min(max(entry.Until, 0), math.MaxUint32)), seen}, sessionMark.with)
		}
	case entry.Sub != "":
		e.people.add(personKey(entry.MSN, entry.Sub), m, mark.with)
	default:
		e.owners.add(entry.MSN, m, mark.with)
	}
}

// Has reports whether the session of a merchant is on the list. A login in the very second of a
// revocation counts as before it.
func (e *Ended) Has(s *session.Session, msn string) bool {
	began, now := s.Issued.Unix(), time.Now().Unix()
	ends := func(m mark) bool { return began <= m.before && now <= m.until }
	if began < e.begun.Load() || e.hasSession(s.ID, now) || ends(e.owners.get("")) || ends(e.owners.get(msn)) {
		return true
	}
	if e.people.count.Load() == 0 { // no key has to be built
		return false
	}
	sub := s.Sub()
	return ends(e.people.get(personKey(msn, sub))) || ends(e.people.get(personKey("", sub)))
}

func (e *Ended) hasSession(id string, now int64) bool {
	return len(id) == session.IDBytes && int64(e.sessions.get([session.IDBytes]byte([]byte(id))).until) >= now
}

// setBegun makes sessions from before the shared state began invalid: they may have been revoked without anybody knowing.
func (e *Ended) setBegun(begun time.Time, keepSessions bool) {
	if keepSessions {
		begun = time.Time{}
	}
	e.begun.Store(begun.Unix())
}

// DeleteExpired forgets what does not count any more.
func (e *Ended) DeleteExpired() {
	now := time.Now().Unix()
	e.sessions.each(func(_ [session.IDBytes]byte, m sessionMark) bool { return now <= int64(m.until) })
	e.owners.each(func(_ string, m mark) bool { return now <= m.until })
	e.people.each(func(_ string, m mark) bool { return now <= m.until })
}

// Len returns how many keys are on the list.
func (e *Ended) Len() int {
	e.DeleteExpired()
	return int(e.sessions.count.Load() + e.people.count.Load() + e.owners.count.Load())
}

// unseen calls do with everything on the list that a reading of the feed has not seen.
func (e *Ended) unseen(reading uint32, do func(entry Entry, seen uint32)) {
	e.DeleteExpired()
	e.sessions.each(func(id [session.IDBytes]byte, m sessionMark) bool {
		if m.seen != reading {
			do(Entry{Session: base64.RawURLEncoding.EncodeToString(id[:]), Until: int64(m.until)}, m.seen)
		}
		return true
	})
	e.people.each(func(key string, m mark) bool {
		if m.seen != reading {
			msn, sub, _ := strings.Cut(key, "\x00")
			do(Entry{MSN: msn, Sub: sub, Before: m.before, Until: m.until}, m.seen)
		}
		return true
	})
	e.owners.each(func(key string, m mark) bool {
		if m.seen != reading {
			do(Entry{MSN: key, Before: m.before, Until: m.until}, m.seen)
		}
		return true
	})
}
