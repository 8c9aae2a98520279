package login

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/epoch"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/state"
)

// With return_in_any_browser, anybody who sees a state could complete its login. Completed logins are recorded in the shared
// state, for all instances. Started ones are not: anybody can start any number of them.

// RedeemedKey begins the keys of completed logins.
const RedeemedKey = "redeemed/"

// redeemedFor is how long a completed login is recorded: longer than it can be completed, by any clock.
const redeemedFor = 3 * Life

var (
	// ErrRedeemed says that the login was completed before.
	ErrRedeemed = errors.New("the login was completed before")

	errStateLost = fmt.Errorf("%w: the shared state has lost which logins were completed", ErrRedeemed)
)

// CheckRedeemed returns ErrRedeemed if the login was completed before.
func CheckRedeemed(ctx context.Context, shared state.Engine, id string) error {
	_, err := shared.Get(ctx, RedeemedKey+id)
	switch {
	case err == nil:
		return ErrRedeemed
	case errors.Is(err, state.ErrNotFound):
		return nil
	}
	return err
}

// Redeem records that the login is completed, and returns ErrRedeemed if another request, on any instance, did so before, or may
// have done so before the shared state was lost.
func Redeem(ctx context.Context, shared state.Engine, id string, started time.Time) error {
	added, err := shared.Add(ctx, RedeemedKey+id, []byte(seal.RandomText(9)), redeemedFor)
	if err != nil {
		return err
	}
	if !added {
		return ErrRedeemed
	}
	current, err := epoch.Read(ctx, shared) // after the record: a loss in between is seen
	if err == nil && started.Before(current.Made.Truncate(time.Second)) {
		return errStateLost
	}
	return err
}
