package vippslogin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
)

// memoryStorage is a storage that can be away, and counts what it is asked for.
type memoryStorage struct {
	certmagic.Storage
	mu   sync.Mutex
	away bool
	// refuse is a key that cannot be stored; after breaksAfter calls, nothing can be loaded (0: always).
	refuse      string
	breaksAfter int
	files       map[string][]byte
	calls       map[string]int
}

func newMemoryStorage() *memoryStorage {
	return &memoryStorage{files: map[string][]byte{}, calls: map[string]int{}}
}

func (m *memoryStorage) call(name string) error {
	m.calls[name]++
	if m.away {
		return errors.New("away")
	}
	return nil
}

func (m *memoryStorage) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("store"); err != nil || key == m.refuse {
		err = errors.Join(err, errors.New("refused"))
		return err
	}
	m.files[key] = value
	return nil
}

func (m *memoryStorage) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("load"); err != nil {
		return nil, err
	}
	if m.breaksAfter > 0 && m.calls["load"] > m.breaksAfter {
		return nil, errors.New("broken off")
	}
	if value, ok := m.files[key]; ok {
		return value, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memoryStorage) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, key)
	return m.call("delete")
}

func (m *memoryStorage) List(_ context.Context, prefix string, _ bool) (names []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.files {
		if strings.HasPrefix(name, prefix) { // as some storages do, whatever a folder is
			names = append(names, name)
		}
	}
	return names, m.call("list")
}

func (m *memoryStorage) setAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
	clear(m.calls)
}

func (m *memoryStorage) count() (files int, calls map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls = map[string]int{}
	for name, n := range m.calls {
		calls[name] = n
	}
	return len(m.files), calls
}

func endOf(s *session.Session) revocation {
	return revocation{Session: s.IDText(), Before: s.Issued.Unix(), Until: s.Ends.Unix()}
}

// TestRevocationsTravel from one instance to the others, and stay for as long as they are needed.
func TestRevocationsTravel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), newMemoryStorage()
		at := revocationAccess{storage, sealtest.Keys(t)}
		a, b := newRevocations(), newRevocations()
		for _, r := range []*revocations{a, b} {
			if err := r.loaded(ctx, at); err != nil {
				t.Fatal(err)
			}
		}
		ended, other := session.New(nil, time.Now(), time.Hour), session.New(nil, time.Now(), time.Hour)
		if err := a.add(ctx, at, endOf(ended)); err != nil {
			t.Fatal(err)
		}
		if !a.now.has(ended, "1") || a.now.has(other, "1") || b.now.has(ended, "1") {
			t.Error("it is to be known here, and nowhere else yet")
		}
		time.Sleep(refreshEvery)
		for _, r := range []*revocations{a, b, newRevocations()} {
			if err := r.refresh(ctx, at); err != nil || !r.now.has(ended, "1") || r.now.has(other, "1") {
				t.Errorf("it is to be known everywhere: %v", err)
			}
		}
		for name, value := range storage.files {
			if strings.Contains(string(value), ended.IDText()) {
				t.Errorf("%s says in the clear who it was", name)
			}
		}
		// With nothing new a look costs one small read.
		storage.setAway(false)
		for range 10 {
			time.Sleep(refreshEvery)
			if err := b.refresh(ctx, at); err != nil {
				t.Fatal(err)
			}
		}
		if _, calls := storage.count(); calls["load"] != 10 || calls["list"] > 1 {
			t.Errorf("10 looks cost %v", calls)
		}
		time.Sleep(2 * time.Hour)
		for _, r := range []*revocations{a, b} {
			if err := r.refresh(ctx, at); err != nil {
				t.Fatal(err)
			}
		}
		if len(a.parts)+len(b.parts) > 0 || a.now.has(ended, "1") {
			t.Errorf("kept although every session has ended by itself: %v %v", a.parts, b.parts)
		}
		if files, _ := storage.count(); files != 1 {
			t.Errorf("%d files are left, want the version's", files)
		}
	})
}

// TestRevocationsWhileStorageIsAway: nothing is forgotten, and nobody is let in who may have been ended.
func TestRevocationsWhileStorageIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), newMemoryStorage()
		at := revocationAccess{storage, sealtest.Keys(t)}
		a := newRevocations()
		if err := a.loaded(ctx, at); err != nil {
			t.Fatal(err)
		}
		storage.setAway(true)
		ended := session.New(nil, time.Now(), time.Hour)
		if err := a.add(ctx, at, endOf(ended)); !errors.Is(err, store.ErrUnavailable) || !a.now.has(ended, "1") {
			t.Errorf("%v; here it is to be known all the same", err)
		}
		late := newRevocations()
		for range 100 {
			if err := late.loaded(ctx, at); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("an instance that has not read the list: %v", err)
			}
		}
		if _, calls := storage.count(); calls["load"] > 2 {
			t.Errorf("100 requests asked storage %v", calls)
		}
		for range 3 * partSize / 2 { // more than a part
			_ = a.add(ctx, at, endOf(session.New(nil, time.Now(), time.Hour)))
		}
		if err := a.refresh(ctx, at); err == nil || !a.now.has(ended, "1") {
			t.Errorf("%v; forgotten", err)
		}
		time.Sleep(2 * partLife / 3)
		storage.setAway(false)
		if err := errors.Join(a.flush(ctx, at), a.refresh(ctx, at), late.loaded(ctx, at)); err != nil {
			t.Fatal(err)
		}
		if !a.now.has(ended, "1") || !late.now.has(ended, "1") || len(late.now.read.Load().sessions) != 3*partSize/2+1 {
			t.Error("lost in between")
		}
	})
}

