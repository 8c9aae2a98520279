package phone_test

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

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// twoInstances is a phone world served by two processes on one storage.
func twoInstances(t *testing.T) (w *harness.World, a, b harness.Till) {
	t.Helper()
	w = harness.NewPhoneWorld(t)
	if err := caddy.Stop(); err != nil { // the one in this process
		t.Fatal(err)
	}
	return w, w.Through(w.StartInstance(harness.PhoneShops)), w.Through(w.StartInstance(harness.PhoneShops))
}

// TestPingWhileAnotherInstancePolls: the exchange has succeeded there, and what it gave is not lost.
func TestPingWhileAnotherInstancePolls(t *testing.T) {
	w, a, b := twoInstances(t)
	id, authReqID := a.Start(w, `{"phone_number":"+4712345678"}`)
	reading := make(chan struct{})
	var once sync.Once
	w.Vipps.Answer(harness.PathUserinfo, func(rw http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(reading) })
		time.Sleep(700 * time.Millisecond) // Vipps is slow: the time in which the other instance is asked
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	harness.MustAnswer(t, w, authReqID, true)
	var all sync.WaitGroup
	all.Go(func() {
		if s := a.Call("GET", "/phone/"+id+"?wait=20", "").State(t); s.Status != "complete" {
			t.Errorf("at the one: %+v", s)
		}
	})
	<-reading
	w.Ping(t, b.Shop+"/vipps/webhook", `{"auth_req_id":"`+authReqID+`"}`, harness.WebhookSecret, nil).WantStatus(t, http.StatusOK)
	if s := b.Call("GET", "/phone/"+id+"?wait=20", "").State(t); s.Status != "complete" {
		t.Errorf("at the other: %+v", s)
	}
	all.Wait()
}

// TestOneLease: after a ping that came too early, two instances do not poll in turn.
func TestOneLease(t *testing.T) {
	w, a, b := twoInstances(t)
	var mu sync.Mutex
	var polls []time.Time
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if form, _ := url.ParseQuery(string(body)); form.Get("auth_req_id") != "" {
			mu.Lock()
			polls = append(polls, time.Now())
			mu.Unlock()
			harness.WithStatus(400, `{"error":"authorization_pending"}`)(rw, r)
			return
		}
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	id, authReqID := a.Start(w, `{"phone_number":"+4712345678"}`)
	var all sync.WaitGroup
	all.Go(func() { a.Call("GET", "/phone/"+id+"?wait=9", "") }) // takes the lease
	polled := func(n int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return len(polls) >= n }
	}
	harness.WaitFor(t, polled(1))
	w.Ping(t, b.Shop+"/vipps/webhook", `{"auth_req_id":"`+authReqID+`"}`, harness.WebhookSecret, nil).WantStatus(t, http.StatusOK)
	b.Call("GET", "/phone/"+id+"?wait=8", "") // and the ping gives it to this one
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
	w := harness.NewPhoneWorld(t)
	w.Vipps.Answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, r *http.Request) {
		recorded := harness.NewRecorder()
		w.Vipps.Sim.ServeHTTP(recorded, r)
		_, _ = io.WriteString(rw, strings.NewReplacer(`"expires_in":600`, `"expires_in":3`, `"interval":1`, `"interval":2`).Replace(recorded.Body.String()))
	})
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	id, authReqID := c.Start(w, `{"phone_number":"+4712345678"}`)
	waiting := make(chan harness.PhoneState, 1)
	go func() { waiting <- c.Call("GET", "/phone/"+id+"?wait=10", "").State(t) }()
	harness.WaitFor(t, func() bool { return len(w.Vipps.Requests(harness.PathToken)) == 1 })
	harness.MustAnswer(t, w, authReqID, true)
	if s := <-waiting; s.Status != "complete" {
		t.Errorf("%+v", s)
	}
}

// TestShortNumbers: countries with short numbers, and digits that may lack a country code.
func TestShortNumbers(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	for _, number := range []string{"46123456", "48123456", "40000001", "98765432"} { // Norwegian, and Swedish, Polish, Romanian, Iranian
		c.Call("POST", "/phone", `{"phone_number":"`+number+`"}`).WantStatus(t, http.StatusBadRequest)
	}
	w.Load(strings.Replace(harness.PhoneShops, "phone {", "phone {\n\t\t\tcountries 298", 1))
	w.Vipps.Sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["phone_number"] = "298211234" }})
	w.Vipps.Answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(strings.Replace(string(body), "298211234", harness.Kari, 1)))
		r.ContentLength = int64(len(body) + len(harness.Kari) - 9)
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	id, authReqID := c.Start(w, `{"phone_number":"+298 211234"}`)
	harness.MustAnswer(t, w, authReqID, true)
	if s := c.Call("GET", "/phone/"+id+"?wait=10", "").State(t); s.Status != "complete" {
		t.Errorf("%+v", s)
	}
}

// TestBrowserCannotEndATillsLogin: a code whose token names a login that ends in the app is a stranger's.
func TestBrowserCannotEndATillsLogin(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	id, atTheTill := c.Start(w, `{"customer_token":"kari-customer-token"}`) // no number to compare
	_, request := c.Start(w, `{"phone_number":"+4740000001","finish":"browser"}`)
	callback := harness.MustAnswer(t, w, request, true)
	w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
		claims["auth_req_id"] = atTheTill
		claims["nonce"] = ""
	}})
	b := harness.NewBrowser(t)
	b.Get(callback).WantStatus(t, http.StatusBadRequest)
	if b.Cookies(c.Shop) != "" || c.Status(id).Status != "pending" {
		t.Error("a session, or the till's login ended")
	}
}

// TestPhoneSpentOnce: a login that has ended in one browser ends in no second one, whatever code names it.
func TestPhoneSpentOnce(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	_, ended := c.Start(w, `{"customer_token":"kari-customer-token","finish":"browser"}`) // no number to compare
	harness.NewBrowser(t).Get(harness.MustAnswer(t, w, ended, true)).WantStatus(t, http.StatusFound)
	_, request := c.Start(w, `{"phone_number":"+4740000001","finish":"browser"}`)
	callback := harness.MustAnswer(t, w, request, true)
	w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
		claims["auth_req_id"] = ended
		claims["nonce"] = ""
	}})
	b := harness.NewBrowser(t)
	b.Get(callback).WantStatus(t, http.StatusBadRequest)
	if b.Cookies(c.Shop) != "" {
		t.Error("a session")
	}
}

// TestUserinfoFailsInTheBrowser: the code is spent, and the till still hears of the customer.
func TestUserinfoFailsInTheBrowser(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	id, authReqID := c.Start(w, `{"phone_number":"+4712345678","finish":"browser"}`)
	w.Vipps.Answer(harness.PathUserinfo, harness.WithStatus(503, "{}"))
	b := harness.NewBrowser(t)
	b.Get(harness.MustAnswer(t, w, authReqID, true)).WantStatus(t, http.StatusServiceUnavailable)
	w.Vipps.Answer(harness.PathUserinfo, nil)
	if s := c.Call("GET", "/phone/"+id+"?wait=10", "").State(t); s.Status != "complete" || s.Userinfo["name"] != "Kari Nordmann" {
		t.Errorf("%+v", s)
	}
}
