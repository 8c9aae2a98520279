package revocation

import (
	"context"
	"errors"
	"fmt"
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

	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

// versionFile is where Caddy's storage has the version of the list.
const versionFile = "vipps_login/revoked_version"

func endOf(s *session.Session) Entry {
	return Entry{Session: s.IDText(), Before: s.Issued.Unix(), Until: s.Ends.Unix()}
}

// TestRevocationsTravel from one instance to the others, and stay for as long as they are needed.
func TestRevocationsTravel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), storetest.New()
		at := Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}
		a, b := NewList(), NewList()
		for _, r := range []*List{a, b} {
			if err := r.Loaded(ctx, at); err != nil {
				t.Fatal(err)
			}
		}
		ended, other := session.New(nil, time.Now(), time.Hour), session.New(nil, time.Now(), time.Hour)
		if err := a.Add(ctx, at, endOf(ended)); err != nil {
			t.Fatal(err)
		}
		if !a.Now.Has(ended, "1") || a.Now.Has(other, "1") || b.Now.Has(ended, "1") {
			t.Error("it is to be known here, and nowhere else yet")
		}
		time.Sleep(RefreshEvery)
		for _, r := range []*List{a, b, NewList()} {
			if err := r.Refresh(ctx, at); err != nil || !r.Now.Has(ended, "1") || r.Now.Has(other, "1") {
				t.Errorf("it is to be known everywhere: %v", err)
			}
		}
		for name, value := range storage.Files {
			if strings.Contains(string(value), ended.IDText()) {
				t.Errorf("%s says in the clear who it was", name)
			}
		}
		// With nothing new a look costs two small reads: of the epoch and of the version.
		storage.SetAway(false)
		for range 10 {
			time.Sleep(RefreshEvery)
			if err := b.Refresh(ctx, at); err != nil {
				t.Fatal(err)
			}
		}
		if _, calls := storage.Count(); calls["load"] != 20 || calls["list"] > 1 {
			t.Errorf("10 looks cost %v", calls)
		}
		time.Sleep(4 * time.Hour)
		for _, r := range []*List{a, b} {
			if err := r.Refresh(ctx, at); err != nil {
				t.Fatal(err)
			}
		}
		if a.Now.Len()+b.Now.Len() > 0 || a.Now.Has(ended, "1") {
			t.Errorf("kept although every session has ended by itself: %d %d", a.Now.Len(), b.Now.Len())
		}
		if files, _ := storage.Count(); files != 3 {
			t.Errorf("%d files are left, want the version's, the epoch's and the marker", files)
		}
	})
}

// TestRevocationsWhileStorageIsAway: nothing is forgotten, and nobody is let in who may have been ended.
func TestRevocationsWhileStorageIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), storetest.New()
		at := Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}
		a := NewList()
		if err := a.Loaded(ctx, at); err != nil {
			t.Fatal(err)
		}
		storage.SetAway(true)
		ended := session.New(nil, time.Now(), time.Hour)
		if err := a.Add(ctx, at, endOf(ended)); !errors.Is(err, store.ErrUnavailable) || !a.Now.Has(ended, "1") {
			t.Errorf("%v; here it is to be known all the same", err)
		}
		late := NewList()
		for range 100 {
			if err := late.Loaded(ctx, at); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("an instance that has not read the list: %v", err)
			}
		}
		if _, calls := storage.Count(); calls["load"] > 2 {
			t.Errorf("100 requests asked storage %v", calls)
		}
		for range 1500 { // more than a part
			_ = a.Add(ctx, at, endOf(session.New(nil, time.Now(), time.Hour)))
		}
		if err := a.Refresh(ctx, at); err == nil || !a.Now.Has(ended, "1") {
			t.Errorf("%v; forgotten", err)
		}
		time.Sleep(40 * time.Minute)
		storage.SetAway(false)
		if err := errors.Join(a.Flush(ctx, at), a.Refresh(ctx, at), late.Loaded(ctx, at)); err != nil {
			t.Fatal(err)
		}
		if !a.Now.Has(ended, "1") || !late.Now.Has(ended, "1") || late.Now.Len() != 1501 {
			t.Error("lost in between")
		}
	})
}

