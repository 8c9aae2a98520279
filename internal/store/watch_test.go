package store_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/state"
)

// TestWatchedValues: who watches a value of Caddy's storage is woken when another instance has changed it, or when it cannot be
// read, and not without a reason.
func TestWatchedValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := storetest.New()
		here, elsewhere := store.New(storage), store.New(storage)
		woken := func(changed <-chan struct{}) (n int) {
			for range 10 {
				time.Sleep(time.Second)
				select {
				case <-changed:
					n++
				default:
				}
			}
			return n
		}
		put := func(value string) {
			t.Helper()
			if err := elsewhere.Put(t.Context(), "a/b", []byte(value), state.ForEver); err != nil {
				t.Fatal(err)
			}
		}
		put("1")
		changed, stop := here.Watch("a/b")
		if n := woken(changed); n != 1 { // it may have changed just before
			t.Errorf("woken %d times at first, want once", n)
		}
		for i := range 3 {
			put(fmt.Sprint("2", i))
			if n := woken(changed); n != 1 {
				t.Errorf("woken %d times by a change, want once", n)
			}
		}
		late, stopLate := here.Watch("a/b")
		if n := woken(late); n != 1 {
			t.Errorf("one who came later was woken %d times, want once", n)
		}
		stopLate()
		<-changed // with the other
		storage.SetAway(true)
		if n := woken(changed); n < 4 {
			t.Errorf("woken %d times in ten seconds while the storage is away", n)
		}
		stop()
		if n := woken(changed); n != 0 {
			t.Errorf("woken %d times afterwards", n)
		}
	})
}
