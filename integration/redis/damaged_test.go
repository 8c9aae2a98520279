package redis_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestRedisDamagedEntry: an entry of the list of revoked sessions that was changed may have ended any session, so that an instance
// that starts answers 503. The way out is that of docs/operations.md: the streams are deleted, and the instances that run store
// them again.
func TestRedisDamagedEntry(t *testing.T) {
	c, cookies, left := evictable(t)
	const stream = "vipps_login:{revoked}:1d"
	entries, err := c.Redis.Client.XRange(context.Background(), stream, "-", "+").Result()
	if err != nil || len(entries) == 0 {
		t.Fatal(entries, err)
	}
	damaged := []byte(entries[0].Values["e"].(string))
	damaged[len(damaged)-1] ^= 1
	c.Redis.Do("XADD", stream, "*", "e", damaged)
	c.startWith(3, "")
	for _, session := range [][]*http.Cookie{cookies, left} {
		if status := c.status(3, session); status != http.StatusServiceUnavailable {
			t.Errorf("a session at an instance that cannot read the list: %d", status)
		}
	}
	if !strings.Contains(c.InstanceLogs(), "a part of the list of ended sessions is damaged") {
		t.Error("the log does not say what is wrong")
	}
	for i := range 3 {
		if c.status(i, cookies) != http.StatusOK || c.status(i, left) != http.StatusFound {
			t.Errorf("the damage counts at instance %d, which knows the list", i)
		}
	}
	c.drop(stream, "vipps_login:{revoked}:8d", "vipps_login:{revoked}:64d", "vipps_login:{revoked}:512d")
	harness.WaitFor(t, func() bool {
		if c.status(3, left) == http.StatusOK {
			t.Fatal("a session that was logged out is valid")
		}
		return c.status(3, cookies) == http.StatusOK
	})
}
