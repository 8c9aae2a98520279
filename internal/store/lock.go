package store

import (
	"context"
	"errors"
	"fmt"
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
		var unlockStorage func() error
		select {
		case s.locking <- struct{}{}:
			unlockStorage, err = lockBounded(lockCtx, s.storage, name)
			<-s.locking
		case <-lockCtx.Done():
			err = lockCtx.Err()
		}
		if err == nil {
			return func() { _ = unlockStorage(); release() }, nil
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
func lockBounded(ctx context.Context, storage certmagic.Storage, name string) (unlock func() error, err error) {
	type answer struct {
		unlock func() error
		err    error
	}
	locked := make(chan answer, 1)
	go func() {
		unlock, err := lockStorage(ctx, storage, name)
		locked <- answer{unlock, err}
	}()
	select {
	case a := <-locked:
		return a.unlock, a.err
	case <-ctx.Done():
		go func() {
			if a := <-locked; a.err == nil {
				_ = a.unlock()
			}
		}()
		return nil, ctx.Err()
	}
}

func lockStorage(ctx context.Context, storage certmagic.Storage, name string) (unlock func() error, err error) {
	if files, ok := storage.(*certmagic.FileStorage); ok {
		return lockFile(ctx, files, name)
	}
	if err := storage.Lock(ctx, name); err != nil {
		return nil, err
	}
	return func() error { return storage.Unlock(context.WithoutCancel(ctx), name) }, nil
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
