package store

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

const (
	// watchEvery is how often it is looked whether another instance has changed what somebody watches: Caddy's storage tells
	// nobody of a change.
	watchEvery = 2 * time.Second

	// lookers is how many look at the same time.
	lookers = 16
)

// watchers are those who watch keys. While there are any, one goroutine looks at their values, and wakes those whose value is
// another one: a thousand requests that wait would each need a stack to look for themselves, all at once (bench/phone).
type watchers struct {
	state.Watchers
	mu      sync.Mutex
	keys    map[string]*watched
	stopped chan struct{} // ends the goroutine that looks
}

// watched is a key that is watched.
type watched struct {
	count int    // who watch
	seen  uint64 // the hash of its value; 0 before the first look
}

// seed is of the hashes of values.
var seed = maphash.MakeSeed()

// Watch implements state.Engine.
func (s Store) Watch(key string) (changed <-chan struct{}, stop func()) {
	w := s.watchers
	changed, forget := w.Watchers.Watch(key)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.keys) == 0 {
		w.keys = make(map[string]*watched)
		w.stopped = make(chan struct{})
		go s.lookAgain(w.stopped)
	}
	if w.keys[key] == nil {
		w.keys[key] = new(watched)
	}
	// Who comes late may have read another value than was seen last.
	w.keys[key].count, w.keys[key].seen = w.keys[key].count+1, 0
	return changed, func() {
		forget()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.keys[key].count--; w.keys[key].count == 0 {
			delete(w.keys, key)
		}
		if len(w.keys) == 0 {
			close(w.stopped)
		}
	}
}

func (s Store) lookAgain(stopped <-chan struct{}) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.lookAtAll()
		case <-stopped:
			return
		}
	}
}

// lookAtAll looks at everything that is watched, once.
func (s Store) lookAtAll() {
	s.watchers.mu.Lock()
	keys := make([]string, 0, len(s.watchers.keys))
	for key := range s.watchers.keys {
		keys = append(keys, key)
	}
	s.watchers.mu.Unlock()
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(lookers, len(keys)) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(keys)); i = next.Add(1) - 1 {
				s.lookAt(keys[i])
			}
		})
	}
	all.Wait()
}

// lookAt wakes those who watch a key if its value is another one than before, or cannot be read: they see for themselves.
func (s Store) lookAt(key string) {
	w := s.watchers
	value, err := s.Load(context.Background(), name(key))
	hash := max(maphash.Bytes(seed, value), 1)
	w.mu.Lock()
	watched := w.keys[key]
	same := watched == nil || err == nil && watched.seen == hash
	if watched != nil {
		watched.seen = hash
	}
	w.mu.Unlock()
	if !same {
		w.Changed(key)
	}
}

// Notifies implements state.Engine.
func (s Store) Notifies() bool { return false }
