package phone_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

func TestPhoneLogin(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	a := c.Call("POST", "/phone", `{"phone_number":"+47 12 34 56 78","binding_message":"AB-123"}`).WantStatus(t, http.StatusAccepted)
	started := a.State(t)
	if started.Status != "pending" || started.ExpiresIn != 600 || started.Interval != 1 || a.RedirectTo() != "/vipps/phone/"+started.ID {
		t.Errorf("started: %s %s", a.Text, a.RedirectTo())
	}
	for field, want := range map[string]string{"Cache-Control": "no-store", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff"} {
		if got := a.Header.Get(field); got != want {
			t.Errorf("%s: %q", field, got)
		}
	}
	pending := w.Vipps.Sim.PhoneLogins()
	if len(pending) != 1 || pending[0].MSN != "123456" || pending[0].BindingMessage != "AB-123" || pending[0].PhoneNumber != harness.Kari || fmt.Sprint(pending[0].Scopes) != "[openid name phoneNumber]" {
		t.Fatalf("Vipps knows of %+v", pending)
	}
	if s := c.Status(started.ID); s.Status != "pending" || s.MSN != "123456" || s.Userinfo != nil {
		t.Errorf("%+v", s)
	}
	harness.MustAnswer(t, w, pending[0].AuthReqID, true)
	first := c.Call("GET", "/phone/"+started.ID+"?wait=10", "").WantStatus(t, http.StatusOK)
	s := first.State(t)
	if s.Status != "complete" || s.Userinfo["name"] != "Kari Nordmann" || s.Userinfo["phone_number"] != harness.Kari || s.Userinfo["sub"] == "" || s.MSN != "123456" {
		t.Errorf("%s", first.Text)
	}
	if second := c.Call("GET", "/phone/"+started.ID, ""); second.Text != first.Text {
		t.Errorf("read again: %s", second.Text)
	}
	if strings.Contains(first.Text, pending[0].AuthReqID) || strings.Contains(a.Text, pending[0].AuthReqID) {
		t.Error("auth_req_id is shown")
	}

	harness.NewTill(t, w.Shop("shop-b.localhost")).Call("GET", "/phone/"+started.ID, "").WantStatus(t, http.StatusNotFound)
	harness.NewTill(t, w.Shop("shop-b.localhost")).Call("DELETE", "/phone/"+started.ID, "").WantStatus(t, http.StatusNotFound)
	c.Call("DELETE", "/phone/"+started.ID, "").WantStatus(t, http.StatusNoContent)
	c.Call("GET", "/phone/"+started.ID, "").WantStatus(t, http.StatusNotFound)
	c.Call("DELETE", "/phone/"+started.ID, "").WantStatus(t, http.StatusNotFound)
}

// TestPhoneEnds: the ways a login can end badly.
func TestPhoneEnds(t *testing.T) {
	for name, test := range map[string]struct {
		act           func(t *testing.T, w *harness.World, authReqID string)
		status, error string
	}{
		"denied":  {func(t *testing.T, w *harness.World, id string) { harness.MustAnswer(t, w, id, false) }, "denied", "access_denied"},
		"expired": {func(t *testing.T, w *harness.World, id string) { _ = w.Vipps.Sim.ExpirePhone(id) }, "expired", "expired_token"},
		"another merchant's token": {func(t *testing.T, w *harness.World, id string) {
			w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["msn"] = "234567" }})
			harness.MustAnswer(t, w, id, true)
		}, "failed", "id_token"},
		"another request's token": {func(t *testing.T, w *harness.World, id string) {
			w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["auth_req_id"] = "x" }})
			harness.MustAnswer(t, w, id, true)
		}, "failed", "id_token"},
		"another nonce": {func(t *testing.T, w *harness.World, id string) {
			w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["nonce"] = "x" }})
			harness.MustAnswer(t, w, id, true)
		}, "failed", "id_token"},
		"another person's userinfo": {func(t *testing.T, w *harness.World, id string) {
			w.Vipps.Sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["sub"] = "x" }})
			harness.MustAnswer(t, w, id, true)
		}, "failed", "sub_mismatch"},
		"another number": {func(t *testing.T, w *harness.World, id string) {
			w.Vipps.Sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["phone_number"] = "4740000001" }})
			harness.MustAnswer(t, w, id, true)
		}, "failed", "other_number"},
	} {
		t.Run(name, func(t *testing.T) {
			w := harness.NewPhoneWorld(t)
			c := harness.NewTill(t, w.Shop("shop-a.localhost"))
			id, authReqID := c.Start(w, `{"phone_number":"`+harness.Kari+`"}`)
			test.act(t, w, authReqID)
			a := c.Call("GET", "/phone/"+id+"?wait=10", "").WantStatus(t, http.StatusOK)
			if s := a.State(t); s.Status != test.status || s.Error != test.error || s.Userinfo != nil {
				t.Errorf("%s", a.Text)
			}
			if again := c.Call("GET", "/phone/"+id, ""); again.Text != a.Text {
				t.Errorf("read again: %s", again.Text)
			}
		})
	}
}

