package store

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// withLock runs do while no other instance runs anything under the same lock, and waits for the lock as long as
// LockTimeout. All that do does has one deadline of Timeout. A holder that dies loses the lock after seconds
// (certmagic.Locker, and breakAbandoned). A mutex stands before the lock in storage: some storages' locks do not keep
// two requests of one process apart, and those that do are slow.
func (s Store) withLock(ctx context.Context, name string, do func(context.Context) error) error {
	lockCtx, cancel := context.WithTimeout(ctx, LockTimeout)
	defer cancel()
	unlock, err := s.locks.lock(lockCtx, name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, ErrLocked)
	}
	defer unlock()
	if err := lockStorage(lockCtx, s.storage, name); err != nil {
		if lockCtx.Err() != nil {
			err = ErrLocked
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = s.storage.Unlock(context.WithoutCancel(ctx), name) }()
	workCtx, cancelWork := context.WithTimeout(ctx, Timeout)
	defer cancelWork()
	return do(workCtx)
}

// maxHeld is longer than anything of ours holds a lock.
const maxHeld = Timeout + 2*time.Second

// lockStorage takes a lock. In Caddy's file storage it looks meanwhile for one that nobody holds.
func lockStorage(ctx context.Context, storage certmagic.Storage, name string) error {
	files, ok := storage.(*certmagic.FileStorage)
	if !ok {
		return storage.Lock(ctx, name)
	}
	for {
		breakAbandoned(files, name, time.Now())
		tryCtx, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := files.Lock(tryCtx, name)
		again := err != nil && tryCtx.Err() != nil && ctx.Err() == nil
		cancel()
		if !again {
			return err
		}
	}
}

// breakAbandoned deletes a lock that is older than maxHeld. Such a lock is a dead instance's, and still can
// look fresh for ever: certmagic keeps the lock file of a name fresh until it finds none, every 5 seconds,
// and so one that another instance has made in between.
func breakAbandoned(files *certmagic.FileStorage, name string, now time.Time) {
	content, err := os.ReadFile(filepath.Join(files.Path, "locks", certmagic.StorageKeys.Safe(name)+".lock"))
	if err != nil {
		return // nobody has it
	}
	var lock struct{ Created time.Time }
	if json.Unmarshal(content, &lock) == nil && !lock.Created.IsZero() && now.Sub(lock.Created) > maxHeld {
		_ = files.Unlock(context.Background(), name)
	}
}

// keyedLocks is a mutex for each key that is in use.
type keyedLocks struct {
	mu    sync.Mutex
	locks map[string]*keyedLock
}

type keyedLock struct {
	held  chan struct{} // has an element while somebody holds it
	users int           // who hold it or wait for it
}

// lock waits for the key's mutex, and returns what to call to give it back.
func (k *keyedLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = make(map[string]*keyedLock)
	}
	entry := k.locks[key]
	if entry == nil {
		entry = &keyedLock{held: make(chan struct{}, 1)}
		k.locks[key] = entry
	}
	entry.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if entry.users--; entry.users == 0 {
			delete(k.locks, key)
		}
	}
	select {
	case entry.held <- struct{}{}:
		return func() { <-entry.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
