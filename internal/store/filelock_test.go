package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/store"
)

// lockPath is where the lock file of a name is.
func lockPath(folder, name string) string { return filepath.Join(folder, "locks", name+".lock") }

// TestFileLock: a lock of the file storage excludes certmagic's own of the same name, and is excluded by it. It leaves neither a
// file nor a goroutine behind.
func TestFileLock(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	shared := store.New(files)
	before := runtime.NumGoroutine()
	err := shared.WithLock(t.Context(), "a", time.Second, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := files.Lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("certmagic's lock beside ours: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lockPath(files.Path, "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock file is left: %v", err)
	}
	for range 100 {
		if err := shared.WithLock(t.Context(), "a", time.Second, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if after := runtime.NumGoroutine(); after > before+10 {
		t.Errorf("%d goroutines before a hundred locks, %d after", before, after)
	}
	if err := files.Lock(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	err = shared.WithLock(t.Context(), "a", 100*time.Millisecond, func(context.Context) error { return nil })
	if !errors.Is(err, store.ErrLocked) {
		t.Errorf("our lock beside certmagic's: %v", err)
	}
	if err := files.Unlock(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
}

// TestFileLockOfTheDead: a lock that is older than anybody holds one is taken over, also if its holder died before it could write
// into the file; a younger one is not. Who has lost a lock leaves the next holder's alone.
func TestFileLockOfTheDead(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	shared := store.New(files)
	if err := os.MkdirAll(filepath.Join(files.Path, "locks"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		age   time.Duration
		empty bool
		free  bool
	}{
		"young": {age: 5 * time.Second}, "old": {age: 13 * time.Second, free: true},
		"young-empty": {age: 5 * time.Second, empty: true}, "old-empty": {age: 13 * time.Second, empty: true, free: true},
	} {
		created := time.Now().Add(-test.age)
		content := fmt.Sprintf(`{"created":%q,"updated":%q}`, created.Format(time.RFC3339Nano), time.Now().Format(time.RFC3339Nano))
		if test.empty {
			content = ""
		}
		if err := os.WriteFile(lockPath(files.Path, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(lockPath(files.Path, name), created, created); err != nil {
			t.Fatal(err)
		}
		err := shared.WithLock(t.Context(), name, 300*time.Millisecond, func(context.Context) error { return nil })
		if (err == nil) != test.free {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := shared.WithLock(t.Context(), "lost", time.Second, func(context.Context) error {
		return os.WriteFile(lockPath(files.Path, "lost"), []byte(`{"created":"2026-11-27T10:00:00Z"}`), 0o600) // another holder
	})
	if _, statErr := os.Stat(lockPath(files.Path, "lost")); err != nil || statErr != nil {
		t.Errorf("another holder's lock is gone: %v, %v", err, statErr)
	}
}

// TestFileLockExcludes: of many who want a lock, also of those that the locks of the process know nothing of, one at a time has
// it.
func TestFileLockExcludes(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	var all sync.WaitGroup
	var inside, count atomic.Int64
	for range 8 {
		all.Go(func() {
			for range 25 {
				unlock, err := store.LockFile(t.Context(), files, "a")
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) > 1 {
					t.Error("two at once")
				}
				count.Add(1)
				inside.Add(-1)
				if err := unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if count.Load() != 200 {
		t.Errorf("%d, want 200", count.Load())
	}
}
