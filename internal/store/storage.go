// Package store is the engine of shared state that is Caddy's own storage: its values with an expiry, its changes in one
// step, and its feeds, made of files and locks.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/state"
)

const (
	// Prefix begins all of our keys in Caddy's storage.
	Prefix  = "vipps_login"
	Timeout = 10 * time.Second

	// LockTimeout is longer than the lock of a dead instance lasts (certmagic's file storage: 10 s).
	LockTimeout = 20 * time.Second
)

// ErrUnavailable is every failure but that there is nothing.
var ErrUnavailable = state.ErrUnavailable

// Store is Caddy's storage as an engine of shared state. Every call to the storage has a deadline of Timeout, and fails
// with fs.ErrNotExist where there is no such name, and with ErrUnavailable for any other reason.
type Store struct {
	storage  certmagic.Storage
	unfit    *atomic.Pointer[string] // why the storage's locks are not used, if Examine has found a reason
	slots    chan struct{}           // has an element for each call that runs
	locking  chan struct{}           // has an element for each lock that is being taken
	watchers *watchers
	feeds    *feeds
}

// New returns a Store on Caddy's storage.
func New(storage certmagic.Storage) Store {
	return Store{storage: storage, unfit: new(atomic.Pointer[string]), slots: make(chan struct{}, callsAtOnce), locking: make(chan struct{}, 2*callsAtOnce), watchers: new(watchers), feeds: newFeeds()}
}

// callsAtOnce is how many calls run at the same time: each may take a thread of the system, and a thousand tills that wait look all at
// once.
const callsAtOnce = 64

// call runs one call with its deadline, and names its error. It does not wait for a storage that does not look at the
// context: do must not touch what the caller goes on with.
func call[T any](ctx context.Context, slots chan struct{}, do func(context.Context) (T, error)) (result T, err error) {
	if ctx.Err() != nil {
		return result, named(ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	type answer struct {
		result T
		err    error
	}
	answered := make(chan answer, 1)
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return result, named(ctx.Err())
	}
	go func() {
		defer func() { cancel(); <-slots }()
		result, err := do(ctx)
		answered <- answer{result, err}
	}()
	select {
	case a := <-answered:
		return a.result, named(a.err)
	case <-ctx.Done():
	}
	select {
	case a := <-answered: // and its answer has ended the context
		return a.result, named(a.err)
	default:
		return result, named(ctx.Err())
	}
}

func named(err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w: the storage of Caddy: %w", ErrUnavailable, err)
}

// Load returns a copy of what is stored: a storage may keep what it gave, and opening a sealed value overwrites it.
func (s Store) Load(ctx context.Context, name string) ([]byte, error) {
	value, err := call(ctx, s.slots, func(ctx context.Context) ([]byte, error) { return s.storage.Load(ctx, name) })
	return bytes.Clone(value), err
}

// Write stores a value.
func (s Store) Write(ctx context.Context, name string, value []byte) error {
	_, err := call(ctx, s.slots, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.storage.Store(ctx, name, value) })
	return err
}

// Delete removes what may be there.
func (s Store) Delete(ctx context.Context, name string) error {
	_, err := call(ctx, s.slots, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.storage.Delete(ctx, name) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List returns the names in a folder, as the storage has them: it may list what only begins alike.
func (s Store) List(ctx context.Context, folder string) ([]string, error) {
	return call(ctx, s.slots, func(ctx context.Context) ([]string, error) { return s.storage.List(ctx, folder, false) })
}
