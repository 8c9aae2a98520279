package revocation

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// TestRevokedWhileOthersExpire: a user stays revoked while expired entries of others are added and deleted at the same time.
func TestRevokedWhileOthersExpire(t *testing.T) {
	var e Ended
	now := time.Now()
	e.add(Entry{MSN: "123456", Sub: "kari", Before: now.Unix() + 1, Until: now.Unix() + 3600}, 1)
	kari := session.New([]userinfo.Claim{{Kind: userinfo.KindText, Name: "sub", Text: "kari"}}, now, time.Hour)
	var over atomic.Bool
	beside := func(do func(i int)) (wait func()) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; !over.Load(); i++ {
				do(i)
			}
		}()
		return func() { <-done }
	}
	added := beside(func(i int) { e.add(Entry{MSN: "123456", Sub: strconv.Itoa(i), Before: 1, Until: 1}, 1) })
	deleted := beside(func(int) { e.DeleteExpired() })
	for time.Since(now) < time.Second && !t.Failed() {
		if !e.Has(kari, "123456") {
			t.Error("the session lives again")
		}
	}
	over.Store(true)
	added()
	deleted()
	e.DeleteExpired()
	if n := e.people.count.Load(); n != 1 {
		t.Errorf("%d users are counted, want 1", n)
	}
}
