package redis_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// outage is a way in which Redis can be out of order.
type outage struct {
	name       string
	begin, end func(c *cluster)
	reads      bool // what is stored can be read
}

var outages = []outage{
	{"killed", func(c *cluster) { c.Redis.Kill() }, func(c *cluster) { c.Redis.Run() }, false},
	{"hung", func(c *cluster) { c.Redis.Hang() }, func(c *cluster) { c.Redis.Wake() }, false},
	{"paused", func(c *cluster) { c.Redis.Do("CLIENT", "PAUSE", "20000", "ALL") }, func(*cluster) {}, false}, // no command ends it
	{"full", func(c *cluster) { c.Redis.Do("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1") },
		func(c *cluster) { c.Redis.Do("CONFIG", "SET", "maxmemory", "0") }, true},
	{"read-only", func(c *cluster) { c.Redis.Do("REPLICAOF", "127.0.0.1", "1") }, func(c *cluster) { c.Redis.Do("REPLICAOF", "NO", "ONE") }, true},
	{"another password", func(c *cluster) {
		c.Redis.Do("CONFIG", "SET", "requirepass", "other")
		c.Redis.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	}, func(c *cluster) { c.Redis.Do("CONFIG", "SET", "requirepass", "") }, false},
}

// TestRedisOutages: however Redis is out of order, sessions are served at every instance, phone logins and logins that any browser
// may complete are 503, a logout is answered and counts where it was answered, and Caddy starts. When Redis works again, all is well
// without a restart, and nothing is lost.
func TestRedisOutages(t *testing.T) {
	c := newCluster(t)
	cookies := c.cookies(c.login(0, harness.Kari))
	numbers := harness.ManyNumbers(2 * len(outages))
	for n, o := range outages {
		t.Run(o.name, func(t *testing.T) { c.survives(t, o, numbers[2*n:], cookies) })
	}
}

func (c *cluster) survives(t *testing.T, o outage, numbers []string, cookies []*http.Cookie) {
	c.T, c.t = t, t
	id, authReqID := c.till(0).Start(c.World, `{"phone_number":"`+numbers[0]+`"}`)
	leaver := c.login(1, harness.Bjorn)
	left := c.cookies(leaver)
	anybody := harness.NewBrowser(t)
	callback := anybody.Approved(c.shop(2), harness.Kari).RedirectTo()

	o.begin(c)
	for i := range 3 {
		if status := c.status(i, cookies); status != http.StatusOK {
			t.Errorf("a session at instance %d: %d", i, status)
		}
	}
	wantUnavailable(t, "a phone login", c.till(1).Call("POST", "/phone", `{"phone_number":"`+numbers[1]+`"}`))
	if a := c.till(2).Call("GET", "/phone/"+id, ""); o.reads && a.StatusCode != http.StatusOK || !o.reads && a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a phone login from before, at another instance: %d %s", a.StatusCode, a.Text)
	}
	wantUnavailable(t, "a login that any browser may complete", anybody.Get(callback))
	leaver.Get(c.shop(1)+"vipps/logout").WantStatus(t, http.StatusFound)
	if status := c.status(1, left); status == http.StatusOK {
		t.Error("the session that was logged out is valid where that was answered")
	}
	if !strings.Contains(c.InstanceLogs(), "a logout is not known to the other instances yet") {
		t.Error("the log does not say that the logout is not everywhere")
	}
	c.start(3)
	if a := c.status(3, cookies); o.reads && a != http.StatusOK || !o.reads && a != http.StatusServiceUnavailable {
		t.Errorf("a session at an instance that starts now: %d", a)
	}

	o.end(c)
	harness.WaitFor(t, func() bool { return c.status(3, cookies) == http.StatusOK })
	for i := range 4 {
		harness.WaitFor(t, func() bool { return c.status(i, left) == http.StatusFound })
	}
	harness.MustAnswer(t, c.World, authReqID, true)
	if s := c.till(2).Call("GET", "/phone/"+id+"?wait=30", "").WantStatus(t, http.StatusOK).State(t); s.Status != "complete" {
		t.Errorf("the phone login from before: %+v", s)
	}
	c.instances[3].Kill()
	c.instances[3] = &harness.Instance{Port: c.instances[3].Port}
}
