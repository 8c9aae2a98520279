package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// Prefix begins all of our keys in Caddy's storage.
	Prefix  = "vipps_login"
	Timeout = 10 * time.Second

	// LockTimeout is longer than the lock of a dead instance lasts (certmagic's file storage: 10 s).
	LockTimeout = 20 * time.Second

	// storedFor is longer than a record in the swept folders is useful after it was written.
	storedFor = 40 * time.Minute
)

var ErrUnavailable = errors.New("the storage of Caddy does not work")

// Store is Caddy's storage as the plugin uses it: every call has a deadline of Timeout, and fails with fs.ErrNotExist
// where there is no such name, and with ErrUnavailable for any other reason. Some storage modules say of every failure that
// there is no such name: it is believed only as Epoch says.
type Store struct {
	storage certmagic.Storage
	unfit   *atomic.Pointer[string] // why the storage's locks are not used, if Examine has found a reason
}

// New returns a Store on Caddy's storage.
func New(storage certmagic.Storage) Store { return Store{storage, new(atomic.Pointer[string])} }

// Same reports whether both use the same storage. It is false for storages of a type that cannot be compared.
func (s Store) Same(other Store) bool {
	return reflect.TypeOf(s.storage) != nil && reflect.TypeOf(s.storage).Comparable() && s.storage == other.storage
}

// call runs one call with its deadline, and wraps its error.
func call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	err := do(ctx)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Load returns a copy of a value: a storage may return its own, and opening a sealed value overwrites it.
func (s Store) Load(ctx context.Context, name string) (value []byte, err error) {
	err = s.orAbsent(ctx, func() error {
		value, err = s.read(ctx, name)
		return err
	})
	return value, err
}

func (s Store) read(ctx context.Context, name string) (value []byte, err error) {
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

// Delete removes a value, if there is one.
func (s Store) Delete(ctx context.Context, name string) error {
	err := call(ctx, func(ctx context.Context) error { return s.storage.Delete(ctx, name) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Exists reports whether something is stored.
func (s Store) Exists(ctx context.Context, name string) (bool, error) {
	err := s.orAbsent(ctx, func() error {
		return call(ctx, func(ctx context.Context) error {
			_, err := s.storage.Stat(ctx, name)
			return err
		})
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// List returns the names in a folder. Some storages include names that only begin with the folder's.
func (s Store) List(ctx context.Context, folder string) (names []string, err error) {
	err = call(ctx, func(ctx context.Context) error {
		names, err = s.storage.List(ctx, folder, false)
		return err
	})
	return names, err
}

// Sweep deletes expired records from folders.
func (s Store) Sweep(ctx context.Context, folders []string, now time.Time) error {
	for _, folder := range folders {
		names, err := s.storage.List(ctx, folder, false) // without a deadline: a folder may be large
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := s.storage.Stat(ctx, name)
			// Some storages list names outside the folder, or have no times: those are not deleted.
			ours := err == nil && info.IsTerminal && !info.Modified.IsZero() && strings.HasPrefix(name, folder+"/")
			if ours && now.Sub(info.Modified) > storedFor {
				err = s.storage.Delete(ctx, name)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
