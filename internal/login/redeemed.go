package login

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/store"
)

// A login that return_in_any_browser carries in its state could be completed by whoever sees the
// state. The ones that were completed are kept in Caddy's storage, where every instance looks; the
// ones that were only started, which anybody can do without end, are not.

const RedeemedFolder = store.Prefix + "/redeemed"

var ErrRedeemed = errors.New("the login was completed before")

// CheckRedeemed fails when the login was completed before.
func CheckRedeemed(ctx context.Context, storage certmagic.Storage, id string) error {
	ctx, cancel := context.WithTimeout(ctx, store.Timeout)
	defer cancel()
	_, err := storage.Stat(ctx, RedeemedFolder+"/"+id)
	switch {
	case err == nil:
		return ErrRedeemed
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// Redeem marks the login as completed, and fails when another request, here or on another instance,
// did so before.
func Redeem(ctx context.Context, storage certmagic.Storage, id string) error {
	return store.WithLock(ctx, storage, store.Prefix+"_redeem_"+id, store.LockTimeout, func(ctx context.Context) error {
		if err := CheckRedeemed(ctx, storage, id); err != nil {
			return err
		}
		if err := storage.Store(ctx, RedeemedFolder+"/"+id, []byte("1")); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		return nil
	})
}
