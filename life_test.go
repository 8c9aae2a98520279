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

			// Before the redirect.
			b := newBrowser(t)
			asked := make(chan struct{})
			w.vipps.answer(pathDiscovery, func(_ http.ResponseWriter, r *http.Request) { close(asked); <-r.Context().Done() })
			var cut sync.WaitGroup
			cut.Go(func() {
				if resp, err := b.client.Do(newRequest(t, http.MethodGet, shop+"/zero", nil, "Accept: text/html")); err == nil {
					resp.Body.Close()
					t.Error("the instance answered")
				}
			})
			<-asked
			again()
			cut.Wait()
			w.vipps.answer(pathDiscovery, nil)
			b.login(shop+"/zero", kari).wantStatus(t, http.StatusOK)

			// Between the start and the callback.
			b = newBrowser(t)
			callback := b.approved(shop+"/one", kari).location()
			again()
			if page := b.follow(b.get(callback)).wantStatus(t, http.StatusOK); page.Request.URL.Path != "/one" {
				t.Errorf("ended at %s", page.Request.URL)
			}
			again()
			b.get(shop+"/one").wantStatus(t, http.StatusOK)

			// While Vipps MobilePay is asked: before it has answered, after the code was spent, after userinfo.
			for _, at := range []string{pathAccessToken, pathToken, pathKeys, pathUserinfo} {
				for _, spent := range []bool{false, true} {
					if spent && at != pathToken && at != pathUserinfo {
						continue // nothing is spent there
					}
					if at == pathAccessToken || at == pathKeys {
						again() // what the one before has fetched is kept
					}
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
					if at == pathAccessToken || at == pathToken && !spent {
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

// TestKilledDuringAPhoneLogin: the same from a phone number. The person answers once, or is asked once more where
// the till was not told of the login.
func TestKilledDuringAPhoneLogin(t *testing.T) {
	w := newPhoneWorld(t)
	if err := caddy.Stop(); err != nil { // the one in this process
		t.Fatal(err)
	}
	i := w.startInstanceOn(w.http, phoneShops)
	again := func() { i.kill(); i = w.startInstanceOn(w.http, phoneShops) }
	c := newTill(t, w.shop("shop-a.localhost"))
	numbers := manyNumbers(10)
	start := func() (id, authReqID string) {
		numbers = numbers[1:]
		return c.start(w, `{"phone_number":"`+numbers[0]+`"}`)
	}
	wantComplete := func(at, id string) {
		t.Helper()
		if s := c.call("GET", "/phone/"+id+"?wait=60", "").wantStatus(t, http.StatusOK).state(t); s.Status != "complete" || s.Userinfo["sub"] == nil {
			t.Errorf("killed %s: %+v", at, s)
		}
	}
	// killedAt kills the instance while it asks Vipps MobilePay for somebody, who is not answered.
	killedAt := func(path string, heard bool, method, ask, body string) {
		t.Helper()
		arrived, dead := make(chan struct{}), make(chan struct{})
		var once sync.Once
		w.vipps.answer(path, func(rw http.ResponseWriter, r *http.Request) {
			if heard {
				w.vipps.sim.ServeHTTP(newRecorder(), r)
			}
			once.Do(func() { close(arrived) })
			<-dead
		})
		var gone sync.WaitGroup
		gone.Go(func() {
			req := newRequest(t, method, c.shop+"/vipps/phone"+ask, strings.NewReader(body), "Authorization: Bearer "+apiKey, "Content-Type: application/json")
			if resp, err := c.client.Do(req); err == nil {
				resp.Body.Close()
				t.Error("the instance answered")
			}
		})
		<-arrived
		i.kill()
		close(dead)
		gone.Wait()
		w.vipps.answer(path, nil)
		i = w.startInstanceOn(w.http, phoneShops)
	}

	// While the person is being asked: the till asks once more.
	for _, heard := range []bool{false, true} {
		killedAt(pathBackchannel, heard, "POST", "", `{"phone_number":"`+numbers[1]+`"}`)
		id, authReqID := start()
		mustAnswer(t, w, authReqID, true)
		wantComplete("while the person was asked", id)
	}
	// Before the first poll, and between polls.
	id, authReqID := start()
	again()
	c.call("GET", "/phone/"+id+"?wait=2", "").wantStatus(t, http.StatusOK)
	again()
	mustAnswer(t, w, authReqID, true)
	wantComplete("before the answer", id)
	// After the end.
	again()
	wantComplete("after the end", id)
	// While Vipps MobilePay is asked for the answer, and, once that is written down, who the person is.
	for _, at := range []string{pathToken, pathUserinfo} {
		id, authReqID := start()
		mustAnswer(t, w, authReqID, true)
		killedAt(at, false, "GET", "/"+id+"?wait=60", "")
		wantComplete("at "+at, id)
	}
}

// TestReloadAtEachStep: a config that comes while Vipps MobilePay is asked for somebody takes nothing from them,
// and whoever waits for a phone is told to ask again at once.
func TestReloadAtEachStep(t *testing.T) {
	w := newPhoneWorld(t)
	globals := strings.Replace(w.globals(), "grace_period 1s", "grace_period 30s", 1)
	w.loadWhole(globals + phoneShops)
	shop := w.shop("shop-a.localhost")
	reloads := 0
	reload := func() {
		t.Helper()
		reloads++
		w.reload(globals + phoneShops + fmt.Sprintf("\nhttp://other%d.localhost:$HTTP {\n}\n", reloads))
	}
	// reloadedAt reloads while Vipps MobilePay is asked at path, twice: the config that asked is not even the last.
	reloadedAt := func(path string, ask func() answer) answer {
		t.Helper()
		arrived, reloaded := make(chan struct{}), make(chan struct{})
		var once sync.Once
		w.vipps.answer(path, func(rw http.ResponseWriter, r *http.Request) {
			once.Do(func() { close(arrived) })
			<-reloaded
			w.vipps.sim.ServeHTTP(rw, r)
		})
		answered := make(chan answer, 1)
		go func() { answered <- ask() }()
		<-arrived
		reload()
		reload()
		close(reloaded)
		a := <-answered
		w.vipps.answer(path, nil)
		return a
	}
	// In the order of a first login's calls, so that none is answered from what is kept.
	for _, path := range []string{pathDiscovery, pathAccessToken, pathKeys, pathToken, pathUserinfo} {
		b := newBrowser(t)
		if path == pathDiscovery {
			reloadedAt(path, func() answer { return b.get(shop + "/account/") }).wantStatus(t, http.StatusFound)
			continue
		}
		if path == pathKeys {
			w.vipps.sim.RotateKey()
		}
		callback := b.approved(shop+"/account/"+path[1:], kari).location()
		page := b.follow(reloadedAt(path, func() answer { return b.get(callback) }))
		if page.wantStatus(t, http.StatusOK).Request.URL.Path != "/account"+path {
			t.Errorf("%s: ended at %s", path, page.Request.URL)
		}
	}
	c := newTill(t, shop)
	numbers := manyNumbers(4)
	for _, path := range []string{pathToken, pathUserinfo} {
		id, authReqID := c.start(w, `{"phone_number":"`+numbers[0]+`"}`)
		numbers = numbers[1:]
		mustAnswer(t, w, authReqID, true)
		reloadedAt(path, func() answer { return c.call("GET", "/phone/"+id+"?wait=60", "") }).wantStatus(t, http.StatusOK)
		if s := c.call("GET", "/phone/"+id+"?wait=60", "").wantStatus(t, http.StatusOK).state(t); s.Status != "complete" {
			t.Errorf("%s: %+v", path, s)
		}
	}
	var id, authReqID string
	reloadedAt(pathBackchannel, func() answer {
		id, authReqID = c.start(w, `{"phone_number":"`+numbers[0]+`"}`)
		return answer{}
	})
	asked := len(w.vipps.requests(pathToken))
	waiting := make(chan phoneState, 1)
	go func() { waiting <- c.call("GET", "/phone/"+id+"?wait=20", "").wantStatus(t, http.StatusOK).state(t) }()
	waitFor(t, func() bool { return len(w.vipps.requests(pathToken)) > asked })
	began := time.Now()
	reload()
	if s := <-waiting; s.Status != "pending" || time.Since(began) > 10*time.Second {
		t.Errorf("%+v after %s", s, time.Since(began))
	}
	mustAnswer(t, w, authReqID, true)
	if s := c.call("GET", "/phone/"+id+"?wait=60", "").wantStatus(t, http.StatusOK).state(t); s.Status != "complete" {
		t.Errorf("after all: %+v", s)
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
