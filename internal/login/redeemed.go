package login

import (
	"context"
	"errors"

	"github.com/caddy-vipps/vippslogin/internal/store"
)

// With return_in_any_browser, anybody who sees a state could complete its login. Completed logins are recorded in Caddy's
// storage, for all instances. Started ones are not: anybody can start any number of them.

const RedeemedFolder = store.Prefix + "/redeemed"

var ErrRedeemed = errors.New("the login was completed before")

// CheckRedeemed returns ErrRedeemed if the login was completed before.
func CheckRedeemed(ctx context.Context, shared store.Store, id string) error {
	redeemed, err := shared.Exists(ctx, RedeemedFolder+"/"+id)
	if redeemed {
		return ErrRedeemed
	}
	return err
}

// Redeem records that the login is completed, and returns ErrRedeemed if another request, on any instance, did so before.
func Redeem(ctx context.Context, shared store.Store, id string) error {
	return shared.WithLock(ctx, store.Prefix+"_redeem_"+id, store.LockTimeout, func(ctx context.Context) error {
		if err := CheckRedeemed(ctx, shared, id); err != nil {
			return err
		}
		return shared.Write(ctx, RedeemedFolder+"/"+id, []byte("1"))
	})
}
