package phone

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

// TestEndedLoginsLeaveMemory: what a busy shop's logins were about is not in memory until the next sweep, ten minutes later. The
// end can still be read.
func TestEndedLoginsLeaveMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Desk, f *fakeVipps, _ *storetest.Memory) {
		l := d.start(t, FinishApp)
		ended := d.waitBeside(t, l.ID)
		f.set(func(f *fakeVipps) { f.tokens = tokensAnswer })
		if got := <-ended; got.Status != Complete {
			t.Fatalf("%+v", got)
		}
		if _, ok := d.Memory.login(l.ID, deskMSN); !ok {
			t.Error("the end is not in memory for those who come next")
		}
		time.Sleep(endedFor)
		synctest.Wait()
		if logins, leases, pending := d.Memory.logins.ItemCount(), d.Memory.leases.ItemCount(), d.Memory.Pending(); logins+leases+pending > 0 {
			t.Errorf("in memory: %d logins, %d leases, %d pending", logins, leases, pending)
		}
		if got, err := d.Wait(t.Context(), l.ID, 0); err != nil || got.Status != Complete || got.Userinfo == "" {
			t.Errorf("%+v %v", got, err)
		}
	})
}