// TestRevocationsOfOthers on the same storage, with another secret, are theirs: not read, and not deleted before their time.
func TestRevocationsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), storetest.New()
		ours := sealtest.Keys(t)
		theirs, err := seal.NewKeys("", []string{"another secret that has 32 bytes or even more"})
		if err != nil {
			t.Fatal(err)
		}
		s := session.New(nil, time.Now(), time.Hour)
		if err := NewList().Add(ctx, Access{Shared: store.New(storage), Keys: theirs}, endOf(s)); err != nil {
			t.Fatal(err)
		}
		r := NewList()
		if err := r.Loaded(ctx, Access{Shared: store.New(storage), Keys: ours}); err != nil || r.Now.Has(s, "1") {
			t.Errorf("%v; they say nothing to us", err)
		}
		time.Sleep(50 * time.Minute)
		if err := r.Refresh(ctx, Access{Shared: store.New(storage), Keys: ours}); err != nil {
			t.Fatal(err)
		}
		another := NewList()
		if err := another.Loaded(ctx, Access{Shared: store.New(storage), Keys: theirs}); err != nil || !another.Now.Has(s, "1") {
			t.Errorf("%v; gone before its time", err)
		}
	})
}

// TestLateRevocation: what could be stored only long after, others still hear of.
func TestLateRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), storetest.New()
		at := Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}
		a, b := NewList(), NewList()
		ended := session.New(nil, time.Now(), 24*time.Hour)
		if err := errors.Join(a.Add(ctx, at, endOf(session.New(nil, time.Now(), 24*time.Hour))), b.Loaded(ctx, at)); err != nil {
			t.Fatal(err)
		}
		exchange := func(length time.Duration) {
			for began := time.Now(); time.Since(began) < length; time.Sleep(RefreshEvery) {
				for _, r := range []*List{a, b} {
					_ = errors.Join(r.Flush(ctx, at), r.Refresh(ctx, at))
				}
			}
		}
		exchange(59 * time.Minute)
		storage.SetAway(true)
		if err := a.Add(ctx, at, endOf(ended)); err == nil {
			t.Error("stored although storage is away")
		}
		exchange(time.Hour)
		storage.SetAway(false)
		exchange(10 * time.Second)
		if !a.Now.Has(ended, "1") || !b.Now.Has(ended, "1") {
			t.Error("the other instance never hears of it")
		}
	})
}

// TestVersionIsTold again where that failed: others hear of what is stored within seconds.
func TestVersionIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), storetest.New()
		at := Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}
		a, b := NewList(), NewList()
		if err := b.Loaded(ctx, at); err != nil {
			t.Fatal(err)
		}
		storage.Refuse = versionFile
		ended := session.New(nil, time.Now(), time.Hour)
		if err := a.Add(ctx, at, endOf(ended)); err == nil {
			t.Error("told although it could not be")
		}
		storage.Refuse = ""
		time.Sleep(RefreshEvery)
		if err := errors.Join(a.Flush(ctx, at), b.Refresh(ctx, at)); err != nil || !b.Now.Has(ended, "1") {
			t.Errorf("not heard of: %v", err)
		}
	})
}

// TestEmptyStorage: a folder that is not mounted is no reason to forget what ended.
func TestEmptyStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, storage := t.Context(), storetest.New()
		lost := 0
		at := Access{Shared: store.New(storage), Keys: sealtest.Keys(t), Lost: func(entries int) { lost += entries }}
		a, b := NewList(), NewList()
		ended := session.New(nil, time.Now(), time.Hour)
		if err := errors.Join(a.Add(ctx, at, endOf(ended)), b.Loaded(ctx, at)); err != nil {
			t.Fatal(err)
		}
		clear(storage.Files)
		for range 50 {
			time.Sleep(RefreshEvery)
			if err := b.Refresh(ctx, at); err != nil {
				t.Fatal(err)
			}
		}
		late := NewList()
		if err := late.Loaded(ctx, Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}); err != nil {
			t.Fatal(err)
		}
		if lost != 1 || !b.Now.Has(ended, "1") || !late.Now.Has(ended, "1") {
			t.Errorf("%d; it is to be stored again", lost)
		}
	})
}