// TestPhoneRefused: every mistake of a caller has its status, and never reaches Vipps.
func TestPhoneRefused(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	key := "Authorization: Bearer "
	for name, test := range map[string]struct {
		method, path, body string
		header             []string
		status             int
	}{
		"no number":              {"POST", "/phone", `{}`, nil, 400},
		"null":                   {"POST", "/phone", `{"phone_number":null}`, nil, 400},
		"number as number":       {"POST", "/phone", `{"phone_number":4712345678}`, nil, 400},
		"local number":           {"POST", "/phone", `{"phone_number":"12345678"}`, nil, 400},
		"letters":                {"POST", "/phone", `{"phone_number":"+47 SELG FISK"}`, nil, 400},
		"too long":               {"POST", "/phone", `{"phone_number":"+4712345678901234567"}`, nil, 400},
		"injection":              {"POST", "/phone", `{"phone_number":"4712345678&x=y"}`, nil, 400},
		"number and token":       {"POST", "/phone", `{"phone_number":"4712345678","customer_token":"x"}`, nil, 400},
		"bad token":              {"POST", "/phone", `{"customer_token":"a b"}`, nil, 400},
		"bad binding message":    {"POST", "/phone", `{"phone_number":"4712345678","binding_message":"abc"}`, nil, 400},
		"bad scope":              {"POST", "/phone", `{"phone_number":"4712345678","scope":"na\"me"}`, nil, 400},
		"scope as list":          {"POST", "/phone", `{"phone_number":"4712345678","scope":["name"]}`, nil, 400},
		"short expiry":           {"POST", "/phone", `{"phone_number":"4712345678","requested_expiry":59}`, nil, 400},
		"long expiry":            {"POST", "/phone", `{"phone_number":"4712345678","requested_expiry":901}`, nil, 400},
		"expiry as text":         {"POST", "/phone", `{"phone_number":"4712345678","requested_expiry":"600"}`, nil, 400},
		"bad finish":             {"POST", "/phone", `{"phone_number":"4712345678","finish":"tv"}`, nil, 400},
		"return_to and app":      {"POST", "/phone", `{"phone_number":"4712345678","return_to":"/x"}`, nil, 400},
		"return_to elsewhere":    {"POST", "/phone", `{"phone_number":"4712345678","finish":"browser","return_to":"https://evil.example/"}`, nil, 400},
		"return_to //":           {"POST", "/phone", `{"phone_number":"4712345678","finish":"browser","return_to":"//evil.example/"}`, nil, 400},
		"return_to backslash":    {"POST", "/phone", `{"phone_number":"4712345678","finish":"browser","return_to":"/\\evil.example/"}`, nil, 400},
		"return_to line break":   {"POST", "/phone", `{"phone_number":"4712345678","finish":"browser","return_to":"/\r\nx"}`, nil, 400},
		"unknown field":          {"POST", "/phone", `{"phone_number":"4712345678","phonenumber":"1"}`, nil, 400},
		"no JSON":                {"POST", "/phone", `{"phone_number"`, nil, 400},
		"two objects":            {"POST", "/phone", `{"phone_number":"4712345678"}{}`, nil, 400},
		"form twice":             {"POST", "/phone", `phone_number=4712345678&phone_number=4712345678`, nil, 400},
		"form unknown":           {"POST", "/phone", `phone_number=4712345678&x=y`, nil, 400},
		"form bad expiry":        {"POST", "/phone", `phone_number=4712345678&requested_expiry=x`, nil, 400},
		"1 MiB":                  {"POST", "/phone", `{"phone_number":"` + strings.Repeat("4", 1<<20) + `"}`, nil, 413},
		"unknown content type":   {"POST", "/phone", "", []string{"Content-Type: text/plain"}, 415},
		"GET":                    {"GET", "/phone", "", nil, 405},
		"PUT of a login":         {"PUT", "/phone/AAAAAAAAAAAAAAAAAAAAAA", "", nil, 405},
		"no such login":          {"GET", "/phone/AAAAAAAAAAAAAAAAAAAAAA", "", nil, 404},
		"bad id":                 {"GET", "/phone/..%2f..%2fcookie_secret", "", nil, 404},
		"bad id, DELETE":         {"DELETE", "/phone/x", "", nil, 404},
		"bad wait":               {"GET", "/phone/AAAAAAAAAAAAAAAAAAAAAA?wait=x", "", nil, 400},
		"negative wait":          {"GET", "/phone/AAAAAAAAAAAAAAAAAAAAAA?wait=-1", "", nil, 400},
		"long wait":              {"GET", "/phone/AAAAAAAAAAAAAAAAAAAAAA?wait=61", "", nil, 400},
		"exists without number":  {"POST", "/phone/exists", `{}`, nil, 400},
		"exists with more":       {"POST", "/phone/exists", `{"phone_number":"4712345678","finish":"app"}`, nil, 400},
		"exists, GET":            {"GET", "/phone/exists", "", nil, 405},
		"page of another origin": {"POST", "/phone", `{"phone_number":"4712345678"}`, []string{"Sec-Fetch-Site: cross-site"}, 403},
		"page of a sibling":      {"POST", "/phone", `{"phone_number":"4712345678"}`, []string{"Sec-Fetch-Site: same-site"}, 403},
		"older browser's page":   {"POST", "/phone", `{"phone_number":"4712345678"}`, []string{"Origin: https://evil.example"}, 403},
		"sandboxed page":         {"GET", "/phone/AAAAAAAAAAAAAAAAAAAAAA", "", []string{"Origin: null"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			a := c.Call(test.method, test.path, test.body, test.header...).WantStatus(t, test.status)
			if test.status != 405 {
				if s := a.State(t); s.Error == "" || s.Detail == "" || strings.Contains(a.Text, "4712345678") || strings.Contains(a.Text, "evil") {
					t.Errorf("body: %s", a.Text)
				}
			}
		})
	}
	for name, header := range map[string]string{
		"no key": "X: y", "wrong key": key + "wrong-key-of-at-least-32-characters-here", "empty key": key, "a prefix": key + harness.APIKey[:31],
		"more": key + harness.APIKey + "x", "Basic": "Authorization: Basic " + harness.APIKey, "key alone": "Authorization: " + harness.APIKey,
	} {
		for _, path := range []string{"POST /phone", "GET /phone", "GET /phone/x", "DELETE /phone/AAAAAAAAAAAAAAAAAAAAAA", "POST /phone/exists", "GET /phone/exists"} {
			t.Run(name+" "+path, func(t *testing.T) {
				method, path, _ := strings.Cut(path, " ")
				a := c.Do(harness.NewRequest(t, method, c.Shop+"/vipps"+path, strings.NewReader("{"), header, "Sec-Fetch-Site: cross-site", "Content-Type: text/plain"))
				if a.WantStatus(t, http.StatusUnauthorized).Header.Get("WWW-Authenticate") == "" {
					t.Error("no WWW-Authenticate")
				}
			})
		}
	}
	if calls := w.Vipps.Counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	c.Call("POST", "/phone/exists", `{"phone_number":"4712345678"}`, "Sec-Fetch-Site: same-origin").WantStatus(t, http.StatusOK)
	c.Do(harness.NewRequest(t, "POST", c.Shop+"/vipps/phone/exists", strings.NewReader("phone_number=4712345678"), key+harness.OlderAPIKey,
		"Content-Type: application/x-www-form-urlencoded")).WantStatus(t, http.StatusOK)
	if w.Upstream.Count() > 0 {
		t.Error("the site was reached")
	}
}

