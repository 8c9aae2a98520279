package redis_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// bound is the longest that it may take to load or to validate a config while Redis is away: it takes less than 3 seconds, and a
// machine that is busy with the race detector needs twice that.
const bound = 10 * time.Second

// TestRedisAwayAtReload: a config is validated and loaded while Redis is away, in bounded time. Sessions are served before and
// afterwards, and revoked ones are not. Phone logins are 503 until Redis is back, without a restart.
func TestRedisAwayAtReload(t *testing.T) {
	for _, o := range outages[:2] { // killed, hung
		t.Run(o.name, func(t *testing.T) { c := newWorld(t); c.UseRedis(); c.reloads(t, o) })
	}
}

func (c *cluster) reloads(t *testing.T, o outage) {
	admin := fmt.Sprintf("localhost:%d", freeport.New(t))
	c.instances[0] = c.StartChangedInstance(c.instances[0].Port, sites, strings.NewReplacer("admin off", "admin "+admin))
	cookies := c.cookies(c.login(0, harness.Kari))
	leaver := c.login(0, harness.Bjorn)
	left := c.cookies(leaver)
	leaver.Get(c.shop(0)+"vipps/logout").WantStatus(t, http.StatusFound)

	o.begin(c)
	file := c.instances[0].File
	began := time.Now()
	if run := harness.RunCaddy(t, "validate", "--config", file); run.Status != 0 {
		t.Errorf("validate: %s", run.Stderr)
	}
	validated := time.Since(began)
	// A header that the config from before does not have shows which one answers.
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(other, []byte(strings.ReplaceAll(string(content), "\tmetrics\n", "\theader X-Config second\n\tmetrics\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	stopped := c.serves(t, cookies) // during the reload
	began = time.Now()
	if run := harness.RunCaddy(t, "reload", "--config", other, "--address", admin); run.Status != 0 {
		t.Errorf("reload: %s", run.Stderr)
	}
	reloaded := time.Since(began)
	stopped()
	t.Logf("validated in %s, reloaded in %s", validated, reloaded)
	if validated > bound || reloaded > bound {
		t.Errorf("validated in %s, reloaded in %s", validated, reloaded)
	}
	if header := harness.NewBrowser(t).Get(strings.Replace(c.shop(0), "shop-a", "metrics", 1)).Header; header.Get("X-Config") != "second" {
		t.Error("the second config is not loaded")
	}
	if status := c.status(0, cookies); status != http.StatusOK {
		t.Errorf("a session after the reload: %d", status)
	}
	if status := c.status(0, left); status == http.StatusOK {
		t.Error("a session that was logged out is valid after the reload")
	}
	wantUnavailable(t, "a phone login", c.till(0).Call("POST", "/phone", `{"phone_number":"+4712345678"}`))
	o.end(c)
	harness.WaitFor(t, func() bool {
		return c.till(0).Call("POST", "/phone", `{"phone_number":"+4712345678"}`).StatusCode == http.StatusAccepted
	})
	if status := c.status(0, left); status != http.StatusFound {
		t.Errorf("a session that was logged out, once Redis is back: %d", status)
	}
}

// serves requests a page with a session, again and again, until the function that it returns is called.
func (c *cluster) serves(t *testing.T, cookies []*http.Cookie) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if status := c.status(0, cookies); status != http.StatusOK {
				t.Errorf("a session during the reload: %d", status)
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}
