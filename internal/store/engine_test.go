package store_test

import (
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/state"
	"github.com/caddy-vipps/vippslogin/state/statetest"
)

// TestCaddyStorage passes the tests of every engine, on Caddy's file storage and on one in memory.
func TestCaddyStorage(t *testing.T) {
	t.Run("files", func(t *testing.T) {
		statetest.Test(t, func(t *testing.T) (a, b state.Engine) {
			folder := t.TempDir()
			return store.New(&certmagic.FileStorage{Path: folder}), store.New(&certmagic.FileStorage{Path: folder})
		})
	})
	t.Run("memory", func(t *testing.T) {
		statetest.Test(t, func(*testing.T) (a, b state.Engine) {
			storage := storetest.New()
			return store.New(storage), store.New(storage)
		})
	})
	t.Run("away", func(t *testing.T) {
		storage := storetest.New()
		storage.SetAway(true)
		statetest.TestAway(t, store.New(storage), time.Second)
	})
}