// TestPhoneKeyComesFirst: nobody without a key learns which hosts have a merchant, and JSON need not say that it is.
func TestPhoneKeyComesFirst(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	w.Reload(w.Globals() + "http://:$HTTP {\n\tvipps_login {\n\t\tmerchant 123456 shop-a.localhost\n\t\tphone {\n\t\t\tapi_key {env.TILL_API_KEY}\n\t\t}\n\t}\n}\n")
	nobody := harness.NewTill(t, w.Shop("nobody.localhost"))
	for _, path := range []string{"/vipps/phone", "/vipps/phone/exists", "/vipps/phone/AAAAAAAAAAAAAAAAAAAAAA"} {
		nobody.Do(harness.NewRequest(t, "POST", nobody.Shop+path, nil)).WantStatus(t, http.StatusUnauthorized)
		nobody.Do(harness.NewRequest(t, "POST", nobody.Shop+path, nil, "Authorization: Bearer "+harness.APIKey)).WantStatus(t, http.StatusMisdirectedRequest)
	}
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	c.Do(harness.NewRequest(t, "POST", c.Shop+"/vipps/phone/exists", strings.NewReader(`{"phone_number":"4712345678"}`), "Authorization: Bearer "+harness.APIKey)).WantStatus(t, http.StatusOK)
}

