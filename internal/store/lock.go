package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// ErrLocked says that another instance has the lock.
var ErrLocked = errors.New("locked by another request")

// WithLock runs do while no other instance holds the same lock, for which it waits as long as patience. All of do has one
// deadline of Timeout. A holder that dies loses the lock after seconds (certmagic.Locker, and breakAbandoned).
func (s Store) WithLock(ctx context.Context, name string, patience time.Duration, do func(context.Context) error) error {
	if why := s.unfit.Load(); why != nil {
		return fmt.Errorf("%w: %s", ErrUnavailable, *why)
	}
	unlock, err := s.lock(ctx, name, patience)
	if err != nil {
		return err
	}
	defer unlock()
	workCtx, cancelWork := context.WithTimeout(ctx, Timeout)
	defer cancelWork()
	return do(workCtx)
}

// lock takes the lock of this process first, since not every storage's lock excludes other goroutines, and then storage's.
func (s Store) lock(ctx context.Context, name string, patience time.Duration) (unlock func(), err error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	lockCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	release, err := inProcess.lock(lockCtx, name)
	if err == nil {
		select {
		case s.locking <- struct{}{}:
			err = lockBounded(lockCtx, s.storage, name)
			<-s.locking
		case <-lockCtx.Done():
			err = lockCtx.Err()
		}
		if err == nil {
			return func() { _ = s.storage.Unlock(context.WithoutCancel(ctx), name); release() }, nil
		}
		release()
	}
	if lockCtx.Err() != nil {
		err = ErrLocked
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// lockBounded takes a lock of storage. It returns once ctx is over, even if the storage does not: a lock that comes too late is
// given back.
func lockBounded(ctx context.Context, storage certmagic.Storage, name string) error {
	locked := make(chan error, 1)
	go func() { locked <- lockStorage(ctx, storage, name) }()
	select {
	case err := <-locked:
		return err
	case <-ctx.Done():
		go func() {
			if <-locked == nil {
				_ = storage.Unlock(context.WithoutCancel(ctx), name)
			}
		}()
		return ctx.Err()
	}
}

// inProcess has the locks of this process.
var inProcess = keyedLocks{held: map[string]*keyedLock{}}

type keyedLocks struct {
	mu   sync.Mutex
	held map[string]*keyedLock
}

type keyedLock struct {
	free  chan struct{}
	users int // that hold it or wait for it
}

func (k *keyedLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	l := k.held[name]
	if l == nil {
		l = &keyedLock{free: make(chan struct{}, 1)}
		k.held[name] = l
	}
	l.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.held, name)
		}
	}
	select {
	case l.free <- struct{}{}:
		return func() { <-l.free; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// maxHeld is longer than we ever hold a lock.
const maxHeld = Timeout + 2*time.Second

// lockStorage takes a lock. In Caddy's file storage it breaks one that a dead instance has left.
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

// breakAbandoned deletes a lock that is older than maxHeld. It belongs to a dead instance, and can still look fresh for ever:
// certmagic refreshes the lock file of a name every 5 seconds until there is none, and so refreshes one that another instance
// has created in between.
func breakAbandoned(files *certmagic.FileStorage, name string, now time.Time) {
	content, err := os.ReadFile(filepath.Join(files.Path, "locks", certmagic.StorageKeys.Safe(name)+".lock"))
	if err != nil {
		return // there is none
	}
	var lock struct{ Created time.Time }
	if json.Unmarshal(content, &lock) == nil && !lock.Created.IsZero() && now.Sub(lock.Created) > maxHeld {
		_ = files.Unlock(context.Background(), name)
	}
}
