package revocation

import (
	"encoding/base64"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/session"
)

// Sessions are in browsers, and end by themselves. What ends one before its time, everywhere, is a list that every
// instance holds in memory: no request waits for the shared state to see whether its session is on it.

// Ended is the list, made to be asked by many requests at once, and added to one by one.
type Ended struct {
	sessions shards // by id
	people   shards // by MSN and sub; the MSN is "" where the sub is enough
	owners   shards // of all sessions of a merchant, by MSN; "" is everybody

	persons atomic.Int64 // how many there are in people: mostly none
	begun   atomic.Int64 // what ended before is not known, in seconds since 1970
}

// mark is what is known of one key: sessions that began no later than before have ended, which counts until then. Of a
// single session it is any time.
type mark struct {
	before, until int64
	seen          uint32 // the last reading of the feed that had it
}

const shardCount = 64

// shards are a map in parts, so that requests that ask and logouts that add hardly wait for one another.
type shards struct {
	parts [shardCount]struct {
		sync.RWMutex
		marks map[string]mark
	}
}

var hashSeed = maphash.MakeSeed()

func (s *shards) get(key string) mark {
	part := &s.parts[maphash.String(hashSeed, key)%shardCount]
	part.RLock()
	defer part.RUnlock()
	return part.marks[key]
}

// add takes the latest of what is known, and reports whether the key is new.
func (s *shards) add(key string, m mark) (isNew bool) {
	part := &s.parts[maphash.String(hashSeed, key)%shardCount]
	part.Lock()
	defer part.Unlock()
	if part.marks == nil {
		part.marks = make(map[string]mark)
	}
	known, ok := part.marks[key]
	m.seen = max(m.seen, known.seen)
	if known.before > m.before || known.until > m.until { // what was seen is less than what is known
		m.seen = known.seen
	}
	m.before, m.until = max(known.before, m.before), max(known.until, m.until)
	part.marks[key] = m
	return !ok
}

// each calls do with every mark, and deletes those for which it returns false.
func (s *shards) each(do func(key string, m mark) (keep bool)) {
	for i := range s.parts {
		part := &s.parts[i]
		part.Lock()
		for key, m := range part.marks {
			if !do(key, m) {
				delete(part.marks, key)
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
		id, _ := base64.RawURLEncoding.DecodeString(entry.Session) // what is no id matches no session
		m.before = 0
		e.sessions.add(string(id), m)
	case entry.Sub != "":
		if e.people.add(personKey(entry.MSN, entry.Sub), m) {
			e.persons.Add(1)
		}
	default:
		e.owners.add(entry.MSN, m)
	}
}

// Has reports whether the session of a merchant is on the list. A login in the very second of a
// revocation counts as before it.
func (e *Ended) Has(s *session.Session, msn string) bool {
	began, now := s.Issued.Unix(), time.Now().Unix()
	ends := func(m mark) bool { return began <= m.before && now <= m.until }
	if began < e.begun.Load() || e.sessions.get(s.ID).until >= now || ends(e.owners.get("")) || ends(e.owners.get(msn)) {
		return true
	}
	if e.persons.Load() == 0 {
		return false
	}
	sub := s.Sub()
	return ends(e.people.get(personKey(msn, sub))) || ends(e.people.get(personKey("", sub)))
}

// setBegun makes sessions from before the shared state began invalid: they may have been revoked without anybody knowing.
func (e *Ended) setBegun(begun time.Time, keepSessions bool) {
	if keepSessions {
		begun = time.Time{}
	}
	e.begun.Store(begun.Unix())
}

// Len returns how many keys are on the list.
func (e *Ended) Len() (n int) {
	e.each(func(Entry, uint32) { n++ })
	return n
}

// each calls do with everything that is on the list and still counts, and forgets the rest.
func (e *Ended) each(do func(entry Entry, seen uint32)) {
	now := time.Now().Unix()
	e.sessions.each(func(key string, m mark) bool {
		if now <= m.until {
			do(Entry{Session: base64.RawURLEncoding.EncodeToString([]byte(key)), Before: m.before, Until: m.until}, m.seen)
		}
		return now <= m.until
	})
	e.people.each(func(key string, m mark) bool {
		if now > m.until {
			e.persons.Add(-1)
			return false
		}
		msn, sub, _ := strings.Cut(key, "\x00")
		do(Entry{MSN: msn, Sub: sub, Before: m.before, Until: m.until}, m.seen)
		return true
	})
	e.owners.each(func(key string, m mark) bool {
		if now <= m.until {
			do(Entry{MSN: key, Before: m.before, Until: m.until}, m.seen)
		}
		return now <= m.until
	})
}
