package redis_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// loseAndRun kills Redis and starts it without its data.
func (c *cluster) loseAndRun() {
	c.t.Helper()
	c.Redis.Kill()
	c.Redis.Lose()
	c.Redis.Run()
}

// startWith starts an instance with a cookie secret, which is not lost with Redis, and lines in the global option.
func (c *cluster) startWith(i int, lines string) {
	c.t.Helper()
	c.instances[i] = c.StartChangedInstance(c.instances[i].Port, sites, strings.NewReplacer(
		"subscription_key "+harness.PartnerKey, "subscription_key "+harness.PartnerKey+"\n\t\tcookie_secret "+harness.CookieSecret+lines))
}

// TestRedisRestartedEmpty: the instances that run store again what they know, and say so; one that starts then refuses what they
// know to be revoked, and serves the other sessions once that is there.
func TestRedisRestartedEmpty(t *testing.T) {
	t.Run("cookie_secret", func(t *testing.T) { restartedEmpty(t, func(c *cluster, i int) { c.startWith(i, "") }) })
	// The instance that starts then makes a secret of its own, and takes over that of the others.
	t.Run("generated secret", func(t *testing.T) { restartedEmpty(t, (*cluster).start) })
}

func restartedEmpty(t *testing.T, start func(c *cluster, i int)) {
	c := newWorld(t)
	c.UseRedis()
	for i := range 3 {
		start(c, i)
	}
	cookies := c.cookies(c.login(0, harness.Kari))
	leaver := c.login(1, harness.Bjorn)
	left := c.cookies(leaver)
	leaver.Get(c.shop(1)+"vipps/logout").WantStatus(t, http.StatusFound)
	for i := range 3 {
		harness.WaitFor(t, func() bool { return c.status(i, left) != http.StatusOK })
	}
	nextSecond(t) // sessions and epochs are told apart by the second
	c.loseAndRun()
	start(c, 3)
	harness.WaitFor(t, func() bool {
		if c.status(3, left) == http.StatusOK {
			t.Fatal("a session that was logged out is valid at an instance that started while the state was lost")
		}
		return c.status(3, cookies) == http.StatusOK
	})
	for i := range 4 {
		if c.status(i, left) == http.StatusOK {
			t.Errorf("a session that was logged out is valid at instance %d", i)
		}
	}
	for i := range 3 {
		harness.WaitFor(t, func() bool { return c.lostCount(i) != "0" })
	}
	harness.WaitFor(t, func() bool { return strings.Contains(c.InstanceLogs(), "the shared state is not the one that it was") })
}

// TestRedisAndAllInstancesRestartedEmpty: nobody knows which sessions were revoked, so all from before are refused, or valid with
// after_state_loss keep_sessions.
func TestRedisAndAllInstancesRestartedEmpty(t *testing.T) {
	for _, test := range []struct {
		lines  string
		status int
	}{{"", http.StatusFound}, {"\n\t\tafter_state_loss keep_sessions", http.StatusOK}} {
		c := newWorld(t)
		c.UseRedis()
		start := func() {
			for i := range 3 {
				c.startWith(i, test.lines)
			}
		}
		start()
		cookies := c.cookies(c.login(0, harness.Kari))
		for i := range 3 {
			c.instances[i].Kill()
		}
		c.loseAndRun()
		nextSecond(t) // sessions and epochs are told apart by the second
		start()
		for i := range 3 {
			if status := c.status(i, cookies); status != test.status {
				t.Errorf("with %q, a session from before at instance %d: %d, want %d", test.lines, i, status, test.status)
			}
		}
		c.login(0, harness.Kari)
	}
}

// TestRedisKilledAtEachStep of a phone login and of a login in a browser, and restarted with its file: nothing is lost.
func TestRedisKilledAtEachStep(t *testing.T) {
	c := newCluster(t)
	restart := func() { c.Redis.Kill(); c.Redis.Run() }
	status := func(i int, id string) harness.PhoneState {
		var a harness.Answer
		harness.WaitFor(t, func() bool {
			a = c.till(i).Call("GET", "/phone/"+id, "")
			if a.StatusCode == http.StatusNotFound {
				t.Fatal("404 for a phone login that there is")
			}
			return a.StatusCode == http.StatusOK
		})
		return a.State(t)
	}
	id, authReqID := c.till(0).Start(c.World, `{"phone_number":"+4712345678"}`)
	restart()
	if s := status(1, id); s.Status != "pending" {
		t.Errorf("started: %+v", s)
	}
	harness.MustAnswer(t, c.World, authReqID, true)
	restart()
	harness.WaitFor(t, func() bool { return status(2, id).Status == "complete" })
	restart()
	for i := range 3 {
		if s := status(i, id); s.Status != "complete" {
			t.Errorf("complete, at instance %d: %+v", i, s)
		}
	}

	b := harness.NewBrowser(t)
	callback := b.Approved(c.shop(0), harness.Kari).RedirectTo()
	restart()
	b.Get(callback).WantStatus(t, http.StatusFound)
	cookies := c.cookies(b)
	restart()
	b.Get(c.shop(1)+"vipps/logout").WantStatus(t, http.StatusFound)
	restart()
	c.start(3)
	for i := range 4 {
		harness.WaitFor(t, func() bool { return c.status(i, cookies) == http.StatusFound })
	}
}

// nextSecond waits until the clock shows another second.
func nextSecond(t *testing.T) {
	t.Helper()
	now := time.Now().Unix()
	harness.WaitFor(t, func() bool { return time.Now().Unix() > now })
}
