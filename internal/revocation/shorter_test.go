package revocation

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

// TestStorageFromABackup: a storage that is restored while instances run has parts that are shorter than they were.
func TestStorageFromABackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, keys := storetest.New(), sealtest.Keys(t)
		at := func() Access { return Access{Shared: store.New(memory), Keys: keys} } // of an instance each
		writer, here, there := NewList(), NewList(), at()
		refresh := func() {
			t.Helper()
			if err := here.Refresh(t.Context(), there); err != nil {
				t.Fatal(err)
			}
		}
		writing := at()
		first, second := session.New(nil, time.Now(), 3*time.Hour), session.New(nil, time.Now(), 3*time.Hour)
		if err := writer.Add(t.Context(), writing, endOf(first)); err != nil {
			t.Fatal(err)
		}
		refresh()
		backup := maps.Clone(memory.Files)
		if err := writer.Add(t.Context(), writing, endOf(second)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(RefreshEvery)
		refresh()
		memory.Files = backup
		for range 3 {
			time.Sleep(time.Minute)
			refresh()
		}
		newcomer := NewList()
		if err := newcomer.Loaded(t.Context(), at()); err != nil || !newcomer.Now.Has(first, "1") || !newcomer.Now.Has(second, "1") {
			t.Errorf("%v: a revoked session is valid at an instance that starts later", err)
		}
	})
}
