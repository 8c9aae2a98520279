package login

import (
	"context"
	"errors"

	"github.com/caddy-vipps/vippslogin/internal/store"
)

// A login that return_in_any_browser carries in its state could be completed by whoever sees the
// state. The ones that were completed are kept in Caddy's storage, where every instance looks; the
// ones that were only started, which anybody can do without end, are not.

const RedeemedFolder = store.Prefix + "/redeemed"

var ErrRedeemed = errors.New("the login was completed before")

// CheckRedeemed fails when the login was completed before.
func CheckRedeemed(ctx context.Context, shared store.Store, id string) error {
	redeemed, err := shared.Exists(ctx, RedeemedFolder+"/"+id)
	if redeemed {
		return ErrRedeemed
	}
	return err
}

// Redeem marks the login as completed, and fails when another request, here or on another instance,
// did so before.
func Redeem(ctx context.Context, shared store.Store, id string) error {
	return shared.WithLock(ctx, store.Prefix+"_redeem_"+id, store.LockTimeout, func(ctx context.Context) error {
		if err := CheckRedeemed(ctx, shared, id); err != nil {
			return err
		}
		return shared.Write(ctx, RedeemedFolder+"/"+id, []byte("1"))
	})
}
