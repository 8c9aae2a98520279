package vippslogin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// approve is what a person answers at the simulator's consent page.
func approve(user string) url.Values { return url.Values{"user": {user}, "answer": {"approve"}} }

// TestLoginsDuringReloads: configs come and go while people log in, and nobody has to begin again.
func TestLoginsDuringReloads(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	var all sync.WaitGroup
	var completed atomic.Int64
	stop := make(chan struct{})
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				b := newBrowser(t)
				if page := b.login(shop+"/page?x=1", kari); page.StatusCode != http.StatusOK || page.Request.URL.String() != shop+"/page?x=1" {
					t.Errorf("%d at %s: %s", page.StatusCode, page.Request.URL, page.body)
				}
				b.client.CloseIdleConnections()
				completed.Add(1)
			}
		})
	}
	for i := range 8 {
		before := completed.Load()
		w.reload(w.globals() + twoShops + fmt.Sprintf("\nhttp://other%d.localhost:$HTTP {\n}\n", i))
		waitFor(t, func() bool { return completed.Load() >= before+8 })
	}
	close(stop)
	all.Wait()
	if calls := w.vipps.counted(); calls[pathAccessToken] != 1 || calls[pathDiscovery] != 1 || calls[pathKeys] != 1 {
		t.Errorf("calls: %v", calls)
	}
}

// TestKilledDuringALogin: an instance that dies as by kill -9, at each step of a login, costs the person at
// most a click on "Try again", at whatever instance comes next; sessions live on.
func TestKilledDuringALogin(t *testing.T) {
	for _, mode := range []string{"same browser", "any browser"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			sites := twoShops
			if mode == "any browser" {
				sites = strings.Replace(sites, "vipps_login 123456\n", "vipps_login 123456 {\n\t\treturn_in_any_browser\n\t}\n", 1)
			}
			shop := w.shop("shop-a.localhost")
			_ = caddy.Stop()
			i := w.startInstanceOn(w.http, sites)
			again := func() { i.kill(); i = w.startInstanceOn(w.http, sites) }

			// Between the start and the callback.
			b := newBrowser(t)
			callback := b.approved(shop+"/one", kari).location()
			again()
			if page := b.follow(b.get(callback)).wantStatus(t, http.StatusOK); page.Request.URL.Path != "/one" {
				t.Errorf("ended at %s", page.Request.URL)
			}
			again()
			b.get(shop+"/one").wantStatus(t, http.StatusOK)

			// While Vipps MobilePay is asked: before it has answered, after the code was spent, after userinfo.
			for _, at := range []string{pathToken, pathUserinfo} {
				for _, spent := range []bool{false, true} {
					b := newBrowser(t)
					callback := b.approved(shop+"/two", kari).location()
					arrived, dead := make(chan struct{}), make(chan struct{})
					var once sync.Once
					w.vipps.answer(at, func(rw http.ResponseWriter, r *http.Request) {
						if spent {
							w.vipps.sim.ServeHTTP(newRecorder(), r)
						}
						once.Do(func() { close(arrived) })
						<-dead
					})
					var gone sync.WaitGroup
					gone.Go(func() {
						if resp, err := b.client.Do(newRequest(t, http.MethodGet, callback, nil)); err == nil {
							resp.Body.Close()
							t.Error("the instance answered")
						}
					})
					<-arrived
					i.kill()
					close(dead)
					gone.Wait()
					w.vipps.answer(at, nil)
					i = w.startInstanceOn(w.http, sites)
					page := b.get(callback) // the person reloads
					if at == pathToken && !spent {
						page = b.follow(page)
					} else {
						page = b.follow(b.consent(b.follow(b.clickButton(page.wantStatus(t, http.StatusBadRequest))), approve(kari)))
					}
					if page.wantStatus(t, http.StatusOK).Request.URL.Path != "/two" {
						t.Errorf("%s: ended at %s", at, page.Request.URL)
					}
				}
			}

			// After the answer was sent, before the person has followed it.
			b = newBrowser(t)
			done := b.get(b.approved(shop+"/three", kari).location()).wantStatus(t, http.StatusFound)
			again()
			b.follow(done).wantStatus(t, http.StatusOK)
		})
	}
}

// TestClockOffByMinutes: a server whose clock is not Vipps MobilePay's within the minute's leeway says so as
// 502, and the log names the claim that shows it.
func TestClockOffByMinutes(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	for off, want := range map[time.Duration]int{-30 * time.Second: 200, 30 * time.Second: 200, 2 * time.Minute: 502, -2 * time.Minute: 502, -2 * time.Hour: 502} {
		w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
			now := time.Now().Add(off)
			claims["iat"], claims["exp"] = now.Unix(), now.Add(30*time.Second).Unix()
		}})
		newBrowser(t).login(shop+"/", kari).wantStatus(t, want)
		if reason := map[bool]string{true: "(iat, nbf)", false: "(exp)"}[off > 0]; want == 502 && !strings.Contains(w.logged(), reason) {
			t.Errorf("%s: the log does not say %s", off, reason)
		}
	}
}
