package vippslogin_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// twoInstances is a phone world served by two processes on one storage.
func twoInstances(t *testing.T) (w *world, a, b till) {
	t.Helper()
	w = newPhoneWorld(t)
	if err := caddy.Stop(); err != nil { // the one in this process
		t.Fatal(err)
	}
	return w, w.through(w.startInstance(phoneShops)), w.through(w.startInstance(phoneShops))
}

// TestPingWhileAnotherInstancePolls: the exchange has succeeded there, and what it gave is not lost.
func TestPingWhileAnotherInstancePolls(t *testing.T) {
	w, a, b := twoInstances(t)
	id, authReqID := a.start(w, `{"phone_number":"+4712345678"}`)
	reading := make(chan struct{})
	var once sync.Once
	w.vipps.answer(pathUserinfo, func(rw http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(reading) })
		time.Sleep(700 * time.Millisecond) // Vipps is slow: the time in which the other instance is asked
		w.vipps.sim.ServeHTTP(rw, r)
	})
	mustAnswer(t, w, authReqID, true)
	var all sync.WaitGroup
	all.Go(func() {
		if s := a.call("GET", "/phone/"+id+"?wait=20", "").state(t); s.Status != "complete" {
			t.Errorf("at the one: %+v", s)
		}
	})
	<-reading
	w.ping(t, b.shop+"/vipps/webhook", `{"auth_req_id":"`+authReqID+`"}`, webhookSecret, nil).wantStatus(t, http.StatusOK)
	if s := b.call("GET", "/phone/"+id+"?wait=20", "").state(t); s.Status != "complete" {
		t.Errorf("at the other: %+v", s)
	}
	all.Wait()
}

// TestOneLease: after a ping that came too early, two instances do not poll in turn.
func TestOneLease(t *testing.T) {
	w, a, b := twoInstances(t)
	var mu sync.Mutex
	var polls []time.Time
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if form, _ := url.ParseQuery(string(body)); form.Get("auth_req_id") != "" {
			mu.Lock()
			polls = append(polls, time.Now())
			mu.Unlock()
			status(400, `{"error":"authorization_pending"}`)(rw, r)
			return
		}
		w.vipps.sim.ServeHTTP(rw, r)
	})
	id, authReqID := a.start(w, `{"phone_number":"+4712345678"}`)
	var all sync.WaitGroup
	all.Go(func() { a.call("GET", "/phone/"+id+"?wait=9", "") }) // takes the lease
	polled := func(n int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return len(polls) >= n }
	}
	waitFor(t, polled(1))
	w.ping(t, b.shop+"/vipps/webhook", `{"auth_req_id":"`+authReqID+`"}`, webhookSecret, nil).wantStatus(t, http.StatusOK)
	b.call("GET", "/phone/"+id+"?wait=8", "") // and the ping gives it to this one
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	early := 0
	for i := 1; i < len(polls); i++ {
		if polls[i].Sub(polls[i-1]) < 900*time.Millisecond {
			early++
		}
	}
	if early > 1 || len(polls) < 6 { // the ping's own poll may be early
		t.Errorf("%d of %d polls came within the interval", early, len(polls))
	}
}

// TestLastMoment: an answer between the last poll and the end is heard.
func TestLastMoment(t *testing.T) {
	w := newPhoneWorld(t)
	w.vipps.answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, r *http.Request) {
		recorded := newRecorder()
		w.vipps.sim.ServeHTTP(recorded, r)
		_, _ = io.WriteString(rw, strings.NewReplacer(`"expires_in":600`, `"expires_in":3`, `"interval":1`, `"interval":2`).Replace(recorded.body.String()))
	})
	c := newTill(t, w.shop("shop-a.localhost"))
	id, authReqID := c.start(w, `{"phone_number":"+4712345678"}`)
	waiting := make(chan phoneState, 1)
	go func() { waiting <- c.call("GET", "/phone/"+id+"?wait=10", "").state(t) }()
	waitFor(t, func() bool { return len(w.vipps.requests(pathToken)) == 1 })
	mustAnswer(t, w, authReqID, true)
	if s := <-waiting; s.Status != "complete" {
		t.Errorf("%+v", s)
	}
}

// TestShortNumbers: countries with short numbers, and digits that may lack a country code.
func TestShortNumbers(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	for _, number := range []string{"46123456", "48123456", "40000001", "98765432"} { // Norwegian, and Swedish, Polish, Romanian, Iranian
		c.call("POST", "/phone", `{"phone_number":"`+number+`"}`).wantStatus(t, http.StatusBadRequest)
	}
	w.load(strings.Replace(phoneShops, "phone {", "phone {\n\t\t\tcountries 298", 1))
	w.vipps.sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["phone_number"] = "298211234" }})
	w.vipps.answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(strings.Replace(string(body), "298211234", kari, 1)))
		r.ContentLength = int64(len(body) + len(kari) - 9)
		w.vipps.sim.ServeHTTP(rw, r)
	})
	id, authReqID := c.start(w, `{"phone_number":"+298 211234"}`)
	mustAnswer(t, w, authReqID, true)
	if s := c.call("GET", "/phone/"+id+"?wait=10", "").state(t); s.Status != "complete" {
		t.Errorf("%+v", s)
	}
}

// TestBrowserCannotEndATillsLogin: a code whose token names a login that ends in the app is a stranger's.
func TestBrowserCannotEndATillsLogin(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	id, atTheTill := c.start(w, `{"customer_token":"kari-customer-token"}`) // no number to compare
	_, request := c.start(w, `{"phone_number":"+4740000001","finish":"browser"}`)
	callback := mustAnswer(t, w, request, true)
	w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
		claims["auth_req_id"] = atTheTill
		claims["nonce"] = ""
	}})
	b := newBrowser(t)
	b.get(callback).wantStatus(t, http.StatusBadRequest)
	if b.cookies(c.shop) != "" || c.status(id).Status != "pending" {
		t.Error("a session, or the till's login ended")
	}
}

// TestPhoneSpentOnce: a login that has ended in one browser ends in no second one, whatever code names it.
func TestPhoneSpentOnce(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	_, ended := c.start(w, `{"customer_token":"kari-customer-token","finish":"browser"}`) // no number to compare
	newBrowser(t).get(mustAnswer(t, w, ended, true)).wantStatus(t, http.StatusFound)
	_, request := c.start(w, `{"phone_number":"+4740000001","finish":"browser"}`)
	callback := mustAnswer(t, w, request, true)
	w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
		claims["auth_req_id"] = ended
		claims["nonce"] = ""
	}})
	b := newBrowser(t)
	b.get(callback).wantStatus(t, http.StatusBadRequest)
	if b.cookies(c.shop) != "" {
		t.Error("a session")
	}
}

// TestUserinfoFailsInTheBrowser: the code is spent, and the till still hears of the customer.
func TestUserinfoFailsInTheBrowser(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	id, authReqID := c.start(w, `{"phone_number":"+4712345678","finish":"browser"}`)
	w.vipps.answer(pathUserinfo, status(503, "{}"))
	b := newBrowser(t)
	b.get(mustAnswer(t, w, authReqID, true)).wantStatus(t, http.StatusServiceUnavailable)
	w.vipps.answer(pathUserinfo, nil)
	if s := c.call("GET", "/phone/"+id+"?wait=10", "").state(t); s.Status != "complete" || s.Userinfo["name"] != "Kari Nordmann" {
		t.Errorf("%+v", s)
	}
}
