package state

import "sync"

// Watchers is the part of an engine that Watch is about: who waits for which key in this process. Its zero value is
// ready for use.
type Watchers struct {
	mu    sync.Mutex
	byKey map[string]map[chan struct{}]struct{}
}

// Watch implements Engine, given that Changed and ChangedAll are called.
func (w *Watchers) Watch(key string) (changed <-chan struct{}, stop func()) {
	channel := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = make(map[string]map[chan struct{}]struct{})
	}
	if w.byKey[key] == nil {
		w.byKey[key] = make(map[chan struct{}]struct{})
	}
	w.byKey[key][channel] = struct{}{}
	return channel, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.byKey[key], channel)
		if len(w.byKey[key]) == 0 {
			delete(w.byKey, key)
		}
	}
}

// Changed wakes those who watch a key.
func (w *Watchers) Changed(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wake(w.byKey[key])
}

// ChangedAll wakes everybody: changes may have been missed.
func (w *Watchers) ChangedAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, channels := range w.byKey {
		wake(channels)
	}
}

func wake(channels map[chan struct{}]struct{}) {
	for channel := range channels {
		select {
		case channel <- struct{}{}:
		default: // it has one already
		}
	}
}
