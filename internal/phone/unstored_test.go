package phone

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
	"github.com/caddy-vipps/vippslogin/state"
)

// TestOutcomeDuringOutage: what Vipps MobilePay gives once is not lost when the shared state is away at that moment, however the
// login ends. The till here has it at once, and other instances when the state works again.
func TestOutcomeDuringOutage(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		number string
		want   Status
	}{
		"complete":     {tokensAnswer, kari, Complete},
		"denied":       {deniedAnswer, kari, Denied},
		"other number": {tokensAnswer, "4799999999", Failed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, storage *storetest.Memory) {
				l := d.start(t, FinishApp)
				time.Sleep(5 * time.Second)
				f.set(func(f *fakeVipps) { f.tokens, f.number = test.answer, test.number })
				f.answered = func() { storage.SetAway(true) } // the poll was claimed before
				got, err := d.Wait(t.Context(), l.ID, 20*time.Second)
				if err != nil || got.Status != test.want || d.Memory.Unstored() != 1 {
					t.Fatalf("the till that waited: %+v %v, %d to be stored", got, err, d.Memory.Unstored())
				}
				elsewhere := *d
				elsewhere.Memory = NewMemory()
				time.Sleep(time.Minute)
				if _, err := elsewhere.Wait(t.Context(), l.ID, 0); !errors.Is(err, state.ErrUnavailable) {
					t.Errorf("at another instance during the outage: %v", err)
				}
				storage.SetAway(false)
				time.Sleep(storeAgain + time.Millisecond)
				if got, err := elsewhere.Wait(t.Context(), l.ID, 0); err != nil || got.Status != test.want || d.Memory.Unstored() != 0 {
					t.Errorf("at another instance afterwards: %+v %v, %d to be stored", got, err, d.Memory.Unstored())
				}
			})
		})
	}
}

// TestCodeDuringOutage: nor is a login that ends in the phone's browser.
func TestCodeDuringOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, storage *storetest.Memory) {
		l := d.start(t, FinishBrowser)
		f.set(func(f *fakeVipps) { f.tokens, f.names = tokensAnswer, "r1" })
		check := d.Check
		d.Check = func(ctx context.Context, got vipps.Tokens, want idtoken.Expectation) ([]userinfo.Claim, error) {
			claims, err := check(ctx, got, want)
			storage.SetAway(true)
			return claims, err
		}
		if done, claims, err := d.Complete(t.Context(), "code"); err != nil || done.Status != Complete || len(claims) != 2 {
			t.Fatalf("the phone's browser: %+v %v", done, err)
		}
		storage.SetAway(false)
		time.Sleep(storeAgain + time.Millisecond)
		elsewhere := *d
		elsewhere.Memory = NewMemory()
		if got, err := elsewhere.Wait(t.Context(), l.ID, 0); err != nil || got.Status != Complete {
			t.Errorf("the till: %+v %v", got, err)
		}
	})
}

// TestOutcomeOverReload: an outcome that could not be stored is stored by the newest config, whose shared state may be another.
func TestOutcomeOverReload(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, storage *storetest.Memory) {
		l := d.start(t, FinishApp)
		time.Sleep(5 * time.Second)
		f.set(func(f *fakeVipps) { f.tokens = tokensAnswer })
		f.answered = func() { storage.SetAway(true) }
		if got, err := d.Wait(t.Context(), l.ID, 20*time.Second); err != nil || got.Status != Complete {
			t.Fatal(got, err)
		}
		newest := &storetest.Mannered{Memory: storetest.New(), Excludes: true}
		newest.Files = storage.Files
		d.Memory.Use(Store{Shared: store.New(newest), Memory: d.Memory, Keys: d.Keys})
		time.Sleep(storeAgain + time.Millisecond)
		if n := d.Memory.Unstored(); n != 0 {
			t.Errorf("%d to be stored", n)
		}
	})
}

// TestOutcomeIsGivenUp with the login's life, and not before.
func TestOutcomeIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, storage *storetest.Memory) {
		l := d.start(t, FinishApp)
		time.Sleep(5 * time.Second)
		f.set(func(f *fakeVipps) { f.tokens = tokensAnswer })
		f.answered = func() { storage.SetAway(true) }
		if _, err := d.Wait(t.Context(), l.ID, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(l.Forgotten) - time.Second)
		if n := d.Memory.Unstored(); n != 1 {
			t.Errorf("%d to be stored before its end", n)
		}
		time.Sleep(time.Minute)
		if n := d.Memory.Unstored(); n != 0 {
			t.Errorf("%d to be stored after its end", n)
		}
	})
}