// TestPhoneBrowserOfAnother: a login in whose browser Vipps MobilePay tells of somebody else has failed, for the till
// too, and no second code completes it. What is no page in a window does not open the callback.
func TestPhoneBrowserOfAnother(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	for claim, reason := range map[string]string{"phone_number": "other_number", "sub": "sub_mismatch"} {
		id, request := c.Start(w, `{"phone_number":"+4712345678","finish":"browser"}`)
		callback := harness.MustAnswer(t, w, request, true)
		harness.NewBrowser(t).Get(callback, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image").WantStatus(t, http.StatusBadRequest)
		harness.NewBrowser(t).Get(callback, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe").WantStatus(t, http.StatusBadRequest)
		w.Vipps.Sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims[claim] = "4799999999" }})
		b := harness.NewBrowser(t)
		b.Get(callback).WantStatus(t, http.StatusBadRequest)
		w.Vipps.Sim.SetFaults(simulator.Faults{})
		if s := c.Status(id); s.Status != "failed" || s.Error != reason || b.Cookies(c.Shop) != "" {
			t.Errorf("%s: the till reads %+v", claim, s)
		}
	}
}

// TestPhoneOff: without `phone` its paths are the site's own.
func TestPhoneOff(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	off, noWebhook := harness.NewTill(t, w.Shop("shop-c.localhost")), harness.NewTill(t, w.Shop("shop-b.localhost"))
	for _, path := range []string{"/phone", "/phone/exists", "/phone/callback", "/phone/AAAAAAAAAAAAAAAAAAAAAA", "/webhook"} {
		off.Call("POST", path, "{}").WantStatus(t, http.StatusOK)
	}
	noWebhook.Call("POST", "/webhook", "{}").WantStatus(t, http.StatusOK)
	noWebhook.Call("GET", "/phone/AAAAAAAAAAAAAAAAAAAAAA/x", "").WantStatus(t, http.StatusOK)
	if w.Upstream.Count() != 7 {
		t.Errorf("the site got %d requests", w.Upstream.Count())
	}
}

// TestPhoneNumbers: any international spelling is one number to Vipps.
func TestPhoneNumbers(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	var hints []string
	w.Vipps.Answer("/vipps-login-ciba/api/v1/user-exists", func(rw http.ResponseWriter, r *http.Request) {
		hints = append(hints, r.FormValue("login_hint"))
		_, _ = io.WriteString(rw, `{"exists":true}`)
	})
	for _, number := range []string{
		"4712345678", "+4712345678", "004712345678", "+47 12 34 56 78", "00 47 123 45 678", "47-12345678", "(+47) 12345678", "+47.1234.5678", " 47\u00a012345678 ",
	} {
		body, _ := json.Marshal(map[string]string{"phone_number": number})
		c.Call("POST", "/phone/exists", string(body)).WantStatus(t, http.StatusOK)
		if hint := hints[len(hints)-1]; hint != "urn:msisdn:4712345678" {
			t.Errorf("%q: %s", number, hint)
		}
	}
	if a := c.Call("POST", "/phone/exists", `{"phone_number":"+358 40 0000001"}`); a.Text != "{\"exists\":true}\n" || hints[len(hints)-1] != "urn:msisdn:358400000001" {
		t.Errorf("%s %s", a.Text, hints[len(hints)-1])
	}
}

// TestPhoneVippsAnswers: what Vipps says at the start, and its status here.
func TestPhoneVippsAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer     http.HandlerFunc
		status     int
		error      string
		retryAfter string
	}{
		"no account":          {harness.WithStatus(400, `{"error":"invalid_user","error_description":"leak 4712345678"}`), 422, "invalid_user", ""},
		"no account, as code": {harness.WithStatus(403, `{"error_code":"invalid_user"}`), 422, "invalid_user", ""},
		"old app":             {harness.WithStatus(400, `{"error_code":"old_app"}`), 422, "old_app", ""},
		"too many": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Retry-After", "17")
			harness.WithStatus(429, `{}`)(rw, r)
		}, 429, "too_many_requests", "17"},
		"500":     {harness.WithStatus(500, `leak`), 502, "bad_answer", ""},
		"503":     {harness.WithStatus(503, `leak`), 503, "busy", ""},
		"garbage": {harness.WithStatus(200, `<leak>`), 502, "bad_answer", ""},
		"empty":   {harness.WithStatus(200, `{}`), 502, "bad_answer", ""},
		"keys":    {harness.WithStatus(401, `{}`), 502, "keys_refused", ""},
		"gone":    {harness.HangUp, 504, "no_answer", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := harness.NewPhoneWorld(t)
			c := harness.NewTill(t, w.Shop("shop-a.localhost"))
			w.Vipps.Answer("/vipps-login-ciba/api/backchannel/authentication", test.answer)
			a := c.Call("POST", "/phone", `{"phone_number":"+4712345678"}`).WantStatus(t, test.status)
			if s := a.State(t); s.Error != test.error || a.Header.Get("Retry-After") != test.retryAfter || strings.Contains(a.Text, "leak") {
				t.Errorf("%s %v", a.Text, a.Header)
			}
			if log := w.Logged(); strings.Contains(log, "leak") || strings.Contains(log, "4712345678") {
				t.Error("leaked to the log")
			}
			w.Vipps.Answer("/vipps-login-ciba/api/backchannel/authentication", nil)
			c.Call("POST", "/phone", `{"phone_number":"+4712345678"}`).WantStatus(t, http.StatusAccepted)
		})
	}
}

