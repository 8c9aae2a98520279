package cluster_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestLoginsDuringReloads: configs come and go while people log in, and nobody has to begin again.
func TestLoginsDuringReloads(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
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
				b := harness.NewBrowser(t)
				if page := b.Login(shop+"/page?x=1", harness.Kari); page.StatusCode != http.StatusOK || page.Request.URL.String() != shop+"/page?x=1" {
					t.Errorf("%d at %s: %s", page.StatusCode, page.Request.URL, page.Text)
				}
				b.Client.CloseIdleConnections()
				completed.Add(1)
			}
		})
	}
	for i := range 8 {
		before := completed.Load()
		w.Reload(w.Globals() + harness.TwoShops + fmt.Sprintf("\nhttp://other%d.localhost:$HTTP {\n}\n", i))
		harness.WaitFor(t, func() bool { return completed.Load() >= before+8 })
	}
	close(stop)
	all.Wait()
	if calls := w.Vipps.Counted(); calls[harness.PathAccessToken] != 1 || calls[harness.PathDiscovery] != 1 || calls[harness.PathKeys] != 1 {
		t.Errorf("calls: %v", calls)
	}
}

// TestKilledDuringALogin: an instance that dies as by kill -9, at each step of a login, costs the person at
// most a click on "Try again", at whatever instance comes next; sessions live on.
func TestKilledDuringALogin(t *testing.T) {
	for _, mode := range []string{"same browser", "any browser"} {
		t.Run(mode, func(t *testing.T) {
			w := harness.NewWorld(t)
			sites := harness.TwoShops
			if mode == "any browser" {
				sites = strings.Replace(sites, "vipps_login 123456\n", "vipps_login 123456 {\n\t\treturn_in_any_browser\n\t}\n", 1)
			}
			shop := w.Shop("shop-a.localhost")
			_ = caddy.Stop()
			i := w.StartInstanceOn(w.HTTP, sites)
			again := func() { i.Kill(); i = w.StartInstanceOn(w.HTTP, sites) }

			// Before the redirect.
			b := harness.NewBrowser(t)
			asked := make(chan struct{})
			w.Vipps.Answer(harness.PathDiscovery, func(_ http.ResponseWriter, r *http.Request) { close(asked); <-r.Context().Done() })
			var cut sync.WaitGroup
			cut.Go(func() {
				if resp, err := b.Client.Do(harness.NewRequest(t, http.MethodGet, shop+"/zero", nil, "Accept: text/html")); err == nil {
					resp.Body.Close()
					t.Error("the instance answered")
				}
			})
			<-asked
			again()
			cut.Wait()
			w.Vipps.Answer(harness.PathDiscovery, nil)
			b.Login(shop+"/zero", harness.Kari).WantStatus(t, http.StatusOK)

			// Between the start and the callback.
			b = harness.NewBrowser(t)
			callback := b.Approved(shop+"/one", harness.Kari).RedirectTo()
			again()
			if page := b.Follow(b.Get(callback)).WantStatus(t, http.StatusOK); page.Request.URL.Path != "/one" {
				t.Errorf("ended at %s", page.Request.URL)
			}
			again()
			b.Get(shop+"/one").WantStatus(t, http.StatusOK)

			// While Vipps MobilePay is asked: before it has answered, after the code was spent, after userinfo.
			for _, at := range []string{harness.PathAccessToken, harness.PathToken, harness.PathKeys, harness.PathUserinfo} {
				for _, spent := range []bool{false, true} {
					if spent && at != harness.PathToken && at != harness.PathUserinfo {
						continue // nothing is spent there
					}
					if at == harness.PathAccessToken || at == harness.PathKeys {
						again() // what the one before has fetched is kept
					}
					b := harness.NewBrowser(t)
					callback := b.Approved(shop+"/two", harness.Kari).RedirectTo()
					arrived, dead := make(chan struct{}), make(chan struct{})
					var once sync.Once
					w.Vipps.Answer(at, func(rw http.ResponseWriter, r *http.Request) {
						if spent {
							w.Vipps.Sim.ServeHTTP(harness.NewRecorder(), r)
						}
						once.Do(func() { close(arrived) })
						<-dead
					})
					var gone sync.WaitGroup
					gone.Go(func() {
						if resp, err := b.Client.Do(harness.NewRequest(t, http.MethodGet, callback, nil)); err == nil {
							resp.Body.Close()
							t.Error("the instance answered")
						}
					})
					<-arrived
					i.Kill()
					close(dead)
					gone.Wait()
					w.Vipps.Answer(at, nil)
					i = w.StartInstanceOn(w.HTTP, sites)
					page := b.Get(callback) // the person reloads
					if at == harness.PathAccessToken || at == harness.PathToken && !spent {
						page = b.Follow(page)
					} else {
						page = b.Follow(b.Consent(b.Follow(b.ClickButton(page.WantStatus(t, http.StatusBadRequest))), harness.Approve(harness.Kari)))
					}
					if page.WantStatus(t, http.StatusOK).Request.URL.Path != "/two" {
						t.Errorf("%s: ended at %s", at, page.Request.URL)
					}
				}
			}

			// After the answer was sent, before the person has followed it.
			b = harness.NewBrowser(t)
			done := b.Get(b.Approved(shop+"/three", harness.Kari).RedirectTo()).WantStatus(t, http.StatusFound)
			again()
			b.Follow(done).WantStatus(t, http.StatusOK)
		})
	}
}

