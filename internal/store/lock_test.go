package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/state"
)

// TestLockThatDoesNotExclude: within a process, it does.
func TestLockThatDoesNotExclude(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := store.New(&storetest.Mannered{Memory: storetest.New()})
		var all sync.WaitGroup
		var inside, count atomic.Int64
		for range 20 {
			all.Go(func() {
				err := shared.WithLock(t.Context(), "a", time.Minute, func(context.Context) error {
					if inside.Add(1) > 1 {
						t.Error("two at once")
					}
					time.Sleep(time.Millisecond)
					inside.Add(-1)
					count.Add(1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if count.Load() != 20 {
			t.Errorf("%d, want 20", count.Load())
		}
	})
}

// TestLockThatHangs: nobody waits longer than they want to for a lock that never comes.
func TestLockThatHangs(t *testing.T) {
	memory := storetest.New()
	shared := store.New(&hanging{memory})
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := shared.WithLock(ctx, "b", 3*time.Second, func(context.Context) error { return nil })
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, store.ErrLocked) || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		time.Sleep(2 * time.Hour) // the lock has come, and was given back
		if err := store.New(memory).WithLock(ctx, "b", 3*time.Second, func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

// hanging has locks that come after an hour, whatever the context says.
type hanging struct{ *storetest.Memory }

func (h *hanging) Lock(ctx context.Context, name string) error {
	time.Sleep(time.Hour)
	return h.Memory.Lock(ctx, name)
}

// TestAbsenceIsProven: that there is nothing is believed only of a storage that finds what is there. Whenever an outage begins and
// however long it lasts, what is stored is never taken for absent.
func TestAbsenceIsProven(t *testing.T) {
	memory := storetest.New()
	for _, canary := range []bool{true, false} {
		if !canary {
			delete(memory.Files, store.CanaryKey) // a storage that is new
		}
		if err := store.New(memory).Put(t.Context(), "a/name", []byte("a value"), state.ForEver); err != nil {
			t.Fatal(err)
		}
		storetest.Outages(7, 7, func(fails func(int64) bool, first, length int64) {
			value, err := store.New(&storetest.Mannered{Memory: memory, Fails: fails}).Get(t.Context(), "a/name")
			if err == nil && string(value) != "a value" || err != nil && !errors.Is(err, state.ErrUnavailable) {
				t.Errorf("an outage of %d calls from call %d: %q, %v", length, first, value, err)
			}
		})
		if _, err := store.New(memory).Get(t.Context(), "another/name"); !errors.Is(err, state.ErrNotFound) {
			t.Error(err)
		}
	}
	if names := memory.Names("vipps_login/self_test"); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}