// TestPhoneFaultsWhilePolling: whatever Vipps answers to a poll, the login stays pending, and completes
// when Vipps is well again, although its tokens can be fetched once only.
func TestPhoneFaultsWhilePolling(t *testing.T) {
	faults := []http.HandlerFunc{harness.WithStatus(500, "leak"), harness.WithStatus(503, "leak"), harness.WithStatus(429, "{}"), harness.WithStatus(200, "leak"), harness.HangUp, harness.TruncatedAnswer}
	for _, path := range []string{harness.PathToken, harness.PathUserinfo} {
		t.Run(path, func(t *testing.T) {
			w := harness.NewPhoneWorld(t)
			c := harness.NewTill(t, w.Shop("shop-a.localhost"))
			id, authReqID := c.Start(w, `{"phone_number":"+4712345678"}`)
			harness.MustAnswer(t, w, authReqID, true)
			var polls atomic.Int64
			w.Vipps.Answer(path, func(rw http.ResponseWriter, r *http.Request) {
				if n := int(polls.Add(1)); n <= len(faults) {
					faults[n-1](rw, r)
					return
				}
				w.Vipps.Sim.ServeHTTP(rw, r)
			})
			for polls.Load() < int64(len(faults)) {
				if s := c.Call("GET", "/phone/"+id+"?wait=1", "").WantStatus(t, http.StatusOK).State(t); s.Status != "pending" {
					t.Fatalf("after %d polls: %+v", polls.Load(), s)
				}
			}
			if s := c.Call("GET", "/phone/"+id+"?wait=10", "").State(t); s.Status != "complete" {
				t.Errorf("%+v", s)
			}
			if strings.Contains(w.Logged(), "leak") {
				t.Error("leaked to the log")
			}
		})
	}
}

// TestPhonePolling: many clients wait on one login, and Vipps is asked once an interval; slow_down adds
// to it.
func TestPhonePolling(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	id, authReqID := c.Start(w, `{"phone_number":"+4712345678"}`)
	var mu sync.Mutex
	var polls []time.Time
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		polls = append(polls, time.Now())
		n := len(polls)
		mu.Unlock()
		switch n {
		case 2:
			rw.Header().Set("Retry-After", "3")
			harness.WithStatus(429, "{}")(rw, r)
			return
		case 3:
			rw.Header().Set("Retry-After", "7") // more than slow_down adds
			harness.WithStatus(400, `{"error":"slow_down"}`)(rw, r)
			return
		}
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	start := time.Now()
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if s := c.Call("GET", "/phone/"+id+"?wait=20", "").State(t); s.Status != "complete" {
				t.Errorf("%+v", s)
			}
		})
	}
	harness.WaitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(polls) == 3 })
	harness.MustAnswer(t, w, authReqID, true)
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(polls) != 4 {
		t.Fatalf("%d polls, want 4", len(polls))
	}
	previous := start
	for i, at := range polls {
		want := 950 * time.Millisecond
		switch i {
		case 2:
			want = 2950 * time.Millisecond // after Retry-After
		case 3:
			want = 6950 * time.Millisecond // after slow_down with Retry-After
		}
		if gap := at.Sub(previous); gap < want {
			t.Errorf("poll %d came after %s", i, gap)
		}
		previous = at
	}
}

// TestPhoneAskedTooOften: nobody's phone rings more than five times in ten minutes, whoever asks.
func TestPhoneAskedTooOften(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	w.Vipps.Answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(rw, `{"auth_req_id":"r%d","expires_in":600,"interval":1}`, time.Now().UnixNano())
	})
	shops := []harness.Till{harness.NewTill(t, w.Shop("shop-a.localhost")), harness.NewTill(t, w.Shop("shop-b.localhost"))}
	for i, spelling := range []string{"+4712345678", "004712345678", "47 12 34 56 78", "4712345678", "+47 1234 5678"} {
		shops[i%2].Call("POST", "/phone", `{"phone_number":"`+spelling+`"}`).WantStatus(t, http.StatusAccepted)
	}
	w.Vipps.Counted()
	a := shops[0].Call("POST", "/phone", `{"phone_number":"+4712345678"}`).WantStatus(t, http.StatusTooManyRequests)
	if a.Header.Get("Retry-After") == "" || a.State(t).Error != "too_many_requests" {
		t.Errorf("%v %s", a.Header, a.Text)
	}
	shops[0].Call("POST", "/phone", `{"phone_number":"+4740000001"}`).WantStatus(t, http.StatusAccepted)
	if calls := w.Vipps.Counted(); calls["/vipps-login-ciba/api/backchannel/authentication"] != 1 {
		t.Errorf("calls: %v", calls)
	}
}

