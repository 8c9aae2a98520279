package vippslogin

import (
	"context"
	"encoding/base64"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-vipps/vippslogin/internal/revocation"
	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
	"github.com/caddy-vipps/vippslogin/state/statetest"
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

// TestReloadWithOtherKeys: a revocation that could not be stored yet outlives a reload that changes the keys at Vipps MobilePay.
func TestReloadWithOtherKeys(t *testing.T) {
	first, firstKey := useShared("http://localhost:1", vipps.Keys{ClientSecret: "a"}, vipps.System{})
	away := statetest.NewMemory()
	away.SetAway(true)
	ended := session.New(nil, time.Now(), time.Hour)
	entry := revocation.Entry{Session: base64.RawURLEncoding.EncodeToString([]byte(ended.ID)), Until: time.Now().Add(time.Hour).Unix()}
	if err := first.revocations.Add(t.Context(), revocation.Access{Shared: away, Keys: sealtest.Keys(t)}, entry); err == nil {
		t.Fatal("it was stored")
	}
	second, secondKey := useShared("http://localhost:1", vipps.Keys{ClientSecret: "b"}, vipps.System{})
	if err := releaseShared(firstKey); err != nil {
		t.Fatal(err)
	}
	if second.revocations.Pending() != 1 || !second.revocations.Now.Has(ended, "1") {
		t.Errorf("%d revocations are still to be stored", second.revocations.Pending())
	}
	if err := releaseShared(secondKey); err != nil {
		t.Fatal(err)
	}
}