// TestRevocationsOfOthers on the same storage, with another secret, are theirs: neither read nor deleted.
func TestRevocationsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), newMemoryStorage()
		ours := sealtest.Keys(t)
		theirs, err := seal.NewKeys("", []string{"another secret that has 32 bytes or even more"})
		if err != nil {
			t.Fatal(err)
		}
		s := session.New(nil, time.Now(), time.Hour)
		if err := newRevocations().add(ctx, revocationAccess{storage, theirs}, endOf(s)); err != nil {
			t.Fatal(err)
		}
		r := newRevocations()
		if err := r.loaded(ctx, revocationAccess{storage, ours}); err != nil || r.now.has(s, "1") {
			t.Errorf("%v; they say nothing to us", err)
		}
		time.Sleep(24 * time.Hour)
		if err := r.refresh(ctx, revocationAccess{storage, ours}); err != nil {
			t.Fatal(err)
		}
		if files, _ := storage.count(); files != 2 {
			t.Errorf("%d files, want 2", files)
		}
	})
}

// TestLateRevocation: what could be stored only long after, others still hear of.
func TestLateRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), newMemoryStorage()
		at := revocationAccess{storage, sealtest.Keys(t)}
		a, b := newRevocations(), newRevocations()
		ended := session.New(nil, time.Now(), 24*time.Hour)
		if err := errors.Join(a.add(ctx, at, endOf(session.New(nil, time.Now(), 24*time.Hour))), b.loaded(ctx, at)); err != nil {
			t.Fatal(err)
		}
		exchange := func(length time.Duration) {
			for began := time.Now(); time.Since(began) < length; time.Sleep(refreshEvery) {
				for _, r := range []*revocations{a, b} {
					_ = errors.Join(r.flush(ctx, at), r.refresh(ctx, at))
				}
			}
		}
		exchange(partLife - time.Minute)
		storage.setAway(true)
		if err := a.add(ctx, at, endOf(ended)); err == nil {
			t.Error("stored although storage is away")
		}
		exchange(partLife)
		storage.setAway(false)
		exchange(10 * time.Second)
		if !a.now.has(ended, "1") || !b.now.has(ended, "1") {
			t.Error("the other instance never hears of it")
		}
	})
}

// TestVersionIsTold again where that failed: others hear of what is stored within seconds.
func TestVersionIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), newMemoryStorage()
		at := revocationAccess{storage, sealtest.Keys(t)}
		a, b := newRevocations(), newRevocations()
		if err := b.loaded(ctx, at); err != nil {
			t.Fatal(err)
		}
		storage.refuse = revokedVersionKey
		ended := session.New(nil, time.Now(), time.Hour)
		if err := a.add(ctx, at, endOf(ended)); err == nil {
			t.Error("told although it could not be")
		}
		storage.refuse = ""
		time.Sleep(refreshEvery)
		if err := errors.Join(a.flush(ctx, at), b.refresh(ctx, at)); err != nil || !b.now.has(ended, "1") {
			t.Errorf("not heard of: %v", err)
		}
	})
}

// TestEmptyStorage: a folder that is not mounted is no reason to forget what ended.
func TestEmptyStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), newMemoryStorage()
		at := revocationAccess{storage, sealtest.Keys(t)}
		a, b := newRevocations(), newRevocations()
		ended := session.New(nil, time.Now(), time.Hour)
		if err := errors.Join(a.add(ctx, at, endOf(ended)), b.loaded(ctx, at)); err != nil {
			t.Fatal(err)
		}
		clear(storage.files)
		for range 50 {
			time.Sleep(refreshEvery)
			if err := b.refresh(ctx, at); err != nil {
				t.Fatal(err)
			}
		}
		if !b.now.has(ended, "1") {
			t.Error("forgotten")
		}
	})
}

