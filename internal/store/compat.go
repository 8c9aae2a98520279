package store

import (
	"context"
	"errors"
	"io/fs"
	"reflect"
	"time"
)

// What follows is for what has not moved to the engine yet.

// Same reports whether both are on one storage. Storages of a type that cannot be compared never are.
func (s Store) Same(other Store) bool {
	return reflect.TypeOf(s.storage) != nil && reflect.TypeOf(s.storage).Comparable() && s.storage == other.storage
}

// Exists reports whether something is stored.
func (s Store) Exists(ctx context.Context, name string) (bool, error) {
	err := call(ctx, func(ctx context.Context) error {
		_, err := s.storage.Stat(ctx, name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// WithLock is withLock with another patience.
func (s Store) WithLock(ctx context.Context, name string, patience time.Duration, do func(context.Context) error) error {
	lockCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.withLock(lockCtx, name, func(context.Context) error {
		workCtx, cancelWork := context.WithTimeout(ctx, Timeout)
		defer cancelWork()
		return do(workCtx)
	})
}
