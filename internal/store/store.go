package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// Prefix is where everything of ours is in Caddy's storage.
	Prefix  = "vipps_login"
	Timeout = 10 * time.Second

	// LockTimeout is longer than the lock of an instance that died stays (certmagic's file storage: 10 s).
	LockTimeout = 20 * time.Second

	// storedFor is longer than anything in the swept folders is of use after it was last written.
	storedFor = 40 * time.Minute
)

var ErrUnavailable = errors.New("the storage of Caddy does not work")

// ErrLocked says that another instance is at it.
var ErrLocked = errors.New("locked by another request")

// WithLock runs do while no other instance runs anything under the same lock, and waits for that
// as long as patience; do is for storage alone, and has Timeout. A holder that dies loses the lock after seconds (certmagic.Locker,
// and breakAbandoned).
func WithLock(ctx context.Context, storage certmagic.Storage, name string, patience time.Duration, do func(context.Context) error) error {
	lockCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := lockStorage(lockCtx, storage, name); err != nil {
		if lockCtx.Err() != nil {
			err = ErrLocked
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), name) }()
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

// Sweep deletes from folders what is of no use to anybody any more.
func Sweep(ctx context.Context, storage certmagic.Storage, folders []string, now time.Time) error {
	for _, folder := range folders {
		names, err := storage.List(ctx, folder, false)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := storage.Stat(ctx, name)
			// A storage may list what only begins alike, or know no time: that is not ours to delete.
			ours := err == nil && info.IsTerminal && !info.Modified.IsZero() && strings.HasPrefix(name, folder+"/")
			if ours && now.Sub(info.Modified) > storedFor {
				err = storage.Delete(ctx, name)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