// TestKilledDuringAPhoneLogin: the same from a phone number. The person answers once, or is asked once more where
// the till was not told of the login.
func TestKilledDuringAPhoneLogin(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	if err := caddy.Stop(); err != nil { // the one in this process
		t.Fatal(err)
	}
	i := w.StartInstanceOn(w.HTTP, harness.PhoneShops)
	again := func() { i.Kill(); i = w.StartInstanceOn(w.HTTP, harness.PhoneShops) }
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	numbers := harness.ManyNumbers(10)
	start := func() (id, authReqID string) {
		numbers = numbers[1:]
		return c.Start(w, `{"phone_number":"`+numbers[0]+`"}`)
	}
	wantComplete := func(at, id string) {
		t.Helper()
		if s := c.Call("GET", "/phone/"+id+"?wait=60", "").WantStatus(t, http.StatusOK).State(t); s.Status != "complete" || s.Userinfo["sub"] == nil {
			t.Errorf("killed %s: %+v", at, s)
		}
	}
	// killedAt kills the instance while it asks Vipps MobilePay for somebody, who is not answered.
	killedAt := func(path string, heard bool, method, ask, body string) {
		t.Helper()
		arrived, dead := make(chan struct{}), make(chan struct{})
		var once sync.Once
		w.Vipps.Answer(path, func(rw http.ResponseWriter, r *http.Request) {
			if heard {
				w.Vipps.Sim.ServeHTTP(harness.NewRecorder(), r)
			}
			once.Do(func() { close(arrived) })
			<-dead
		})
		var gone sync.WaitGroup
		gone.Go(func() {
			req := harness.NewRequest(t, method, c.Shop+"/vipps/phone"+ask, strings.NewReader(body), "Authorization: Bearer "+harness.APIKey, "Content-Type: application/json")
			if resp, err := c.Client.Do(req); err == nil {
				resp.Body.Close()
				t.Error("the instance answered")
			}
		})
		<-arrived
		i.Kill()
		close(dead)
		gone.Wait()
		w.Vipps.Answer(path, nil)
		i = w.StartInstanceOn(w.HTTP, harness.PhoneShops)
	}

	// While the person is being asked: the till asks once more.
	for _, heard := range []bool{false, true} {
		killedAt(harness.PathBackchannel, heard, "POST", "", `{"phone_number":"`+numbers[1]+`"}`)
		id, authReqID := start()
		harness.MustAnswer(t, w, authReqID, true)
		wantComplete("while the person was asked", id)
	}
	// Before the first poll, and between polls.
	id, authReqID := start()
	again()
	c.Call("GET", "/phone/"+id+"?wait=2", "").WantStatus(t, http.StatusOK)
	again()
	harness.MustAnswer(t, w, authReqID, true)
	wantComplete("before the answer", id)
	// After the end.
	again()
	wantComplete("after the end", id)
	// While Vipps MobilePay is asked for the answer, and, once that is written down, who the person is.
	for _, at := range []string{harness.PathToken, harness.PathUserinfo} {
		id, authReqID := start()
		harness.MustAnswer(t, w, authReqID, true)
		killedAt(at, false, "GET", "/"+id+"?wait=60", "")
		wantComplete("at "+at, id)
	}
}

