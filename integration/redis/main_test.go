// Package redis_test runs three Caddys on one Redis, and breaks it.
package redis_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

func TestMain(m *testing.M) { harness.Main(m) }

// sites have a shop that wants a login everywhere, which any browser may complete, and a till.
const sites = `
http://shop-a.localhost:$HTTP {
	vipps_login 123456 {
		return_in_any_browser
		phone {
			api_key {env.TILL_API_KEY}
			scope openid name phoneNumber
			webhook_secret ` + harness.WebhookSecret + `
		}
	}
	reverse_proxy $UPSTREAM
}
http://metrics.localhost:$HTTP {
	metrics
}
`

// cluster is three Caddys, each in a process of its own, on one Redis.
type cluster struct {
	*harness.World
	t         *testing.T
	instances []*harness.Instance
}

// newCluster starts a Redis with further arguments, and three Caddys.
func newCluster(t *testing.T, args ...string) *cluster {
	t.Helper()
	c := newWorld(t)
	c.UseRedis(args...)
	c.startAll()
	return c
}

// newWorld is a cluster without Redis and Caddys.
func newWorld(t *testing.T) *cluster {
	t.Helper()
	return newWorldWhere(t, func(*simulator.Config) {})
}

func newWorldWhere(t *testing.T, configure func(*simulator.Config)) *cluster {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TILL_API_KEY", harness.APIKey)
	var ports []int
	var uris []string
	for range 4 {
		ports = append(ports, freeport.New(t))
		uris = append(uris, fmt.Sprintf("http://shop-a.localhost:%d/vipps/callback", ports[len(ports)-1]))
	}
	w := harness.WorldWhere(t, func(_ *harness.World, config *simulator.Config) {
		config.Merchants = []simulator.Merchant{{MSN: "123456", RedirectURIs: uris}}
		configure(config)
	})
	c := &cluster{World: w, t: t}
	for _, port := range ports {
		c.instances = append(c.instances, &harness.Instance{Port: port})
	}
	return c
}

// startAll starts three instances; the fourth is for those that start later.
func (c *cluster) startAll() {
	c.t.Helper()
	for i := range 3 {
		c.start(i)
	}
}

func (c *cluster) start(i int) {
	c.t.Helper()
	c.instances[i] = c.StartInstanceOn(c.instances[i].Port, sites)
}

func (c *cluster) shop(i int) string {
	return fmt.Sprintf("http://shop-a.localhost:%d/", c.instances[i].Port)
}

func (c *cluster) till(i int) harness.Till { return c.Through(c.instances[i]) }

// login logs a user in at an instance, and returns the browser. Its cookies are good at all of them.
func (c *cluster) login(i int, user string) *harness.Browser {
	c.t.Helper()
	b := harness.NewBrowser(c.t)
	b.Login(c.shop(i), user).WantStatus(c.t, http.StatusOK)
	return b
}

// status is what an instance answers to the cookies of a browser, which do not change.
func (c *cluster) status(i int, cookies []*http.Cookie) int {
	c.t.Helper()
	b := harness.NewBrowser(c.t)
	u, _ := url.Parse(c.shop(i))
	b.Client.Jar.SetCookies(u, cookies)
	return b.Get(c.shop(i)).StatusCode
}

func (c *cluster) cookies(b *harness.Browser) []*http.Cookie {
	u, _ := url.Parse(c.shop(0))
	return b.Client.Jar.Cookies(u)
}

// wantUnavailable fails unless an answer is 503 with Retry-After.
func wantUnavailable(t *testing.T, what string, a harness.Answer) {
	t.Helper()
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("%s: %d %q, want 503 with Retry-After", what, a.StatusCode, a.Text)
	}
}