// TestPhoneBrowser: the phone's browser is logged in where it lands, once.
func TestPhoneBrowser(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	id, authReqID := c.Start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/account/welcome?x=1"}`)
	if uri := w.Vipps.Sim.PhoneLogins()[0].RedirectURI; uri != c.Shop+"/vipps/phone/callback" {
		t.Errorf("redirect_uri: %s", uri)
	}
	callback := harness.MustAnswer(t, w, authReqID, true)
	phone := harness.NewBrowser(t)
	landed := phone.Get(callback).WantStatus(t, http.StatusFound)
	if landed.RedirectTo() != c.Shop+"/account/welcome?x=1" {
		t.Errorf("led to %s", landed.RedirectTo())
	}
	phone.Follow(landed).WantStatus(t, http.StatusOK)
	if name := w.Upstream.Last(t).Header.Get("X-Vipps-Name"); name != "Kari Nordmann" {
		t.Errorf("logged in as %q", name)
	}
	if s := c.Status(id); s.Status != "complete" || s.Userinfo["name"] != "Kari Nordmann" {
		t.Errorf("the till reads %+v", s)
	}
	w.Vipps.Counted()
	harness.NewBrowser(t).Get(callback).WantStatus(t, http.StatusBadRequest)
	if a := phone.Get(callback).WantStatus(t, http.StatusFound); a.RedirectTo() != c.Shop+"/" {
		t.Errorf("the back button leads to %s", a.RedirectTo())
	}
	if log := w.Logged(); strings.Contains(log, harness.MustQuery(t, callback).Get("code")) {
		t.Error("the code is in the log")
	}
}

// TestPhoneBrowserTwiceAtOnce: of two callbacks at once one brings the session, and both lead to the page, whichever
// answer the browser shows. The code is exchanged once, and only one of the two can have the session.
func TestPhoneBrowserTwiceAtOnce(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	_, authReqID := c.Start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/account/"}`)
	callback := harness.MustAnswer(t, w, authReqID, true)
	asked, goOn := make(chan struct{}, 2), make(chan struct{})
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-goOn
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	w.Vipps.Counted()
	answers := make(chan harness.Answer, 2)
	phone := harness.NewBrowser(t)
	ask := func() { answers <- phone.Get(callback) }
	go ask()
	<-asked
	go ask()
	harness.WaitFor(t, func() bool { // until the second one waits for the first
		stacks := make([]byte, 1<<20)
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("repeatInBrowser"))
	})
	close(goOn)
	for range 2 {
		if a := (<-answers).WantStatus(t, http.StatusFound); a.RedirectTo() != c.Shop+"/account/" {
			t.Errorf("led to %s", a.RedirectTo())
		}
	}
	phone.Get(c.Shop+"/account/").WantStatus(t, http.StatusOK)
	if calls := w.Vipps.Counted(); calls[harness.PathToken] != 1 {
		t.Errorf("the code was exchanged %d times", calls[harness.PathToken])
	}
	if log := w.Logged(); strings.Count(log, `"msg":"login completed"`) != 1 || strings.Contains(log, `"msg":"login failed"`) {
		t.Error("the log has more than one outcome")
	}
}

