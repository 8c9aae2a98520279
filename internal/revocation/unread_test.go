package revocation

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/epoch"
	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/state/statetest"
)

// TestRevocationLostBeforeItWasRead: Redis answers before its replicas have an entry. If it then fails over, the entry is gone,
// and no position shows that, since nobody has read it.
func TestRevocationLostBeforeItWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := statetest.NewMemory()
		at := Access{Shared: shared, Keys: sealtest.Keys(t)}
		here, there := NewList(), NewList()
		refresh := func(r *List) {
			t.Helper()
			if err := r.Follow(t.Context(), at, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		refresh(here)
		refresh(there)
		ended := session.New(nil, time.Now(), time.Hour)
		if err := here.Add(t.Context(), at, endOf(ended)); err != nil {
			t.Fatal(err)
		}
		shared.LoseLatest(feed, 1)
		for range 10 {
			time.Sleep(RefreshEvery)
			refresh(here)
			if err := here.Flush(t.Context(), at); err != nil {
				t.Fatal(err)
			}
		}
		refresh(there)
		if !there.Now.Has(ended, "1") {
			t.Error("the revoked session is valid at the other instance")
		}
		refresh(here)
		appended := shared.Calls()["Append"]
		time.Sleep(time.Hour)
		if err := here.Flush(t.Context(), at); err != nil || here.Pending() != 0 || shared.Calls()["Append"] != appended {
			t.Errorf("%v: %d entries are pending, and %d appended: what has come back is not stored again", err, here.Pending(), shared.Calls()["Append"])
		}
	})
}

// TestReloadChangesWhatBecomesOfSessions: after_state_loss counts from the reload on.
func TestReloadChangesWhatBecomesOfSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := session.New(nil, time.Now(), time.Hour)
		time.Sleep(time.Minute)
		r, at := NewList(), Access{Shared: statetest.NewMemory(), Keys: sealtest.Keys(t)}
		if _, err := epoch.Read(t.Context(), at.Shared); err != nil {
			t.Fatal(err)
		}
		for _, keep := range []bool{false, true, false} {
			at.KeepSessions = keep
			if err := r.Follow(t.Context(), at, time.Second); err != nil {
				t.Fatal(err)
			}
			if r.Now.Has(old, "1") == keep {
				t.Errorf("keep_sessions %t: a session from before is valid: %t", keep, !keep)
			}
		}
	})
}

// TestFailoverAndCompletedLogins: a replica that lacks the latest revocations may lack the latest completed logins.
func TestFailoverAndCompletedLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := statetest.NewMemory()
		told := 0
		at := Access{Shared: shared, Keys: sealtest.Keys(t), Lost: func(int) { told++ }}
		here, there := NewList(), NewList()
		refresh := func() {
			t.Helper()
			for _, r := range []*List{here, there, here, there} {
				if err := r.Refresh(t.Context(), at); err != nil {
					t.Fatal(err)
				}
			}
		}
		refresh()
		if err := here.Add(t.Context(), at, endOf(session.New(nil, time.Now(), time.Hour))); err != nil {
			t.Fatal(err)
		}
		refresh()
		before, err := epoch.Read(t.Context(), shared)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		shared.LoseLatest(feed, 1)
		refresh()
		after, err := epoch.Read(t.Context(), shared)
		if err != nil || !after.Made.After(before.Made) || !after.Begun.Equal(before.Begun) || told != 2 {
			t.Errorf("%+v after %+v, told %d times: %v", after, before, told, err)
		}
		time.Sleep(time.Minute)
		refresh()
		if last, err := epoch.Read(t.Context(), shared); err != nil || !last.Is(after) {
			t.Errorf("%+v after %+v: %v", last, after, err)
		}
	})
}
