package phone

import "sync"

// waiters lets requests wait for another request of this process.
type waiters struct {
	mu    sync.Mutex
	waits map[string]*wait
}

type wait struct {
	woken chan struct{}
	count int
}

// wait returns a channel that wake closes, and a function to call at the end of the wait.
func (w *waiters) wait(id string) (woken <-chan struct{}, done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waits == nil {
		w.waits = make(map[string]*wait)
	}
	entry := w.waits[id]
	if entry == nil {
		entry = &wait{woken: make(chan struct{})}
		w.waits[id] = entry
	}
	entry.count++
	return entry.woken, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if entry.count--; entry.count == 0 && w.waits[id] == entry {
			delete(w.waits, id)
		}
	}
}

// waiting reports whether anybody waits for id.
func (w *waiters) waiting(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waits[id] != nil
}

// wake wakes all that wait for id.
func (w *waiters) wake(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if entry := w.waits[id]; entry != nil {
		close(entry.woken)
		delete(w.waits, id)
	}
}