// TestReloadAtEachStep: a config that comes while Vipps MobilePay is asked for somebody takes nothing from them,
// and whoever waits for a phone is told to ask again at once.
func TestReloadAtEachStep(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	globals := strings.Replace(w.Globals(), "grace_period 1s", "grace_period 30s", 1)
	w.LoadWhole(globals + harness.PhoneShops)
	shop := w.Shop("shop-a.localhost")
	reloads := 0
	reload := func() {
		t.Helper()
		reloads++
		w.Reload(globals + harness.PhoneShops + fmt.Sprintf("\nhttp://other%d.localhost:$HTTP {\n}\n", reloads))
	}
	// reloadedAt reloads while Vipps MobilePay is asked at path, twice: the config that asked is not even the last.
	reloadedAt := func(path string, ask func() harness.Answer) harness.Answer {
		t.Helper()
		arrived, reloaded := make(chan struct{}), make(chan struct{})
		var once sync.Once
		w.Vipps.Answer(path, func(rw http.ResponseWriter, r *http.Request) {
			once.Do(func() { close(arrived) })
			<-reloaded
			w.Vipps.Sim.ServeHTTP(rw, r)
		})
		answered := make(chan harness.Answer, 1)
		go func() { answered <- ask() }()
		<-arrived
		reload()
		reload()
		close(reloaded)
		a := <-answered
		w.Vipps.Answer(path, nil)
		return a
	}
	// In the order of a first login's calls, so that none is answered from what is kept.
	for _, path := range []string{harness.PathDiscovery, harness.PathAccessToken, harness.PathKeys, harness.PathToken, harness.PathUserinfo} {
		b := harness.NewBrowser(t)
		if path == harness.PathDiscovery {
			reloadedAt(path, func() harness.Answer { return b.Get(shop + "/account/") }).WantStatus(t, http.StatusFound)
			continue
		}
		if path == harness.PathKeys {
			w.Vipps.Sim.RotateKey()
		}
		callback := b.Approved(shop+"/account/"+path[1:], harness.Kari).RedirectTo()
		page := b.Follow(reloadedAt(path, func() harness.Answer { return b.Get(callback) }))
		if page.WantStatus(t, http.StatusOK).Request.URL.Path != "/account"+path {
			t.Errorf("%s: ended at %s", path, page.Request.URL)
		}
	}
	c := harness.NewTill(t, shop)
	numbers := harness.ManyNumbers(4)
	for _, path := range []string{harness.PathToken, harness.PathUserinfo} {
		id, authReqID := c.Start(w, `{"phone_number":"`+numbers[0]+`"}`)
		numbers = numbers[1:]
		harness.MustAnswer(t, w, authReqID, true)
		reloadedAt(path, func() harness.Answer { return c.Call("GET", "/phone/"+id+"?wait=60", "") }).WantStatus(t, http.StatusOK)
		if s := c.Call("GET", "/phone/"+id+"?wait=60", "").WantStatus(t, http.StatusOK).State(t); s.Status != "complete" {
			t.Errorf("%s: %+v", path, s)
		}
	}
	var id, authReqID string
	reloadedAt(harness.PathBackchannel, func() harness.Answer {
		id, authReqID = c.Start(w, `{"phone_number":"`+numbers[0]+`"}`)
		return harness.Answer{}
	})
	asked := len(w.Vipps.Requests(harness.PathToken))
	waiting := make(chan harness.PhoneState, 1)
	go func() { waiting <- c.Call("GET", "/phone/"+id+"?wait=20", "").WantStatus(t, http.StatusOK).State(t) }()
	harness.WaitFor(t, func() bool { return len(w.Vipps.Requests(harness.PathToken)) > asked })
	began := time.Now()
	reload()
	if s := <-waiting; s.Status != "pending" || time.Since(began) > 10*time.Second {
		t.Errorf("%+v after %s", s, time.Since(began))
	}
	harness.MustAnswer(t, w, authReqID, true)
	if s := c.Call("GET", "/phone/"+id+"?wait=60", "").WantStatus(t, http.StatusOK).State(t); s.Status != "complete" {
		t.Errorf("after all: %+v", s)
	}
}

// TestClockOffByMinutes: a server whose clock is not Vipps MobilePay's within the minute's leeway says so as
// 502, and the log names the claim that shows it.
func TestClockOffByMinutes(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	for off, want := range map[time.Duration]int{-30 * time.Second: 200, 30 * time.Second: 200, 2 * time.Minute: 502, -2 * time.Minute: 502, -2 * time.Hour: 502} {
		w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
			now := time.Now().Add(off)
			claims["iat"], claims["exp"] = now.Unix(), now.Add(30*time.Second).Unix()
		}})
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, want)
		if reason := map[bool]string{true: "(iat, nbf)", false: "(exp)"}[off > 0]; want == 502 && !strings.Contains(w.Logged(), reason) {
			t.Errorf("%s: the log does not say %s", off, reason)
		}
	}
}
