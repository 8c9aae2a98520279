package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

// stale deletes nothing, and has a value under any name.
type stale struct{ *storetest.Memory }

func (s *stale) Delete(context.Context, string) error { return nil }

// deaf stores nothing but the epoch.
type deaf struct{ *storetest.Memory }

func (d *deaf) Store(context.Context, string, []byte) error { return nil }

// TestExamine: the manners of real storage modules that break something are named, and those of Caddy's own are in order.
func TestExamine(t *testing.T) {
	for name, test := range map[string]struct {
		storage func() certmagic.Storage
		want    string
	}{
		"in order": {func() certmagic.Storage { return &storetest.Mannered{Memory: storetest.New(), Excludes: true} }, ""},
		"other names in lists": {func() certmagic.Storage {
			return &storetest.Mannered{Memory: storetest.New(), Excludes: true, ListPrefix: "x/"}
		}, "other names"},
		"locks that exclude not": {func() certmagic.Storage { return &storetest.Mannered{Memory: storetest.New()} }, "do not exclude"},
		"nothing is deleted":     {func() certmagic.Storage { return &stale{storetest.New()} }, "was deleted"},
		"nothing is stored":      {func() certmagic.Storage { return &deaf{storetest.New()} }, "a moment ago"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := test.storage()
				shared := store.New(storage)
				problem, err := shared.Examine(t.Context())
				if problem == "" && err == nil {
					problem, err = shared.ExamineLock(t.Context())
				}
				if err != nil || test.want == "" && problem != "" || !strings.Contains(problem, test.want) {
					t.Errorf("problem: %q, want %q: %v", problem, test.want, err)
				}
				err = shared.WithLock(t.Context(), "a", time.Second, func(context.Context) error { return nil })
				if refused := errors.Is(err, store.ErrUnavailable); refused != (test.want != "") {
					t.Errorf("a lock afterwards: %v", err)
				}
			})
		})
	}
}

// TestExamineFiles: Caddy's own storage is in order, and nothing stays there.
func TestExamineFiles(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	for _, examine := range []func(context.Context) (string, error){store.New(storage).Examine, store.New(storage).ExamineLock} {
		if problem, err := examine(t.Context()); problem != "" || err != nil {
			t.Fatalf("%q, %v", problem, err)
		}
	}
	if names, _ := storage.List(t.Context(), "vipps_login/self_test", false); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// TestExamineAway: a storage that is away is not called wrong.
func TestExamineAway(t *testing.T) {
	storage := storetest.New()
	storage.SetAway(true)
	if problem, err := store.New(storage).Examine(t.Context()); err == nil || problem != "" {
		t.Errorf("%q, %v", problem, err)
	}
}

// TestExamineDuringOutage: one call that fails in between, with the manners of the Redis module, makes no module unfit.
func TestExamineDuringOutage(t *testing.T) {
	for fails := int64(1); fails < 30; fails++ {
		shared := store.New(&storetest.Mannered{Memory: storetest.New(), Excludes: true, Fails: func(call int64) bool { return call == fails }})
		if problem, _ := shared.Examine(t.Context()); problem != "" {
			t.Errorf("call %d: %s", fails, problem)
		}
	}
}
