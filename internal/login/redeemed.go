package login

import (
	"context"
	"errors"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/state"
)

// A login that return_in_any_browser carries in its state could be completed by whoever sees the
// state. The ones that were completed are kept in the shared state, where every instance looks; the
// ones that were only started, which anybody can do without end, are not.

const redeemedKey = "redeemed/"

// redeemedFor is how long it is known that a login was completed: longer than it can be, by any clock.
const redeemedFor = 4 * Life

var ErrRedeemed = errors.New("the login was completed before")

// CheckRedeemed fails when the login was completed before.
func CheckRedeemed(ctx context.Context, shared state.Engine, id string) error {
	_, err := shared.Get(ctx, redeemedKey+id)
	switch {
	case err == nil:
		return ErrRedeemed
	case errors.Is(err, state.ErrNotFound):
		return nil
	}
	return err
}

// Redeem marks the login as completed, and fails when another request, here or on another instance,
// did so before.
func Redeem(ctx context.Context, shared state.Engine, id string) error {
	added, err := shared.Add(ctx, redeemedKey+id, []byte(seal.RandomText(9)), redeemedFor)
	if err == nil && !added {
		return ErrRedeemed
	}
	return err
}
