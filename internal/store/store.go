package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
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

// ErrLocked says that another instance has the lock.
var ErrLocked = errors.New("locked by another request")

// Store is Caddy's storage as the plugin uses it: every call has a deadline of Timeout, and fails with fs.ErrNotExist
// where there is no such name, and with ErrUnavailable for any other reason.
type Store struct{ storage certmagic.Storage }

// New returns a Store on Caddy's storage.
func New(storage certmagic.Storage) Store { return Store{storage} }

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
	err := call(ctx, func(ctx context.Context) error {
		_, err := s.storage.Stat(ctx, name)
		return err
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

// WithLock runs do while no other instance holds the same lock, for which it waits as long as patience. All of do has one
// deadline of Timeout. A holder that dies loses the lock after seconds (certmagic.Locker, and breakAbandoned).
func (s Store) WithLock(ctx context.Context, name string, patience time.Duration, do func(context.Context) error) error {
	lockCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
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
