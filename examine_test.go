package vippslogin

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

// TestExaminedOnceItAnswers: a storage module that is away when Caddy starts is tried out when it is back. One that is in order
// is not found unfit because it broke off.
func TestExaminedOnceItAnswers(t *testing.T) {
	for _, inOrder := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var away atomic.Bool
			away.Store(true)
			shared := store.New(&storetest.Mannered{Memory: storetest.New(), Excludes: inOrder, Fails: func(int64) bool { return away.Load() }})
			a := &App{caddyStorage: &shared, logger: zap.NewNop(), sweeps: true}
			ctx, cancel := context.WithCancel(t.Context())
			a.examineStorage(ctx)
			time.Sleep(time.Minute)
			away.Store(false)
			time.Sleep(time.Minute)
			err := shared.WithLock(t.Context(), "a", time.Second, func(context.Context) error { return nil })
			if inOrder != (err == nil) || err != nil && !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("in order: %t: %v", inOrder, err)
			}
			cancel()
			a.background.Wait()
		})
	}
}
