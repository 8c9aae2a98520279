package revocation

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/state"
	"github.com/caddy-vipps/vippslogin/state/statetest"
)

// evicting is a server that deletes the feed, and nothing else.
type evicting struct {
	*statetest.Memory
	generation int
	evicts     bool // at the next look
	evicted    bool
}

func (e *evicting) Generation(context.Context, string) (string, error) {
	return fmt.Sprint(e.generation), nil
}

func (e *evicting) Next(ctx context.Context, feed string, position state.Position, wait time.Duration) ([][]byte, state.Position, error) {
	if e.evicts {
		e.evicts, e.evicted = false, true
		e.generation++
	}
	if e.evicted {
		return nil, position, nil
	}
	return e.Memory.Next(ctx, feed, position, wait)
}

// TestFeedLostWhileItIsRead: a feed that was deleted after the epoch was read looks like one without entries.
func TestFeedLostWhileItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := Access{Shared: &evicting{Memory: statetest.NewMemory()}, Keys: sealtest.Keys(t)}
		if err := NewList().Loaded(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		ended := session.New(nil, time.Now(), time.Hour)
		if err := NewList().Add(t.Context(), at, endOf(ended)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		at.Shared.(*evicting).evicts = true
		r := NewList()
		if err := r.Loaded(t.Context(), at); err == nil || r.IsLoaded() {
			t.Error("the list is taken for whole")
		}
		time.Sleep(2 * time.Second)
		if err := r.Loaded(t.Context(), at); err != nil || !r.Now.Has(ended, "1") {
			t.Errorf("%v: the ended session is valid", err)
		}
	})
}
