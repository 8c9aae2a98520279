package redis_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// drop deletes keys as eviction does: at once, and without a word to those who have read them.
func (c *cluster) drop(keys ...any) {
	c.t.Helper()
	if n := c.Redis.Do(append([]any{"DEL"}, keys...)...); n == int64(0) {
		c.t.Fatalf("%q were not there", keys)
	}
}

// TestRedisEvictsTheListAlone: the epoch is read every few seconds, so that Redis evicts the list of revoked sessions and keeps the
// epoch. An instance that starts then, before or without another that could store the list again, must not take it for empty.
func TestRedisEvictsTheListAlone(t *testing.T) {
	t.Run("others run", func(t *testing.T) {
		c, cookies, left := evictable(t)
		c.drop("vipps_login:{revoked}:1d")
		c.startWith(3, "")
		harness.WaitFor(t, func() bool {
			if c.status(3, left) == http.StatusOK {
				t.Fatal("a session that was logged out is valid at an instance that started after the eviction")
			}
			return c.status(3, cookies) == http.StatusOK // the others have stored the list again
		})
		for i := range 4 {
			if status := c.status(i, left); status == http.StatusOK {
				t.Errorf("a session that was logged out is valid at instance %d", i)
			}
		}
	})
	for name, lose := range map[string]func(*cluster){
		"none runs":      func(c *cluster) { c.drop("vipps_login:{revoked}:1d") },
		"an empty epoch": func(c *cluster) { c.Redis.Do("SET", "vipps_login:epoch", "") },
	} {
		t.Run(name, func(t *testing.T) {
			c, _, left := evictable(t)
			for i := range 3 {
				c.instances[i].Kill()
			}
			lose(c)
			c.startWith(3, "")
			if status := c.status(3, left); status != http.StatusFound {
				t.Errorf("a session that was logged out: %d", status)
			}
		})
	}
	t.Run("a logout hides it", func(t *testing.T) {
		c, _, left := evictable(t)
		for i := range 2 {
			c.instances[i].Kill()
		}
		late := c.login(2, harness.Kari)
		c.drop("vipps_login:{revoked}:1d")
		late.Get(c.shop(2)+"vipps/logout").WantStatus(t, http.StatusFound)
		c.instances[2].Kill()
		c.startWith(3, "")
		if status := c.status(3, left); status != http.StatusFound {
			t.Errorf("a session that was logged out: %d", status)
		}
	})
}

// evictable is a cluster with a configured secret, a session, and one that was logged out.
func evictable(t *testing.T) (c *cluster, cookies, left []*http.Cookie) {
	t.Helper()
	c = newWorld(t)
	c.UseRedis()
	for i := range 3 {
		c.startWith(i, "")
	}
	cookies = c.cookies(c.login(0, harness.Kari))
	leaver := c.login(1, harness.Bjorn)
	left = c.cookies(leaver)
	leaver.Get(c.shop(1)+"vipps/logout").WantStatus(t, http.StatusFound)
	for i := range 3 {
		harness.WaitFor(t, func() bool { return c.status(i, left) == http.StatusFound })
	}
	nextSecond(t) // sessions and epochs are told apart by the second
	return c, cookies, left
}

// TestRedisEvictsTheSecretAlone: it is read once, when an instance starts, and so is among the first that Redis evicts. One that
// starts then may make another, until the others have stored theirs again; all end with one.
func TestRedisEvictsTheSecretAlone(t *testing.T) {
	c := newCluster(t)
	cookies := c.cookies(c.login(0, harness.Kari))
	began := time.Now()
	harness.WaitFor(t, func() bool { return time.Since(began) > 2*time.Second }) // a state that is younger is one that begins
	c.drop("vipps_login:cookie_secret")
	c.start(3)
	harness.WaitFor(t, func() bool { return c.status(3, cookies) == http.StatusOK })
	fresh := c.cookies(c.login(3, harness.Bjorn))
	for i := range 4 {
		harness.WaitFor(t, func() bool { return c.status(i, fresh) == http.StatusOK && c.status(i, cookies) == http.StatusOK })
	}
}