// TestPhoneBrowserStrangers: a code of anything else gives no session and spends no login.
func TestPhoneBrowserStrangers(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	a, b := harness.NewTill(t, w.Shop("shop-a.localhost")), harness.NewTill(t, w.Shop("shop-b.localhost"))
	id, authReqID := a.Start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/account/"}`)
	_, otherMerchant := b.Start(w, `{"phone_number":"+4740000001","finish":"browser"}`)
	ended, endedRequest := a.Start(w, `{"phone_number":"+4740000003","finish":"browser"}`)
	callbackOfEnded := harness.MustAnswer(t, w, endedRequest, true)
	a.Call("DELETE", "/phone/"+ended, "").WantStatus(t, http.StatusNoContent)
	fault := func(auth any) func() {
		return func() {
			w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
				if auth == nil {
					delete(claims, "auth_req_id")
				} else {
					claims["auth_req_id"] = auth
				}
			}})
		}
	}
	browserCode := func() string {
		return harness.MustQuery(t, harness.NewBrowser(t).Approved(w.Shop("shop-a.localhost")+"/account/", harness.Bjorn).RedirectTo()).Get("code")
	}
	callback := a.Shop + "/vipps/phone/callback"
	for name, test := range map[string]struct {
		address string
		before  func()
	}{
		"no code":               {callback, nil},
		"empty code":            {callback + "?code=", nil},
		"made-up code":          {callback + "?code=made-up", nil},
		"two codes":             {callback + "?code=a&code=b", nil},
		"code and error":        {callback + "?code=a&error=b", nil},
		"code of a browser":     {callback + "?code=" + browserCode(), nil},
		"a deleted login":       {callbackOfEnded, nil},
		"of another merchant":   {strings.Replace(harness.MustAnswer(t, w, otherMerchant, true), "shop-b", "shop-a", 1), nil},
		"a token of no request": {"", fault(nil)},
		"of an unknown request": {"", fault("x")},
		"a wrong type":          {"", fault(7)},
	} {
		t.Run(name, func(t *testing.T) {
			if test.before != nil {
				// A login of a stranger, as Vipps would never answer it.
				_, request := a.Start(w, `{"phone_number":"+4740000003","finish":"browser"}`)
				test.address = harness.MustAnswer(t, w, request, true)
				test.before()
				defer w.Vipps.Sim.SetFaults(simulator.Faults{})
			}
			stranger := harness.NewBrowser(t)
			stranger.Get(test.address).WantStatus(t, http.StatusBadRequest)
			if cookies := stranger.Cookies(a.Shop); cookies != "" {
				t.Errorf("cookies: %s", cookies)
			}
		})
	}
	harness.NewBrowser(t).Get(callback+"?error=access_denied").WantStatus(t, http.StatusForbidden)
	if s := a.Status(id); s.Status != "pending" {
		t.Fatalf("a stranger's code ended the login: %+v", s)
	}
	harness.NewBrowser(t).Get(harness.MustAnswer(t, w, authReqID, true)).WantStatus(t, http.StatusFound)
	if s := a.Status(id); s.Status != "complete" {
		t.Errorf("%+v", s)
	}
	for _, r := range w.Vipps.Requests(harness.PathToken) {
		if strings.Contains(r.Form.Get("grant_type"), "openid:params:grant-type:ciba") {
			t.Error("a login that ends in the browser was polled")
		}
	}
}

// TestPing: a waiting client has its result at once rather than at the next poll.
func TestPing(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	w.Vipps.Answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, r *http.Request) {
		recorded := harness.NewRecorder()
		w.Vipps.Sim.ServeHTTP(recorded, r)
		_, _ = io.WriteString(rw, strings.Replace(recorded.Body.String(), `"interval":1`, `"interval":30`, 1))
	})
	id, authReqID := c.Start(w, `{"phone_number":"+4712345678"}`)
	harness.MustAnswer(t, w, authReqID, true)
	answered := make(chan time.Time, 1)
	go func() {
		if s := c.Call("GET", "/phone/"+id+"?wait=20", "").State(t); s.Status != "complete" {
			t.Errorf("%+v", s)
		}
		answered <- time.Now()
	}()
	body := `{"auth_req_id":"` + authReqID + `"}`
	hook := c.Shop + "/vipps/webhook"
	for name, test := range map[string]struct {
		body, secret string
		change       func(*http.Request)
		status       int
	}{
		"another secret": {body, "wrong", nil, 401},
		"another body": {body, harness.WebhookSecret, func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(`{"auth_req_id":"x"}`))
			r.ContentLength = 19
		}, 401},
		"another date":  {body, harness.WebhookSecret, func(r *http.Request) { r.Header.Set("X-Ms-Date", "Mon, 01 Jan 2024 00:00:00 GMT") }, 401},
		"another query": {body, harness.WebhookSecret, func(r *http.Request) { r.URL.RawQuery = "x=y" }, 401},
		"another host":  {body, harness.WebhookSecret, func(r *http.Request) { r.Host = fmt.Sprintf("Shop-A.localhost:%d", w.HTTP) }, 401},
		"no signature":  {body, harness.WebhookSecret, func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"no hash":       {body, harness.WebhookSecret, func(r *http.Request) { r.Header.Del("X-Ms-Content-Sha256") }, 401},
		"other headers": {body, harness.WebhookSecret, func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), ";host;", ";", 1))
		}, 401},
		"an API key":         {body, harness.WebhookSecret, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+harness.APIKey) }, 401},
		"unknown":            {`{"auth_req_id":"unknown"}`, harness.WebhookSecret, nil, 200},
		"unknown, no id":     {`{}`, harness.WebhookSecret, nil, 200},
		"no JSON":            {`x`, harness.WebhookSecret, nil, 400},
		"too large":          {`{"x":"` + strings.Repeat("x", 100<<10) + `"}`, harness.WebhookSecret, nil, 413},
		"of another request": {`{"auth_req_id":7}`, harness.WebhookSecret, nil, 400},
	} {
		if a := w.Ping(t, hook, test.body, test.secret, test.change); a.StatusCode != test.status {
			t.Errorf("%s: got %d %s", name, a.StatusCode, a.Text)
		}
	}
	w.Vipps.Counted()
	sent := time.Now()
	w.Ping(t, hook, body, harness.WebhookSecret, nil).WantStatus(t, http.StatusOK)
	if took := (<-answered).Sub(sent); took > time.Second {
		t.Errorf("the waiting client had its answer after %s", took)
	}
	for range 3 {
		w.Ping(t, hook, body, harness.WebhookSecret, nil).WantStatus(t, http.StatusOK)
	}
	if s := c.Status(id); s.Status != "complete" {
		t.Errorf("%+v", s)
	}
	if calls := w.Vipps.Counted(); calls[harness.PathToken] != 1 {
		t.Errorf("calls: %v", calls)
	}
}

