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

// keyedLocks is a mutex for each key in use. It is taken before the lock in Caddy's storage, so that requests of one process do
// not compete for that by polling.
type keyedLocks struct {
	mu    sync.Mutex
	locks map[string]*keyedLock
}

type keyedLock struct {
	sync.Mutex
	count int
}

// lock locks the key's mutex, and returns the function to unlock it.
func (k *keyedLocks) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = make(map[string]*keyedLock)
	}
	entry := k.locks[key]
	if entry == nil {
		entry = new(keyedLock)
		k.locks[key] = entry
	}
	entry.count++
	k.mu.Unlock()

	entry.Lock()
	return func() {
		entry.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if entry.count--; entry.count == 0 {
			delete(k.locks, key)
		}
	}
}
