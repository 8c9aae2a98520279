package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// waitingCaddy is the variable in the environment that makes this program a Caddy, with a handler that waits.
const waitingCaddy = "VIPPSLOGIN_BENCH_WAITING_CADDY"

func init() {
	caddy.RegisterModule(waiter{})
	httpcaddyfile.RegisterHandlerDirective("bench_wait", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return waiter{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("bench_wait", httpcaddyfile.Before, "respond")
}

// waiter holds requests for so long as the measurement takes, and does nothing else: what they cost then is Caddy's and
// net/http's share of a client that waits for a login.
type waiter struct{}

// CaddyModule returns the Caddy module information.
func (waiter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bench_wait", New: func() caddy.Module { return waiter{} }}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (waiter) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if r.URL.RawQuery != "" {
		timer := time.NewTimer(watched + 2*time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// measureBare measures as many clients that wait at a Caddy without the plugin.
func (b *bench) measureBare() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), waitingCaddy+"=1")
	if err := b.startCaddy(cmd, "", "\tbench_wait\n"); err != nil {
		return err
	}
	defer b.stopCaddy()
	path := "/vipps/phone/0123456789012345678901"
	if _, err := b.call("GET", path, ""); err != nil {
		return err
	}
	idle := b.memory()
	var clients sync.WaitGroup
	for range logins {
		clients.Go(func() { _, _ = b.call("GET", path+"?wait=60", "") })
	}
	most, busiest := idle, idle
	for end := time.Now().Add(watched / 2); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		most = max(most, b.memory())
	}
	// As many requests as there are polls: what makes garbage uses the heap up to the next collection, which comes when it is as
	// large again as what is in use.
	tick := time.NewTicker(interval / logins)
	defer tick.Stop()
	for end := time.Now().Add(watched / 2); time.Now().Before(end); <-tick.C {
		if _, err := b.call("GET", path, ""); err != nil {
			return err
		}
		busiest = max(busiest, b.memory())
	}
	if err := b.profileWaiting("bare"); err != nil {
		return err
	}
	clients.Wait()
	fmt.Printf("a Caddy without the plugin, %d clients that wait: %.1f MiB over idle, %.1f while it answers 200 small requests a second\n", logins, most-idle, busiest-idle)
	return nil
}

// Interface guard
var _ caddyhttp.MiddlewareHandler = waiter{}
