package redis_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// evict has Redis delete all that its policy lets it delete, as it does when others fill the memory.
func (c *cluster) evict() {
	c.t.Helper()
	c.Redis.Do("CONFIG", "SET", "maxmemory", "1")
	_ = c.Redis.Client.Set(context.Background(), "of-others", "x", 0).Err() // refused, after everything else was deleted
	c.Redis.Do("CONFIG", "SET", "maxmemory", "0")
}

// has reports whether there are keys of this name in Redis.
func (c *cluster) has(pattern string) bool {
	c.t.Helper()
	keys, err := c.Redis.Client.Keys(context.Background(), pattern).Result()
	if err != nil {
		c.t.Fatal(err)
	}
	return len(keys) > 0
}

// lostCount is what the metrics of an instance say of losses.
func (c *cluster) lostCount(i int) string {
	c.t.Helper()
	page := harness.NewBrowser(c.t).Get(strings.Replace(c.shop(i), "shop-a", "metrics", 1))
	for line := range strings.Lines(page.Text) {
		if count, ok := strings.CutPrefix(line, "caddy_vipps_login_state_lost_total "); ok {
			return strings.TrimSpace(count)
		}
	}
	c.t.Fatal("the metrics do not have caddy_vipps_login_state_lost_total")
	return ""
}

// TestRedisEvicts: a Redis that deletes keys to make room is noticed. What the instances know is stored again, so that a revoked
// session is valid nowhere, also at an instance that starts afterwards, and the instances keep one generated secret.
func TestRedisEvicts(t *testing.T) {
	for _, policy := range []string{
		"allkeys-lru",  // the epoch and the generated secret as well
		"volatile-lru", // what expires
	} {
		t.Run(policy, func(t *testing.T) {
			c := newCluster(t, "--maxmemory", "1gb", "--maxmemory-policy", policy)
			harness.WaitFor(t, func() bool {
				return strings.Contains(c.InstanceLogs(), "the server of the shared state is not set up as it must be")
			})
			cookies := c.cookies(c.login(0, harness.Kari))
			leaver := c.login(1, harness.Bjorn)
			left := c.cookies(leaver)
			leaver.Get(c.shop(1)+"vipps/logout").WantStatus(t, http.StatusFound)
			for i := range 3 {
				harness.WaitFor(t, func() bool { return c.status(i, left) == http.StatusFound })
			}
			harness.WaitFor(t, func() bool { return c.has("*{revoked}:*") })
			nextSecond(t) // sessions and epochs are told apart by the second
			c.evict()
			if info := c.Redis.Do("INFO", "stats").(string); strings.Contains(info, "evicted_keys:0") {
				t.Fatal("nothing was evicted")
			}
			harness.WaitFor(t, func() bool { return c.has("*{revoked}:*") && c.has("*:epoch") && c.has("*:cookie_secret") })
			c.start(3)
			for i := range 4 {
				if status := c.status(i, left); status == http.StatusOK {
					t.Errorf("a session that was logged out is valid at instance %d", i)
				}
				harness.WaitFor(t, func() bool { return c.status(i, cookies) == http.StatusOK })
			}
			harness.WaitFor(t, func() bool { return c.lostCount(0) != "0" })
			harness.WaitFor(t, func() bool { return strings.Contains(c.InstanceLogs(), "the shared state is not the one that it was") })
			c.login(3, harness.Bjorn)
		})
	}
}
