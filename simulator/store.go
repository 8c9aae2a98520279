package simulator

import (
	"crypto/sha256"
	"sync"
	"time"
)

// storeLimit is how many entries a store holds at most. The oldest go first,
// so that a load test cannot eat the machine's memory.
const storeLimit = 20_000

// store remembers values under unguessable names until they expire. Names are
// kept as hashes: a name cannot be guessed from how long a lookup takes, and a
// token of 1000 characters costs 32 bytes.
//
// It needs no goroutine to clean up: every entry lives equally long, so what
// expires first is what came first, and each put clears the front.
type store[V any] struct {
	lifetime time.Duration

	mu      sync.Mutex
	entries map[storeKey]V
	queue   []queued
}

type storeKey [sha256.Size]byte

type queued struct {
	key     storeKey
	expires time.Time
}

func newStore[V any](lifetime time.Duration) *store[V] {
	return &store[V]{lifetime: lifetime, entries: map[storeKey]V{}}
}

// add stores v under a new random name of size bytes, which it returns as text.
func (s *store[V]) add(size int, v V) string {
	name := randomText(size)
	s.put(name, v)
	return name
}

// put stores v under a new name that the caller has made.
func (s *store[V]) put(name string, v V) {
	key := storeKey(sha256.Sum256([]byte(name)))
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.clear(now, storeLimit-1)
	s.entries[key] = v
	s.queue = append(s.queue, queued{key, now.Add(s.lifetime)})
}

// get returns what is stored under name, if it has not expired.
func (s *store[V]) get(name string) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear(time.Now(), storeLimit)
	v, ok := s.entries[sha256.Sum256([]byte(name))]
	return v, ok
}

// take is get for what can be used once: nobody finds it again.
func (s *store[V]) take(name string) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear(time.Now(), storeLimit)
	key := storeKey(sha256.Sum256([]byte(name)))
	v, ok := s.entries[key]
	delete(s.entries, key)
	return v, ok
}

// all is what has not expired, the oldest first.
func (s *store[V]) all() []V {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear(time.Now(), storeLimit)
	values := make([]V, 0, len(s.entries))
	for _, q := range s.queue {
		if v, ok := s.entries[q.key]; ok {
			values = append(values, v)
		}
	}
	return values
}

// clear drops what has expired, and the oldest beyond limit.
func (s *store[V]) clear(now time.Time, limit int) {
	for len(s.queue) > 0 && (len(s.queue) > limit || !now.Before(s.queue[0].expires)) {
		delete(s.entries, s.queue[0].key)
		s.queue = s.queue[1:]
	}
}
