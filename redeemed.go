package vippslogin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/certmagic"
)

// A login that return_in_any_browser carries in its state could be completed by whoever sees the
// state. The ones that were completed are kept in Caddy's storage, where every instance looks; the
// ones that were only started, which anybody can do without end, are not.

const (
	redeemedPrefix = storagePrefix + "/redeemed"
	storageTimeout = 10 * time.Second
)

var (
	errStorage  = errors.New("the storage of Caddy does not work")
	errRedeemed = errors.New("the login was completed before")
)

// checkRedeemed fails when the login was completed before.
func checkRedeemed(ctx context.Context, storage certmagic.Storage, id string) error {
	_, err := storage.Stat(ctx, redeemedPrefix+"/"+id)
	switch {
	case err == nil:
		return errRedeemed
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("%w: %w", errStorage, err)
}

// redeem marks the login as completed, and fails when another request, here or on another instance,
// did so before.
func redeem(ctx context.Context, storage certmagic.Storage, id string) error {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	lock := storagePrefix + "_redeem_" + id
	if err := storage.Lock(ctx, lock); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	defer storage.Unlock(context.WithoutCancel(ctx), lock)
	if err := checkRedeemed(ctx, storage, id); err != nil {
		return err
	}
	if err := storage.Store(ctx, redeemedPrefix+"/"+id, []byte("1")); err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	return nil
}

// sweepRedeemed deletes what no login can be alive for any more.
func sweepRedeemed(ctx context.Context, storage certmagic.Storage, now time.Time) error {
	names, err := storage.List(ctx, redeemedPrefix, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := storage.Stat(ctx, name)
		if err == nil && now.Sub(info.Modified) > 2*loginLife {
			err = storage.Delete(ctx, name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
