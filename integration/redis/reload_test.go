package redis_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestRedisAwayAtReload: while Redis is away or hangs, `caddy validate` says that a config is good, and Caddy takes another one.
// Sessions go on, also with a generated secret, and phone logins work again when Redis does.
func TestRedisAwayAtReload(t *testing.T) {
	for _, o := range outages[:2] {
		for name, secret := range map[string]string{"cookie_secret": "cookie_secret " + harness.CookieSecret, "generated secret": ""} {
			t.Run(o.name+", "+name, func(t *testing.T) {
				c := newWorld(t)
				c.UseRedis()
				globals := strings.Replace(c.Globals(), "cookie_secret "+harness.CookieSecret, secret, 1)
				c.LoadWhole(globals + sites)
				shop := c.Shop("shop-a.localhost") + "/"
				b := harness.NewBrowser(t)
				b.Login(shop, harness.Kari).WantStatus(t, http.StatusOK)
				till := harness.NewTill(t, c.Shop("shop-a.localhost"))

				o.begin(c)
				file := filepath.Join(t.TempDir(), "Caddyfile")
				if err := os.WriteFile(file, []byte(c.Vars.Replace(globals+sites)), 0o600); err != nil {
					t.Fatal(err)
				}
				quick := func(what string, do func()) {
					began := time.Now()
					if do(); time.Since(began) > 8*time.Second {
						t.Errorf("%s takes %s", what, time.Since(began))
					}
				}
				quick("validate", func() {
					if run := harness.RunCaddy(t, "validate", "--config", file, "--adapter", "caddyfile"); run.Status != 0 {
						t.Errorf("validate: %d %s", run.Status, run.Stderr)
					}
				})
				quick("reload", func() {
					c.Reload(globals + strings.ReplaceAll(sites, "scope openid name phoneNumber", "scope openid name"))
				})
				b.Get(shop).WantStatus(t, http.StatusOK)
				wantUnavailable(t, "a phone login", till.Call("POST", "/phone", `{"phone_number":"+4712345678"}`))

				o.end(c)
				harness.WaitFor(t, func() bool {
					return till.Call("POST", "/phone", `{"phone_number":"+4740000001"}`).StatusCode == http.StatusAccepted
				})
				b.Get(shop).WantStatus(t, http.StatusOK)
			})
		}
	}
}
