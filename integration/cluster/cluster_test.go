package cluster_test

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
)

// TestPhoneCluster: a login is started at one instance and read at the other; one of them is killed in
// between; no login is lost, and no poll is one too many.
func TestPhoneCluster(t *testing.T) {
	t.Setenv("TILL_API_KEY", harness.APIKey)
	t.Setenv("TILL_OLDER_API_KEY", harness.OlderAPIKey)
	w := harness.NewPhoneWorld(t)
	if err := caddy.Stop(); err != nil { // the one in this process
		t.Fatal(err)
	}
	var mu sync.Mutex
	polls := map[string][]time.Time{}
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		mu.Lock()
		polls[form.Get("auth_req_id")] = append(polls[form.Get("auth_req_id")], time.Now())
		mu.Unlock()
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	a, b := w.StartInstance(harness.PhoneShops), w.StartInstance(harness.PhoneShops)

	const n = 10
	ids := make(map[string]string) // ours to Vipps'
	for _, number := range harness.ManyNumbers(n) {
		id, authReqID := w.Through(a).Start(w, `{"phone_number":"`+number+`"}`)
		ids[id] = authReqID
	}
	var all sync.WaitGroup
	for id := range ids {
		// Clients wait at both; the ones at the instance that is killed are cut off.
		all.Go(func() {
			req := harness.NewRequest(t, "GET", w.Through(a).Shop+"/vipps/phone/"+id+"?wait=60", nil, "Authorization: Bearer "+harness.APIKey)
			if resp, err := harness.NewBrowser(t).Client.Do(req); err == nil {
				resp.Body.Close()
			}
		})
		all.Go(func() {
			s := w.Through(b).Call("GET", "/phone/"+id+"?wait=60", "").WantStatus(t, http.StatusOK).State(t)
			if s.Status != "complete" {
				t.Errorf("%+v", s)
			}
		})
	}
	harness.WaitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(polls) == n })
	a.Kill()
	for _, authReqID := range ids {
		harness.MustAnswer(t, w, authReqID, true)
	}
	all.Wait()
	c := w.StartInstance(harness.PhoneShops)
	for id := range ids {
		if s := w.Through(c).Status(id); s.Status != "complete" {
			t.Errorf("read at a new instance: %+v", s)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, times := range polls {
		for i := 1; i < len(times); i++ {
			if gap := times[i].Sub(times[i-1]); gap < 900*time.Millisecond {
				t.Errorf("two polls of one login within %s", gap)
			}
		}
	}
}

// TestPingAtTheOtherInstance reaches a client that waits at this one.
func TestPingAtTheOtherInstance(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.Vipps.Answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, r *http.Request) {
		recorded := harness.NewRecorder()
		w.Vipps.Sim.ServeHTTP(recorded, r)
		_, _ = io.WriteString(rw, strings.Replace(recorded.Body.String(), `"interval":1`, `"interval":30`, 1))
	})
	a, b := w.StartInstance(harness.PhoneShops), w.StartInstance(harness.PhoneShops)
	id, authReqID := w.Through(a).Start(w, `{"phone_number":"+4712345678"}`)
	harness.MustAnswer(t, w, authReqID, true)
	answered := make(chan harness.PhoneState, 1)
	go func() { answered <- w.Through(a).Call("GET", "/phone/"+id+"?wait=20", "").State(t) }()
	w.Ping(t, w.Through(b).Shop+"/vipps/webhook", `{"auth_req_id":"`+authReqID+`"}`, harness.WebhookSecret, nil).WantStatus(t, http.StatusOK)
	sent := time.Now()
	if s := <-answered; s.Status != "complete" || time.Since(sent) > 5*time.Second {
		t.Errorf("%+v after %s", s, time.Since(sent))
	}
}