// TestPingsBeforeAnAnswer do not make us ask again and again.
func TestPingsBeforeAnAnswer(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	id, authReqID := c.Start(w, `{"phone_number":"+4712345678"}`)
	for range 10 {
		w.Ping(t, c.Shop+"/vipps/webhook", `{"auth_req_id":"`+authReqID+`"}`, harness.WebhookSecret, nil).WantStatus(t, http.StatusOK)
		c.Status(id)
	}
	if calls := w.Vipps.Counted(); calls[harness.PathToken] > 2 {
		t.Errorf("calls: %v", calls)
	}
}

// TestPhoneStorage: what lies in storage tells nothing, survives a restart, and the rest of the memory.
func TestPhoneStorage(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	w.UseFiles()
	w.Load(harness.PhoneShops)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	id, authReqID := c.Start(w, `{"phone_number":"+4712345678"}`)
	w.Load(harness.PhoneShops)
	harness.MustAnswer(t, w, authReqID, true)
	if s := c.Call("GET", "/phone/"+id+"?wait=10", "").State(t); s.Status != "complete" {
		t.Errorf("%+v", s)
	}
	w.Load(harness.PhoneShops)
	if s := c.Status(id); s.Status != "complete" || s.Userinfo["name"] != "Kari Nordmann" {
		t.Errorf("%+v", s)
	}
	files := 0
	root := os.DirFS(w.Storage)
	harness.WalkFiles(t, root, func(name string, content []byte) {
		files++
		for _, secret := range []string{"12345678", "Kari", authReqID} {
			if strings.Contains(name+string(content), secret) {
				t.Errorf("%s holds %q", name, secret)
			}
		}
	})
	if files < 3 {
		t.Errorf("%d files", files)
	}
	log := w.Logged()
	for _, secret := range []string{"4712345678", "Kari Nordmann", authReqID, harness.APIKey} {
		if strings.Contains(log, secret) {
			i := strings.Index(log, secret)
			t.Errorf("%q is in the log: %s", secret, log[max(0, i-300):i+100])
		}
	}
	if !strings.Contains(log, `"login completed","flow":"phone"`) {
		t.Error("the log has no line for the login")
	}
}

// TestFiftyPhoneLogins at once: none is lost, none is polled too often, all pings are in time.
func TestFiftyPhoneLogins(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	var mu sync.Mutex
	lastPoll := map[string]time.Time{}
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		form, _ := url.ParseQuery(string(body))
		id := form.Get("auth_req_id")
		mu.Lock()
		if last, ok := lastPoll[id]; ok && time.Since(last) < 950*time.Millisecond {
			t.Errorf("polled after %s", time.Since(last))
		}
		lastPoll[id] = time.Now()
		mu.Unlock()
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	users := harness.ManyNumbers(50)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	var all sync.WaitGroup
	for _, number := range users {
		all.Go(func() {
			id := c.Call("POST", "/phone", `{"phone_number":"`+number+`"}`).WantStatus(t, http.StatusAccepted).State(t).ID
			if s := c.Call("GET", "/phone/"+id+"?wait=30", "").State(t); s.Status != "complete" || s.Userinfo["phone_number"] != number {
				t.Errorf("%+v", s)
			}
		})
	}
	harness.WaitFor(t, func() bool { return len(w.Vipps.Sim.PhoneLogins()) == len(users) })
	for _, l := range w.Vipps.Sim.PhoneLogins() {
		harness.MustAnswer(t, w, l.AuthReqID, true)
	}
	all.Wait()
}