// TestStorageThatHangs: people do not wait for one another, and logouts not for storage.
func TestStorageThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := Access{Shared: store.New(hangingStorage{}), Keys: sealtest.Keys(t)}
		began := time.Now()
		r := NewList()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if err := r.Loaded(ctx, at); !errors.Is(err, store.ErrUnavailable) {
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
				if err := r.Add(t.Context(), at, endOf(session.New(nil, began, time.Hour))); !errors.Is(err, store.ErrUnavailable) {
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
		ctx, storage := t.Context(), storetest.New()
		at := Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}
		var ended *session.Session
		for range 2000 {
			ended = session.New(nil, time.Now(), 30*24*time.Hour)
			if err := NewList().Add(ctx, Access{Shared: store.New(storage), Keys: at.Keys}, endOf(ended)); err != nil { // each a part of its own
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Hour) // closed: read once
		storage.BreaksAfter = 300
		r := NewList()
		for tries := 1; ; tries++ {
			if err := r.Loaded(ctx, at); err == nil {
				break
			}
			if tries > 10 {
				t.Fatal("it never gets anywhere")
			}
			storage.SetAway(false)
			time.Sleep(RefreshEvery)
		}
		if !r.Now.Has(ended, "1") || r.Now.Len() != 2000 {
			t.Errorf("%d sessions", r.Now.Len())
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
				ctx, storage := t.Context(), storetest.New()
				at := Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}
				ended, other := session.New(nil, time.Now(), time.Hour), session.New(nil, time.Now(), time.Hour)
				writer, running := NewList(), NewList()
				if err := errors.Join(writer.Add(ctx, at, endOf(ended)), running.Loaded(ctx, at)); err != nil {
					t.Fatal(err)
				}
				for name, stored := range storage.Files {
					if strings.HasPrefix(name, "vipps_login/revoked/") {
						storage.Files[name] = damage(stored)
					}
				}
				if err := NewList().Loaded(ctx, Access{Shared: store.New(storage), Keys: at.Keys}); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "damaged") {
					t.Errorf("at the start: %v", err)
				}
				another := NewList()
				if err := another.Add(ctx, Access{Shared: store.New(storage), Keys: at.Keys}, endOf(other)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if err := running.Refresh(ctx, at); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("while running: %v", err)
				}
				if !running.Now.Has(ended, "1") || !running.Now.Has(other, "1") {
					t.Error("forgotten, or deaf to the others")
				}
			})
		})
	}
}

// TestManyLogoutsShareAWrite: they do not wait for one another's one by one.
func TestManyLogoutsShareAWrite(t *testing.T) {
	ctx, storage := t.Context(), storetest.New()
	at := Access{Shared: store.New(storage), Keys: sealtest.Keys(t)}
	r := NewList()
	if err := r.Loaded(ctx, at); err != nil {
		t.Fatal(err)
	}
	sessions := make([]*session.Session, 300)
	var all sync.WaitGroup
	for i := range sessions {
		sessions[i] = session.New(nil, time.Now(), time.Hour)
		all.Go(func() {
			if err := r.Add(ctx, at, endOf(sessions[i])); err != nil {
				t.Error(err)
			}
		})
		if i%10 == 0 {
			all.Go(func() {
				_ = r.Add(ctx, at, Entry{Sub: "long ago", Until: 1})
				_ = r.Refresh(ctx, at)
			})
		}
	}
	all.Wait()
	fresh := NewList()
	if err := fresh.Loaded(ctx, at); err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		if !r.Now.Has(s, "1") || !fresh.Now.Has(s, "1") {
			t.Fatal("lost")
		}
	}
}

// BenchmarkRevoked is what the list costs a request, by its length.
func BenchmarkRevoked(b *testing.B) {
	for _, n := range []int{0, 1000, 500_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := new(Ended)
			for range n {
				r.add(endOf(session.New(nil, time.Now(), time.Hour)), 1)
			}
			s := session.New(nil, time.Now().Truncate(time.Second), 12*time.Hour)
			for b.Loop() {
				if r.Has(s, "123456") {
					b.Fatal("revoked")
				}
			}
		})
	}
}
