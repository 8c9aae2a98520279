package assertion

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

// TestIdleInstance: an instance where a merchant had no requests for some hours, during which the others have rotated the key,
// neither signs with the one that they publish no more, nor publishes that one alone.
func TestIdleInstance(t *testing.T) {
	for name, idleFor := range map[string]int{"hours": 5, "a month": 24 * 30} {
		for _, signs := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					storage, keys := storetest.New(), sealtest.Keys(t)
					idle, busy := newInstance(storage, keys), newInstance(storage, keys)
					const hours = 30*24 + 4
					for hour := range hours {
						busy.mustSign(t, kari)
						if hour == 0 || hour < hours-idleFor {
							idle.mustSign(t, kari)
						}
						synctest.Wait()
						time.Sleep(time.Hour)
					}
					current := kid(t, busy.mustSign(t, kari))
					synctest.Wait()
					if signs {
						if id := kid(t, idle.mustSign(t, kari)); !slices.Contains(busy.published(t, kari.MSN), id) {
							t.Errorf("it signs with %s; the others publish %v", id, busy.published(t, kari.MSN))
						}
					} else if got := idle.published(t, kari.MSN); !slices.Contains(got, current) {
						t.Errorf("it publishes %v; the others sign with %s", got, current)
					}
					synctest.Wait()
				})
			})
		}
	}
}
