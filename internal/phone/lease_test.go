package phone

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
	"github.com/caddy-vipps/vippslogin/state"
)

// waitBeside waits for a login, and returns where its end will be.
func (d *Desk) waitBeside(t *testing.T, id string) <-chan *Login {
	ended := make(chan *Login, 1)
	go func() {
		got, err := d.Wait(t.Context(), id, time.Minute)
		if err != nil {
			t.Error(err)
		}
		ended <- got
	}()
	synctest.Wait()
	return ended
}

// TestPingIsOneChange: where somebody waits, a ping and the right to poll after it are one change of the login. With the tokens
// and the end there are three, which in files are three syncs of the disk.
func TestPingIsOneChange(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, storage *storetest.Memory) {
		l := d.start(t, FinishApp)
		ended := d.waitBeside(t, l.ID)
		f.set(func(f *fakeVipps) { f.tokens = tokensAnswer })
		storage.SetAway(false) // forgets what was counted
		if err := d.Ping(t.Context(), []byte(`{"auth_req_id":"r1"}`)); err != nil {
			t.Fatal(err)
		}
		if got := <-ended; got.Status != Complete {
			t.Errorf("%+v", got)
		}
		if _, calls := storage.Count(); calls["store"] != 3 || calls["lock"] != 3 {
			t.Errorf("%v, want 3 changes", calls)
		}
	})
}

// unsure fails a Swap, before or after it has stored.
type unsure struct {
	state.Engine
	fail   atomic.Bool // the next one
	stores bool
}

func (u *unsure) Swap(ctx context.Context, key string, old, value []byte, life time.Duration) (bool, error) {
	if !u.fail.CompareAndSwap(true, false) {
		return u.Engine.Swap(ctx, key, old, value, life)
	}
	if u.stores {
		if _, err := u.Engine.Swap(ctx, key, old, value, life); err != nil {
			return false, err
		}
	}
	return false, fmt.Errorf("%w: the answer was lost", state.ErrUnavailable)
}

// TestLeaseOfUnknownFate: if it is not known whether the lease was stored, this instance goes on polling within seconds, whether or
// not it was. It does not wait until a lease has ended that is its own.
func TestLeaseOfUnknownFate(t *testing.T) {
	for _, stores := range []bool{false, true} {
		for _, pinged := range []bool{false, true} {
			t.Run(fmt.Sprintf("stored %t, pinged %t", stores, pinged), func(t *testing.T) {
				inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, _ *storetest.Memory) {
					shared := &unsure{Engine: d.Shared, stores: stores}
					d.Shared = shared
					l := d.start(t, FinishApp)
					began := time.Now()
					ended := d.waitBeside(t, l.ID)
					if pinged { // under a lease
						time.Sleep(6 * time.Second)
						began = time.Now()
					}
					f.set(func(f *fakeVipps) { f.tokens = tokensAnswer })
					shared.fail.Store(true)
					if pinged && d.Ping(t.Context(), []byte(`{"auth_req_id":"r1"}`)) == nil {
						t.Error("the ping did not fail")
					}
					if got := <-ended; got.Status != Complete || time.Since(began) > 7*time.Second {
						t.Errorf("%s after %s", got.Status, time.Since(began))
					}
				})
			})
		}
	}
}

// TestPanicOfALook: it is one of the request, which Caddy survives, and not of another goroutine, which it does not.
func TestPanicOfALook(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, _ *storetest.Memory) {
		l := d.start(t, FinishApp)
		f.set(func(f *fakeVipps) { f.tokens = tokensAnswer })
		d.Check = func(context.Context, vipps.Tokens, idtoken.Expectation) ([]userinfo.Claim, error) { panic("boom") }
		defer func() {
			if reason := fmt.Sprint(recover()); !strings.Contains(reason, "boom") {
				t.Errorf("the request ended with %q", reason)
			}
			if d.Memory.waiters.waiting(l.ID) {
				t.Error("it still counts as waiting")
			}
		}()
		_, _ = d.Wait(t.Context(), l.ID, 20*time.Second)
		t.Error("no panic")
	})
}
