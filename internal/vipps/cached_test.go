package vipps

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocache "github.com/patrickmn/go-cache"
)

// fetcher counts fetches, takes a second for each, and fails while broken.
type fetcher struct {
	count  atomic.Int64
	broken atomic.Bool
	life   time.Duration
}

func (f *fetcher) fetch(ctx context.Context) (int64, time.Duration, error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return 0, 0, ErrNoAnswer
	}
	n := f.count.Add(1)
	if f.broken.Load() {
		return 0, 0, ErrBusy
	}
	return n, f.life, nil
}

func newTestKept(t *testing.T, f *fetcher, lasting bool) *cached[int64] {
	closed, cancel := context.WithCancel(t.Context())
	k := &cached[int64]{name: "x", fetch: f.fetch, lasting: lasting, cache: gocache.New(gocache.NoExpiration, 0), closed: closed}
	t.Cleanup(func() { cancel(); k.stop() })
	return k
}

// get fails the test when it waits for longer than want.
func (f *fetcher) get(t *testing.T, k *cached[int64], maxWait time.Duration) (int64, error) {
	t.Helper()
	start := time.Now()
	value, err := k.Get(t.Context())
	if waited := time.Since(start); waited > maxWait {
		t.Errorf("waited for %s, at most %s is allowed", waited, maxWait)
	}
	return value, err
}

func TestKeptOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetcher{life: time.Hour}
		k := newTestKept(t, f, false)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if value, err := k.Get(t.Context()); value != 1 || err != nil {
					t.Errorf("got %d, %v", value, err)
				}
			})
		}
		all.Wait()
		if n := f.count.Load(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

// TestKeptRenewedAhead: a day of a token that is in use, and nobody waits after the first.
func TestKeptRenewedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetcher{life: time.Hour}
		k := newTestKept(t, f, false)
		if _, err := f.get(t, k, time.Second); err != nil {
			t.Fatal(err)
		}
		for range 24 * 6 {
			time.Sleep(10 * time.Minute)
			if _, err := f.get(t, k, 0); err != nil {
				t.Fatal(err)
			}
		}
		if n := f.count.Load(); n < 24 || n > 33 {
			t.Errorf("%d fetches in a day of hourly tokens", n)
		}
	})
}

// TestKeptUnusedEnds: what nobody asks for is not fetched for ever.
func TestKeptUnusedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetcher{life: time.Hour}
		k := newTestKept(t, f, false)
		_, _ = f.get(t, k, time.Second)
		time.Sleep(24 * time.Hour)
		if n := f.count.Load(); n > 2 {
			t.Errorf("%d fetches for nobody", n)
		}
		if _, err := f.get(t, k, time.Second); err != nil {
			t.Error(err)
		}
	})
}

// TestKeptTokenEnds: a token that cannot be renewed is used to its end and not longer; it is fetched
// again when Vipps is back.
func TestKeptTokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetcher{life: time.Hour}
		k := newTestKept(t, f, false)
		_, _ = f.get(t, k, time.Second)
		f.broken.Store(true)
		time.Sleep(59 * time.Minute)
		if value, err := f.get(t, k, 0); value != 1 || err != nil {
			t.Errorf("got %d, %v", value, err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := f.get(t, k, time.Second); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v", err)
		}
		f.broken.Store(false)
		if _, err := f.get(t, k, time.Second); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

// TestKeptLastGoodCopy serves through an outage of days, while nobody waits but the first, and Vipps
// is asked every ten seconds at most.
func TestKeptLastGoodCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetcher{life: time.Hour}
		k := newTestKept(t, f, true)
		_, _ = f.get(t, k, time.Second)
		f.broken.Store(true)
		time.Sleep(48 * time.Hour)
		before := f.count.Load()
		if value, err := f.get(t, k, time.Second); value != 1 || err != nil {
			t.Errorf("got %d, %v", value, err)
		}
		for range 600 {
			time.Sleep(time.Second)
			if value, err := f.get(t, k, 0); value != 1 || err != nil {
				t.Errorf("got %d, %v", value, err)
			}
		}
		if n := f.count.Load() - before; n > 62 {
			t.Errorf("%d tries in ten minutes", n)
		}
		f.broken.Store(false)
		time.Sleep(15 * time.Second)
		_, _ = f.get(t, k, 0)
		time.Sleep(2 * time.Second)
		if value, _ := f.get(t, k, 0); value == 1 {
			t.Error("the old copy still serves after Vipps came back")
		}
	})
}

// TestKeptWaitIsBounded by whoever waits, while the fetch goes on for the others.
func TestKeptWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetcher{life: time.Hour}
		k := newTestKept(t, f, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := k.Get(ctx); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Second)
		if value, err := f.get(t, k, 0); value != 1 || err != nil {
			t.Errorf("got %d, %v", value, err)
		}
	})
}
