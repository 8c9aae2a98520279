package revocation

import (
	"context"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

// TestStorageThatLies: some storage modules say of every failure that there is no such name. Whenever an outage begins and
// however long it lasts, an instance that starts then knows an ended session, or says that it does not know.
func TestStorageThatLies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, keys := storetest.New(), sealtest.Keys(t)
		now := time.Now()
		ended := session.New(nil, now, time.Hour)
		if err := NewList().Add(t.Context(), Access{Shared: store.New(memory), Keys: keys}, endOf(ended)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute) // the part is not closed
		whole := &storetest.Mannered{Memory: memory, Excludes: true, Fails: func(int64) bool { return false }}
		if err := NewList().Loaded(t.Context(), Access{Shared: store.New(whole), Keys: keys}); err != nil {
			t.Fatal(err)
		}
		failed := 0
		storetest.Outages(whole.Calls(), whole.Calls(), func(fails func(int64) bool, first, length int64) {
			files := maps.Clone(memory.Files)
			defer func() { memory.Files = files }()
			r := NewList()
			err := r.Loaded(t.Context(), Access{Shared: store.New(&storetest.Mannered{Memory: memory, Excludes: true, Fails: fails}), Keys: keys})
			if err != nil {
				failed++
			} else if !r.Now.Has(ended, "1") {
				t.Errorf("an outage of %d calls from call %d: the ended session is valid", length, first)
			}
		})
		if failed == 0 {
			t.Error("no outage was noticed")
		}
	})
}

// TestListsThatLie: a list with other names than were stored would end no session.
func TestListsThatLie(t *testing.T) {
	lying := &storetest.Mannered{Memory: storetest.New(), Excludes: true, ListPrefix: "caddy/"}
	r := NewList()
	if err := r.Loaded(t.Context(), Access{Shared: store.New(lying), Keys: sealtest.Keys(t)}); err == nil || r.IsLoaded() {
		t.Errorf("%v: sessions are valid", err)
	}
}

// forgetful lists parts, and has none.
type forgetful struct{ *storetest.Memory }

func (f *forgetful) Load(ctx context.Context, key string) ([]byte, error) {
	if strings.HasPrefix(key, "vipps_login/revoked/1") || strings.HasPrefix(key, "vipps_login/revoked/9") {
		return nil, fs.ErrNotExist
	}
	return f.Memory.Load(ctx, key)
}

// TestListedPartsThatAreGone: a part that is listed and cannot be read may have ended any session.
func TestListedPartsThatAreGone(t *testing.T) {
	memory, keys := storetest.New(), sealtest.Keys(t)
	ended := session.New(nil, time.Now(), time.Hour)
	if err := NewList().Add(t.Context(), Access{Shared: store.New(memory), Keys: keys}, endOf(ended)); err != nil {
		t.Fatal(err)
	}
	r := NewList()
	at := Access{Shared: store.New(&forgetful{memory}), Keys: keys}
	if err := r.Loaded(t.Context(), at); err == nil || r.IsLoaded() {
		t.Errorf("%v: sessions are valid", err)
	}
}

// TestLostStorage: what an instance knows is stored again in a storage that has lost it, for instances that start later. Once
// every session has ended by itself, nothing is left.
func TestLostStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, keys, lost := storetest.New(), sealtest.Keys(t), 0
		at := Access{Shared: store.New(&storetest.Mannered{Memory: memory, Excludes: true}), Keys: keys, Lost: func(entries int) { lost += entries }}
		mine, theirs := session.New(nil, time.Now(), 3*time.Hour), session.New(nil, time.Now(), 3*time.Hour)
		r, other := NewList(), NewList()
		for s, by := range map[*session.Session]*List{mine: r, theirs: other} {
			if err := by.Add(t.Context(), at, endOf(s)); err != nil {
				t.Fatal(err)
			}
		}
		refresh := func(r *List) {
			t.Helper()
			if err := r.Refresh(t.Context(), at); err != nil {
				t.Fatal(err)
			}
		}
		refresh(r)
		clear(memory.Files)
		time.Sleep(RefreshEvery)
		refresh(r)
		if lost != 2 {
			t.Errorf("told of %d ended sessions", lost)
		}
		newcomer := NewList()
		refresh(newcomer)
		if !newcomer.Now.Has(mine, "1") || !newcomer.Now.Has(theirs, "1") {
			t.Error("an ended session is valid at an instance that starts after the loss")
		}
		time.Sleep(5 * time.Hour)
		refresh(r)
		if names := memory.Names("vipps_login/revoked"); len(names) != 1 {
			t.Errorf("left: %v", names)
		}
		if lost != 2 {
			t.Errorf("told of a loss more than once: %d", lost)
		}
	})
}

// TestUnknownPast: in a state that has lost what was stored, sessions from before are not valid where no instance knows which of
// them were revoked. An instance that does tells the others.
func TestUnknownPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, keys := storetest.New(), sealtest.Keys(t)
		at := Access{Shared: store.New(memory), Keys: keys}
		refresh := func(r *List) {
			t.Helper()
			if err := r.Refresh(t.Context(), at); err != nil {
				t.Fatal(err)
			}
		}
		clear(memory.Files)
		running := NewList()
		refresh(running)
		time.Sleep(time.Hour)
		old, ended := session.New(nil, time.Now(), 3*time.Hour), session.New(nil, time.Now(), 3*time.Hour)
		if err := running.Add(t.Context(), at, endOf(ended)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		clear(memory.Files)
		time.Sleep(RefreshEvery)
		newcomer := NewList()
		refresh(newcomer)
		if !newcomer.Now.Has(old, "1") || !newcomer.Now.Has(ended, "1") {
			t.Error("sessions of an unknown past are valid")
		}
		if fresh := session.New(nil, time.Now(), time.Hour); newcomer.Now.Has(fresh, "1") {
			t.Error("a new session is not valid")
		}
		keeps := NewList()
		kept := at
		kept.KeepSessions = true
		if err := keeps.Refresh(t.Context(), kept); err != nil || keeps.Now.Has(old, "1") {
			t.Errorf("with KeepSessions: not valid, %v", err)
		}
		refresh(running)
		time.Sleep(RefreshEvery)
		refresh(newcomer)
		if newcomer.Now.Has(old, "1") || !newcomer.Now.Has(ended, "1") || running.Now.Has(old, "1") {
			t.Error("what another instance knows does not count")
		}
	})
}
