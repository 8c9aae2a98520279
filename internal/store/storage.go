// Package store is the engine of shared state that is Caddy's own storage: its values with an expiry, its changes in one
// step, and its feeds, made of files and locks.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/state"
)

const (
	// Prefix is where everything of ours is in Caddy's storage.
	Prefix  = "vipps_login"
	Timeout = 10 * time.Second

	// LockTimeout is longer than the lock of an instance that died stays (certmagic's file storage: 10 s).
	LockTimeout = 20 * time.Second
)

// ErrUnavailable is every failure but that there is nothing.
var ErrUnavailable = state.ErrUnavailable

// ErrLocked says that another instance is at it.
var ErrLocked = errors.New("locked by another request")

// Store is Caddy's storage as an engine of shared state. Every call to the storage has a deadline of Timeout, and fails
// with fs.ErrNotExist where there is no such name, and with ErrUnavailable for any other reason.
type Store struct {
	storage  certmagic.Storage
	locks    *keyedLocks
	watchers *watchers
	feeds    *feeds
}

// New returns a Store on Caddy's storage.
func New(storage certmagic.Storage) Store {
	return Store{storage: storage, locks: new(keyedLocks), watchers: new(watchers), feeds: newFeeds()}
}

// call runs one call with its deadline, and names its error.
func call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	err := do(ctx)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w: the storage of Caddy: %w", ErrUnavailable, err)
}

// Load returns a copy of what is stored: a storage may keep what it gave, and opening a sealed value overwrites it.
func (s Store) Load(ctx context.Context, name string) (value []byte, err error) {
	err = call(ctx, func(ctx context.Context) error {
		value, err = s.storage.Load(ctx, name)
		return err
	})
	return bytes.Clone(value), err
}

// Write stores a value.
func (s Store) Write(ctx context.Context, name string, value []byte) error {
	return call(ctx, func(ctx context.Context) error { return s.storage.Store(ctx, name, value) })
}

// Delete removes what may be there.
func (s Store) Delete(ctx context.Context, name string) error {
	err := call(ctx, func(ctx context.Context) error { return s.storage.Delete(ctx, name) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List returns the names in a folder, as the storage has them: it may list what only begins alike.
func (s Store) List(ctx context.Context, folder string) (names []string, err error) {
	err = call(ctx, func(ctx context.Context) error {
		names, err = s.storage.List(ctx, folder, false)
		return err
	})
	return names, err
}
