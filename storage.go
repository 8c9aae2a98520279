package vippslogin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/certmagic"
)

const (
	// storagePrefix is where everything of ours is in Caddy's storage.
	storagePrefix  = "vipps_login"
	storageTimeout = 10 * time.Second

	// storedFor is longer than anything in the swept folders is of use after it was last written.
	storedFor = 40 * time.Minute
)

var errStorage = errors.New("the storage of Caddy does not work")

// sweptFolders hold what ends by itself.
var sweptFolders = []string{redeemedPrefix, phonePrefix, phoneIndexPrefix, askedPrefix}

// withStorageLock runs do while no other instance runs anything under the same lock. A holder that dies
// loses the lock after seconds (certmagic.Locker).
func withStorageLock(ctx context.Context, storage certmagic.Storage, name string, do func(context.Context) error) error {
	lockCtx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if err := storage.Lock(lockCtx, name); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), name) }()
	return do(ctx)
}

// sweepStorage deletes what is of no use to anybody any more.
func sweepStorage(ctx context.Context, storage certmagic.Storage, now time.Time) error {
	for _, folder := range sweptFolders {
		names, err := storage.List(ctx, folder, false)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := storage.Stat(ctx, name)
			if err == nil && now.Sub(info.Modified) > storedFor {
				err = storage.Delete(ctx, name)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
