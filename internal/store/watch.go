package store

import (
	"sync"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

// watchEvery is how often those who watch a key look whether another instance has changed it: Caddy's storage tells
// nobody of a change.
const watchEvery = 2 * time.Second

// watchers are those who watch keys. While there are any, they are woken every watchEvery.
type watchers struct {
	state.Watchers
	mu      sync.Mutex
	count   int
	stopped chan struct{} // ends the goroutine that wakes them
}

// Watch implements state.Engine.
func (s Store) Watch(key string) (changed <-chan struct{}, stop func()) {
	w := s.watchers
	changed, forget := w.Watchers.Watch(key)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count++; w.count == 1 {
		w.stopped = make(chan struct{})
		go w.wake(w.stopped)
	}
	return changed, func() {
		forget()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.count--; w.count == 0 {
			close(w.stopped)
		}
	}
}

func (w *watchers) wake(stopped <-chan struct{}) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.ChangedAll()
		case <-stopped:
			return
		}
	}
}

// Notifies implements state.Engine.
func (s Store) Notifies() bool { return false }