// TestStorageThatHangs: people do not wait for one another, and logouts not for storage.
func TestStorageThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := revocationAccess{hangingStorage{}, sealtest.Keys(t)}
		began := time.Now()
		r := newRevocations()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if err := r.loaded(ctx, at); !errors.Is(err, store.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > store.Timeout+time.Second {
			t.Errorf("100 people waited for %s", took)
		}
		began = time.Now()
		for range 100 {
			all.Go(func() {
				if err := r.add(t.Context(), at, endOf(session.New(nil, began, time.Hour))); !errors.Is(err, store.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > logoutWaits+time.Second {
			t.Errorf("100 logouts took %s", took)
		}
		time.Sleep(2 * store.Timeout) // what runs on ends
	})
}

// hangingStorage answers when nobody waits any more.
type hangingStorage struct{ certmagic.Storage }

func (hangingStorage) Load(ctx context.Context, _ string) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hangingStorage) Store(ctx context.Context, _ string, _ []byte) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestManyParts are read by an instance that starts, if not at the first try: each goes on where the last
// one was broken off.
func TestManyParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), newMemoryStorage()
		at := revocationAccess{storage, sealtest.Keys(t)}
		var ended *session.Session
		for range 2000 {
			ended = session.New(nil, time.Now(), 30*24*time.Hour)
			if err := newRevocations().add(ctx, at, endOf(ended)); err != nil { // each a part of its own
				t.Fatal(err)
			}
		}
		time.Sleep(2 * partLife) // closed: read once
		storage.breaksAfter = 300
		r := newRevocations()
		for tries := 1; ; tries++ {
			if err := r.loaded(ctx, at); err == nil {
				break
			}
			if tries > 10 {
				t.Fatal("it never gets anywhere")
			}
			storage.setAway(false)
			time.Sleep(refreshEvery)
		}
		if !r.now.has(ended, "1") || len(r.parts) != 2000 {
			t.Errorf("%d parts", len(r.parts))
		}
	})
}

// TestDamagedRevocations: what is ours and cannot be read may have ended any session. An instance that
// starts with it lets nobody in, one that runs goes on with what it knows, and both say so.
func TestDamagedRevocations(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)-1] },
		"empty":   func([]byte) []byte { return nil },
		"altered": func(b []byte) []byte { b = slices.Clone(b); b[len(b)/2] ^= 1; return b },
		"no key":  func(b []byte) []byte { return b[10:20] },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, storage := t.Context(), newMemoryStorage()
				at := revocationAccess{storage, sealtest.Keys(t)}
				ended, other := session.New(nil, time.Now(), time.Hour), session.New(nil, time.Now(), time.Hour)
				writer, running := newRevocations(), newRevocations()
				if err := errors.Join(writer.add(ctx, at, endOf(ended)), running.loaded(ctx, at)); err != nil {
					t.Fatal(err)
				}
				for name, stored := range storage.files {
					if name != revokedVersionKey {
						storage.files[name] = damage(stored)
					}
				}
				if err := newRevocations().loaded(ctx, at); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "damaged") {
					t.Errorf("at the start: %v", err)
				}
				another := newRevocations()
				if err := another.add(ctx, at, endOf(other)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(listEvery)
				if err := running.refresh(ctx, at); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("while running: %v", err)
				}
				if !running.now.has(ended, "1") || !running.now.has(other, "1") {
					t.Error("forgotten, or deaf to the others")
				}
			})
		})
	}
}

// TestManyLogoutsShareAWrite: they do not wait for one another's one by one.
func TestManyLogoutsShareAWrite(t *testing.T) {
	ctx, storage := t.Context(), newMemoryStorage()
	at := revocationAccess{storage, sealtest.Keys(t)}
	r := newRevocations()
	if err := r.loaded(ctx, at); err != nil {
		t.Fatal(err)
	}
	sessions := make([]*session.Session, 300)
	var all sync.WaitGroup
	for i := range sessions {
		sessions[i] = session.New(nil, time.Now(), time.Hour)
		all.Go(func() {
			if err := r.add(ctx, at, endOf(sessions[i])); err != nil {
				t.Error(err)
			}
		})
		if i%10 == 0 {
			all.Go(func() {
				_ = r.add(ctx, at, revocation{Sub: "long ago", Until: 1})
				_ = r.refresh(ctx, at)
			})
		}
	}
	all.Wait()
	fresh := newRevocations()
	if err := fresh.loaded(ctx, at); err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		if !r.now.has(s, "1") || !fresh.now.has(s, "1") {
			t.Fatal("lost")
		}
	}
}

// BenchmarkRevoked is what the list costs a request, by its length.
func BenchmarkRevoked(b *testing.B) {
	for _, n := range []int{0, 1000, 500_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			now := time.Now()
			var list []revocation
			for range n {
				list = append(list, endOf(session.New(nil, now, time.Hour)))
			}
			r := new(revokedNow)
			r.read.Store(newRevoked(now, list))
			s := newTestSession(b)
			for b.Loop() {
				if r.has(s, "123456") {
					b.Fatal("revoked")
				}
			}
		})
	}
}
