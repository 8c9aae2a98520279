package vippslogin_test

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

	"github.com/caddy-vipps/vippslogin/simulator"
)

const (
	apiKey        = "an-api-key-of-the-till-with-32-characters"
	olderAPIKey   = "an-older-api-key-with-32-characters-or-more"
	webhookSecret = "a-webhook-secret"
)

const phoneShops = `
http://shop-a.localhost:$HTTP {
	log
	vipps_login /account/* 123456 {
		phone {
			api_key {env.TILL_API_KEY} {env.TILL_OLDER_API_KEY}
			scope openid name phoneNumber
			webhook_secret another-webhook-secret ` + webhookSecret + `
		}
	}
	reverse_proxy $UPSTREAM
}
http://shop-b.localhost:$HTTP {
	vipps_login /account/* 234567 {
		phone {
			api_key {env.TILL_API_KEY}
		}
	}
	reverse_proxy $UPSTREAM
}
http://shop-c.localhost:$HTTP {
	vipps_login /account/* 123456
	reverse_proxy $UPSTREAM
}
`

func newPhoneWorld(t *testing.T) *world {
	t.Helper()
	t.Setenv("TILL_API_KEY", apiKey)
	t.Setenv("TILL_OLDER_API_KEY", olderAPIKey)
	w := worldWith(t, func(w *world) []simulator.Merchant {
		return []simulator.Merchant{
			{MSN: "123456", RedirectURIs: []string{w.shop("shop-a.localhost") + "/vipps/callback", w.shop("shop-a.localhost") + "/vipps/phone/callback"}},
			{MSN: "234567", RedirectURIs: []string{w.shop("shop-b.localhost") + "/vipps/callback", w.shop("shop-b.localhost") + "/vipps/phone/callback"}},
		}
	})
	w.load(phoneShops)
	return w
}

// till is a merchant's own system: no browser, an API key.
type till struct {
	*browser
	shop string
}

func newTill(t testing.TB, shop string) till {
	b := newBrowser(t)
	b.client.Jar = nil
	b.header = nil
	return till{b, shop}
}

// call sends a request to the phone API: a path below /vipps, and a body that is JSON or a form.
func (c till) call(method, path, body string, header ...string) answer {
	c.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
		contentType := "application/json"
		if !strings.HasPrefix(body, "{") {
			contentType = "application/x-www-form-urlencoded"
		}
		header = append([]string{"Content-Type: " + contentType}, header...)
	}
	return c.do(newRequest(c.t, method, c.shop+"/vipps"+path, reader, append([]string{"Authorization: Bearer " + apiKey}, header...)...))
}

type phoneState struct {
	ID        string         `json:"id"`
	Status    string         `json:"status"`
	MSN       string         `json:"msn"`
	Error     string         `json:"error"`
	ExpiresIn int            `json:"expires_in"`
	Interval  int            `json:"interval"`
	Userinfo  map[string]any `json:"userinfo"`
	Detail    string         `json:"detail"`
}

func (a answer) state(t testing.TB) phoneState {
	t.Helper()
	var state phoneState
	if err := json.Unmarshal([]byte(a.body), &state); err != nil {
		t.Fatalf("%s %s: %d %q: %v", a.Request.Method, a.Request.URL, a.StatusCode, a.body, err)
	}
	return state
}

// start starts a login and returns its id and Vipps MobilePay's.
func (c till) start(w *world, body string) (id, authReqID string) {
	c.t.Helper()
	known := map[string]bool{}
	for _, l := range w.vipps.sim.PhoneLogins() {
		known[l.AuthReqID] = true
	}
	id = c.call("POST", "/phone", body).wantStatus(c.t, http.StatusAccepted).state(c.t).ID
	for _, l := range w.vipps.sim.PhoneLogins() {
		if !known[l.AuthReqID] {
			return id, l.AuthReqID
		}
	}
	c.t.Fatal("Vipps knows of no login")
	return "", ""
}

func (c till) status(id string) phoneState {
	c.t.Helper()
	return c.call("GET", "/phone/"+id, "").wantStatus(c.t, http.StatusOK).state(c.t)
}

func mustAnswer(t *testing.T, w *world, authReqID string, approve bool) string {
	t.Helper()
	callback, err := w.vipps.sim.AnswerPhone(authReqID, approve)
	if err != nil {
		t.Fatal(err)
	}
	return callback
}

func TestPhoneLogin(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	a := c.call("POST", "/phone", `{"phone_number":"+47 12 34 56 78","binding_message":"AB-123"}`).wantStatus(t, http.StatusAccepted)
	started := a.state(t)
	if started.Status != "pending" || started.ExpiresIn != 600 || started.Interval != 1 || a.location() != "/vipps/phone/"+started.ID {
		t.Errorf("started: %s %s", a.body, a.location())
	}
	for field, want := range map[string]string{"Cache-Control": "no-store", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff"} {
		if got := a.Header.Get(field); got != want {
			t.Errorf("%s: %q", field, got)
		}
	}
	pending := w.vipps.sim.PhoneLogins()
	if len(pending) != 1 || pending[0].MSN != "123456" || pending[0].BindingMessage != "AB-123" || pending[0].PhoneNumber != kari || fmt.Sprint(pending[0].Scopes) != "[openid name phoneNumber]" {
		t.Fatalf("Vipps knows of %+v", pending)
	}
	if s := c.status(started.ID); s.Status != "pending" || s.MSN != "123456" || s.Userinfo != nil {
		t.Errorf("%+v", s)
	}
	mustAnswer(t, w, pending[0].AuthReqID, true)
	first := c.call("GET", "/phone/"+started.ID+"?wait=10", "").wantStatus(t, http.StatusOK)
	s := first.state(t)
	if s.Status != "complete" || s.Userinfo["name"] != "Kari Nordmann" || s.Userinfo["phone_number"] != kari || s.Userinfo["sub"] == "" || s.MSN != "123456" {
		t.Errorf("%s", first.body)
	}
	if second := c.call("GET", "/phone/"+started.ID, ""); second.body != first.body {
		t.Errorf("read again: %s", second.body)
	}
	if strings.Contains(first.body, pending[0].AuthReqID) || strings.Contains(a.body, pending[0].AuthReqID) {
		t.Error("auth_req_id is shown")
	}

	newTill(t, w.shop("shop-b.localhost")).call("GET", "/phone/"+started.ID, "").wantStatus(t, http.StatusNotFound)
	newTill(t, w.shop("shop-b.localhost")).call("DELETE", "/phone/"+started.ID, "").wantStatus(t, http.StatusNotFound)
	c.call("DELETE", "/phone/"+started.ID, "").wantStatus(t, http.StatusNoContent)
	c.call("GET", "/phone/"+started.ID, "").wantStatus(t, http.StatusNotFound)
	c.call("DELETE", "/phone/"+started.ID, "").wantStatus(t, http.StatusNotFound)
}

// TestPhoneEnds: the ways a login can end badly.
func TestPhoneEnds(t *testing.T) {
	for name, test := range map[string]struct {
		act           func(t *testing.T, w *world, authReqID string)
		status, error string
	}{
		"denied":  {func(t *testing.T, w *world, id string) { mustAnswer(t, w, id, false) }, "denied", "access_denied"},
		"expired": {func(t *testing.T, w *world, id string) { _ = w.vipps.sim.ExpirePhone(id) }, "expired", "expired_token"},
		"another merchant's token": {func(t *testing.T, w *world, id string) {
			w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["msn"] = "234567" }})
			mustAnswer(t, w, id, true)
		}, "failed", "id_token"},
		"another request's token": {func(t *testing.T, w *world, id string) {
			w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["auth_req_id"] = "x" }})
			mustAnswer(t, w, id, true)
		}, "failed", "id_token"},
		"another nonce": {func(t *testing.T, w *world, id string) {
			w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { claims["nonce"] = "x" }})
			mustAnswer(t, w, id, true)
		}, "failed", "id_token"},
		"another person's userinfo": {func(t *testing.T, w *world, id string) {
			w.vipps.sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["sub"] = "x" }})
			mustAnswer(t, w, id, true)
		}, "failed", "sub_mismatch"},
		"another number": {func(t *testing.T, w *world, id string) {
			w.vipps.sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["phone_number"] = "4740000001" }})
			mustAnswer(t, w, id, true)
		}, "failed", "other_number"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPhoneWorld(t)
			c := newTill(t, w.shop("shop-a.localhost"))
			id, authReqID := c.start(w, `{"phone_number":"`+kari+`"}`)
			test.act(t, w, authReqID)
			a := c.call("GET", "/phone/"+id+"?wait=10", "").wantStatus(t, http.StatusOK)
			if s := a.state(t); s.Status != test.status || s.Error != test.error || s.Userinfo != nil {
				t.Errorf("%s", a.body)
			}
			if again := c.call("GET", "/phone/"+id, ""); again.body != a.body {
				t.Errorf("read again: %s", again.body)
			}
		})
	}
}

// TestPhoneRefused: every mistake of a caller has its status, and never reaches Vipps.
func TestPhoneRefused(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
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
			a := c.call(test.method, test.path, test.body, test.header...).wantStatus(t, test.status)
			if test.status != 405 {
				if s := a.state(t); s.Error == "" || s.Detail == "" || strings.Contains(a.body, "4712345678") || strings.Contains(a.body, "evil") {
					t.Errorf("body: %s", a.body)
				}
			}
		})
	}
	for name, header := range map[string]string{
		"no key": "X: y", "wrong key": key + "wrong-key-of-at-least-32-characters-here", "empty key": key, "a prefix": key + apiKey[:31],
		"more": key + apiKey + "x", "Basic": "Authorization: Basic " + apiKey, "key alone": "Authorization: " + apiKey,
	} {
		for _, path := range []string{"POST /phone", "GET /phone", "GET /phone/x", "DELETE /phone/AAAAAAAAAAAAAAAAAAAAAA", "POST /phone/exists", "GET /phone/exists"} {
			t.Run(name+" "+path, func(t *testing.T) {
				method, path, _ := strings.Cut(path, " ")
				a := c.do(newRequest(t, method, c.shop+"/vipps"+path, strings.NewReader("{"), header, "Sec-Fetch-Site: cross-site", "Content-Type: text/plain"))
				if a.wantStatus(t, http.StatusUnauthorized).Header.Get("WWW-Authenticate") == "" {
					t.Error("no WWW-Authenticate")
				}
			})
		}
	}
	if calls := w.vipps.counted(); len(calls) > 0 {
		t.Errorf("Vipps was called: %v", calls)
	}
	c.call("POST", "/phone/exists", `{"phone_number":"4712345678"}`, "Sec-Fetch-Site: same-origin").wantStatus(t, http.StatusOK)
	c.do(newRequest(t, "POST", c.shop+"/vipps/phone/exists", strings.NewReader("phone_number=4712345678"), key+olderAPIKey,
		"Content-Type: application/x-www-form-urlencoded")).wantStatus(t, http.StatusOK)
	if w.upstream.count() > 0 {
		t.Error("the site was reached")
	}
}

// TestPhoneKeyComesFirst: nobody without a key learns which hosts have a merchant, and JSON need not say that it is.
func TestPhoneKeyComesFirst(t *testing.T) {
	w := newPhoneWorld(t)
	w.reload(w.globals() + "http://:$HTTP {\n\tvipps_login {\n\t\tmerchant 123456 shop-a.localhost\n\t\tphone {\n\t\t\tapi_key {env.TILL_API_KEY}\n\t\t}\n\t}\n}\n")
	nobody := newTill(t, w.shop("nobody.localhost"))
	for _, path := range []string{"/vipps/phone", "/vipps/phone/exists", "/vipps/phone/AAAAAAAAAAAAAAAAAAAAAA"} {
		nobody.do(newRequest(t, "POST", nobody.shop+path, nil)).wantStatus(t, http.StatusUnauthorized)
		nobody.do(newRequest(t, "POST", nobody.shop+path, nil, "Authorization: Bearer "+apiKey)).wantStatus(t, http.StatusMisdirectedRequest)
	}
	c := newTill(t, w.shop("shop-a.localhost"))
	c.do(newRequest(t, "POST", c.shop+"/vipps/phone/exists", strings.NewReader(`{"phone_number":"4712345678"}`), "Authorization: Bearer "+apiKey)).wantStatus(t, http.StatusOK)
}

// TestPhoneBrowserOfAnother: a login in whose browser Vipps MobilePay tells of somebody else has failed, for the till
// too, and no second code completes it. What is no page in a window does not open the callback.
func TestPhoneBrowserOfAnother(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	for claim, reason := range map[string]string{"phone_number": "other_number", "sub": "sub_mismatch"} {
		id, request := c.start(w, `{"phone_number":"+4712345678","finish":"browser"}`)
		callback := mustAnswer(t, w, request, true)
		newBrowser(t).get(callback, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image").wantStatus(t, http.StatusBadRequest)
		newBrowser(t).get(callback, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe").wantStatus(t, http.StatusBadRequest)
		w.vipps.sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims[claim] = "4799999999" }})
		b := newBrowser(t)
		b.get(callback).wantStatus(t, http.StatusBadRequest)
		w.vipps.sim.SetFaults(simulator.Faults{})
		if s := c.status(id); s.Status != "failed" || s.Error != reason || b.cookies(c.shop) != "" {
			t.Errorf("%s: the till reads %+v", claim, s)
		}
	}
}

// TestPhoneOff: without `phone` its paths are the site's own.
func TestPhoneOff(t *testing.T) {
	w := newPhoneWorld(t)
	off, noWebhook := newTill(t, w.shop("shop-c.localhost")), newTill(t, w.shop("shop-b.localhost"))
	for _, path := range []string{"/phone", "/phone/exists", "/phone/callback", "/phone/AAAAAAAAAAAAAAAAAAAAAA", "/webhook"} {
		off.call("POST", path, "{}").wantStatus(t, http.StatusOK)
	}
	noWebhook.call("POST", "/webhook", "{}").wantStatus(t, http.StatusOK)
	noWebhook.call("GET", "/phone/AAAAAAAAAAAAAAAAAAAAAA/x", "").wantStatus(t, http.StatusOK)
	if w.upstream.count() != 7 {
		t.Errorf("the site got %d requests", w.upstream.count())
	}
}

// TestPhoneNumbers: any international spelling is one number to Vipps.
func TestPhoneNumbers(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	var hints []string
	w.vipps.answer("/vipps-login-ciba/api/v1/user-exists", func(rw http.ResponseWriter, r *http.Request) {
		hints = append(hints, r.FormValue("login_hint"))
		_, _ = io.WriteString(rw, `{"exists":true}`)
	})
	for _, number := range []string{
		"4712345678", "+4712345678", "004712345678", "+47 12 34 56 78", "00 47 123 45 678", "47-12345678", "(+47) 12345678", "+47.1234.5678", " 47\u00a012345678 ",
	} {
		body, _ := json.Marshal(map[string]string{"phone_number": number})
		c.call("POST", "/phone/exists", string(body)).wantStatus(t, http.StatusOK)
		if hint := hints[len(hints)-1]; hint != "urn:msisdn:4712345678" {
			t.Errorf("%q: %s", number, hint)
		}
	}
	if a := c.call("POST", "/phone/exists", `{"phone_number":"+358 40 0000001"}`); a.body != "{\"exists\":true}\n" || hints[len(hints)-1] != "urn:msisdn:358400000001" {
		t.Errorf("%s %s", a.body, hints[len(hints)-1])
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
		"no account":          {status(400, `{"error":"invalid_user","error_description":"leak 4712345678"}`), 422, "invalid_user", ""},
		"no account, as code": {status(403, `{"error_code":"invalid_user"}`), 422, "invalid_user", ""},
		"old app":             {status(400, `{"error_code":"old_app"}`), 422, "old_app", ""},
		"too many": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Retry-After", "17")
			status(429, `{}`)(rw, r)
		}, 429, "too_many_requests", "17"},
		"500":     {status(500, `leak`), 502, "bad_answer", ""},
		"503":     {status(503, `leak`), 503, "busy", ""},
		"garbage": {status(200, `<leak>`), 502, "bad_answer", ""},
		"empty":   {status(200, `{}`), 502, "bad_answer", ""},
		"keys":    {status(401, `{}`), 502, "keys_refused", ""},
		"gone":    {hangUp, 504, "no_answer", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPhoneWorld(t)
			c := newTill(t, w.shop("shop-a.localhost"))
			w.vipps.answer("/vipps-login-ciba/api/backchannel/authentication", test.answer)
			a := c.call("POST", "/phone", `{"phone_number":"+4712345678"}`).wantStatus(t, test.status)
			if s := a.state(t); s.Error != test.error || a.Header.Get("Retry-After") != test.retryAfter || strings.Contains(a.body, "leak") {
				t.Errorf("%s %v", a.body, a.Header)
			}
			if log := w.logged(); strings.Contains(log, "leak") || strings.Contains(log, "4712345678") {
				t.Error("leaked to the log")
			}
			w.vipps.answer("/vipps-login-ciba/api/backchannel/authentication", nil)
			c.call("POST", "/phone", `{"phone_number":"+4712345678"}`).wantStatus(t, http.StatusAccepted)
		})
	}
}

// TestPhoneFaultsWhilePolling: whatever Vipps answers to a poll, the login stays pending, and completes
// when Vipps is well again, although its tokens can be fetched once only.
func TestPhoneFaultsWhilePolling(t *testing.T) {
	faults := []http.HandlerFunc{status(500, "leak"), status(503, "leak"), status(429, "{}"), status(200, "leak"), hangUp, truncated}
	for _, path := range []string{pathToken, pathUserinfo} {
		t.Run(path, func(t *testing.T) {
			w := newPhoneWorld(t)
			c := newTill(t, w.shop("shop-a.localhost"))
			id, authReqID := c.start(w, `{"phone_number":"+4712345678"}`)
			mustAnswer(t, w, authReqID, true)
			var polls atomic.Int64
			w.vipps.answer(path, func(rw http.ResponseWriter, r *http.Request) {
				if n := int(polls.Add(1)); n <= len(faults) {
					faults[n-1](rw, r)
					return
				}
				w.vipps.sim.ServeHTTP(rw, r)
			})
			for polls.Load() < int64(len(faults)) {
				if s := c.call("GET", "/phone/"+id+"?wait=1", "").wantStatus(t, http.StatusOK).state(t); s.Status != "pending" {
					t.Fatalf("after %d polls: %+v", polls.Load(), s)
				}
			}
			if s := c.call("GET", "/phone/"+id+"?wait=10", "").state(t); s.Status != "complete" {
				t.Errorf("%+v", s)
			}
			if strings.Contains(w.logged(), "leak") {
				t.Error("leaked to the log")
			}
		})
	}
}

// TestPhonePolling: many clients wait on one login, and Vipps is asked once an interval; slow_down adds
// to it.
func TestPhonePolling(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	id, authReqID := c.start(w, `{"phone_number":"+4712345678"}`)
	var mu sync.Mutex
	var polls []time.Time
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		polls = append(polls, time.Now())
		n := len(polls)
		mu.Unlock()
		switch n {
		case 2:
			rw.Header().Set("Retry-After", "3")
			status(429, "{}")(rw, r)
			return
		case 3:
			rw.Header().Set("Retry-After", "7") // more than slow_down adds
			status(400, `{"error":"slow_down"}`)(rw, r)
			return
		}
		w.vipps.sim.ServeHTTP(rw, r)
	})
	start := time.Now()
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if s := c.call("GET", "/phone/"+id+"?wait=20", "").state(t); s.Status != "complete" {
				t.Errorf("%+v", s)
			}
		})
	}
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(polls) == 3 })
	mustAnswer(t, w, authReqID, true)
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
	w := newPhoneWorld(t)
	w.vipps.answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(rw, `{"auth_req_id":"r%d","expires_in":600,"interval":1}`, time.Now().UnixNano())
	})
	shops := []till{newTill(t, w.shop("shop-a.localhost")), newTill(t, w.shop("shop-b.localhost"))}
	for i, spelling := range []string{"+4712345678", "004712345678", "47 12 34 56 78", "4712345678", "+47 1234 5678"} {
		shops[i%2].call("POST", "/phone", `{"phone_number":"`+spelling+`"}`).wantStatus(t, http.StatusAccepted)
	}
	w.vipps.counted()
	a := shops[0].call("POST", "/phone", `{"phone_number":"+4712345678"}`).wantStatus(t, http.StatusTooManyRequests)
	if a.Header.Get("Retry-After") == "" || a.state(t).Error != "too_many_requests" {
		t.Errorf("%v %s", a.Header, a.body)
	}
	shops[0].call("POST", "/phone", `{"phone_number":"+4740000001"}`).wantStatus(t, http.StatusAccepted)
	if calls := w.vipps.counted(); calls["/vipps-login-ciba/api/backchannel/authentication"] != 1 {
		t.Errorf("calls: %v", calls)
	}
}

// TestPhoneBrowser: the phone's browser is logged in where it lands, once.
func TestPhoneBrowser(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	id, authReqID := c.start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/account/welcome?x=1"}`)
	if uri := w.vipps.sim.PhoneLogins()[0].RedirectURI; uri != c.shop+"/vipps/phone/callback" {
		t.Errorf("redirect_uri: %s", uri)
	}
	callback := mustAnswer(t, w, authReqID, true)
	phone := newBrowser(t)
	landed := phone.get(callback).wantStatus(t, http.StatusFound)
	if landed.location() != c.shop+"/account/welcome?x=1" {
		t.Errorf("led to %s", landed.location())
	}
	phone.follow(landed).wantStatus(t, http.StatusOK)
	if name := w.upstream.last(t).Header.Get("X-Vipps-Name"); name != "Kari Nordmann" {
		t.Errorf("logged in as %q", name)
	}
	if s := c.status(id); s.Status != "complete" || s.Userinfo["name"] != "Kari Nordmann" {
		t.Errorf("the till reads %+v", s)
	}
	w.vipps.counted()
	newBrowser(t).get(callback).wantStatus(t, http.StatusBadRequest)
	if a := phone.get(callback).wantStatus(t, http.StatusFound); a.location() != c.shop+"/" {
		t.Errorf("the back button leads to %s", a.location())
	}
	if log := w.logged(); strings.Contains(log, mustQuery(t, callback).Get("code")) {
		t.Error("the code is in the log")
	}
}

// TestPhoneBrowserTwiceAtOnce: of two callbacks at once one brings the session, and both lead to the page, whichever
// answer the browser shows. The code is exchanged once, and only one of the two can have the session.
func TestPhoneBrowserTwiceAtOnce(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	_, authReqID := c.start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/account/"}`)
	callback := mustAnswer(t, w, authReqID, true)
	asked, goOn := make(chan struct{}, 2), make(chan struct{})
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-goOn
		w.vipps.sim.ServeHTTP(rw, r)
	})
	w.vipps.counted()
	answers := make(chan answer, 2)
	phone := newBrowser(t)
	ask := func() { answers <- phone.get(callback) }
	go ask()
	<-asked
	go ask()
	waitFor(t, func() bool { // until the second one waits for the first
		stacks := make([]byte, 1<<20)
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("repeatInBrowser"))
	})
	close(goOn)
	for range 2 {
		if a := (<-answers).wantStatus(t, http.StatusFound); a.location() != c.shop+"/account/" {
			t.Errorf("led to %s", a.location())
		}
	}
	phone.get(c.shop+"/account/").wantStatus(t, http.StatusOK)
	if calls := w.vipps.counted(); calls[pathToken] != 1 {
		t.Errorf("the code was exchanged %d times", calls[pathToken])
	}
	if log := w.logged(); strings.Count(log, `"msg":"login completed"`) != 1 || strings.Contains(log, `"msg":"login failed"`) {
		t.Error("the log has more than one outcome")
	}
}

// TestPhoneBrowserStrangers: a code of anything else gives no session and spends no login.
func TestPhoneBrowserStrangers(t *testing.T) {
	w := newPhoneWorld(t)
	a, b := newTill(t, w.shop("shop-a.localhost")), newTill(t, w.shop("shop-b.localhost"))
	id, authReqID := a.start(w, `{"phone_number":"+4712345678","finish":"browser","return_to":"/account/"}`)
	_, otherMerchant := b.start(w, `{"phone_number":"+4740000001","finish":"browser"}`)
	ended, endedRequest := a.start(w, `{"phone_number":"+4740000003","finish":"browser"}`)
	callbackOfEnded := mustAnswer(t, w, endedRequest, true)
	a.call("DELETE", "/phone/"+ended, "").wantStatus(t, http.StatusNoContent)
	fault := func(auth any) func() {
		return func() {
			w.vipps.sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
				if auth == nil {
					delete(claims, "auth_req_id")
				} else {
					claims["auth_req_id"] = auth
				}
			}})
		}
	}
	browserCode := func() string {
		return mustQuery(t, newBrowser(t).approved(w.shop("shop-a.localhost")+"/account/", bjorn).location()).Get("code")
	}
	callback := a.shop + "/vipps/phone/callback"
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
		"of another merchant":   {strings.Replace(mustAnswer(t, w, otherMerchant, true), "shop-b", "shop-a", 1), nil},
		"a token of no request": {"", fault(nil)},
		"of an unknown request": {"", fault("x")},
		"a wrong type":          {"", fault(7)},
	} {
		t.Run(name, func(t *testing.T) {
			if test.before != nil {
				// A login of a stranger, as Vipps would never answer it.
				_, request := a.start(w, `{"phone_number":"+4740000003","finish":"browser"}`)
				test.address = mustAnswer(t, w, request, true)
				test.before()
				defer w.vipps.sim.SetFaults(simulator.Faults{})
			}
			stranger := newBrowser(t)
			stranger.get(test.address).wantStatus(t, http.StatusBadRequest)
			if cookies := stranger.cookies(a.shop); cookies != "" {
				t.Errorf("cookies: %s", cookies)
			}
		})
	}
	newBrowser(t).get(callback+"?error=access_denied").wantStatus(t, http.StatusForbidden)
	if s := a.status(id); s.Status != "pending" {
		t.Fatalf("a stranger's code ended the login: %+v", s)
	}
	newBrowser(t).get(mustAnswer(t, w, authReqID, true)).wantStatus(t, http.StatusFound)
	if s := a.status(id); s.Status != "complete" {
		t.Errorf("%+v", s)
	}
	for _, r := range w.vipps.requests(pathToken) {
		if strings.Contains(r.Form.Get("grant_type"), "openid:params:grant-type:ciba") {
			t.Error("a login that ends in the browser was polled")
		}
	}
}

// ping sends a signed ping, changed by change after it was signed.
func (w *world) ping(t *testing.T, address, body, secret string, change func(*http.Request)) answer {
	t.Helper()
	req := newRequest(t, http.MethodPost, address, strings.NewReader(body), "Content-Type: application/json")
	simulator.SignPing(req, []byte(body), secret, time.Now())
	if change != nil {
		change(req)
	}
	b := newBrowser(t)
	b.header = nil
	return b.do(req)
}

// TestPing: a waiting client has its result at once rather than at the next poll.
func TestPing(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	w.vipps.answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, r *http.Request) {
		recorded := newRecorder()
		w.vipps.sim.ServeHTTP(recorded, r)
		_, _ = io.WriteString(rw, strings.Replace(recorded.body.String(), `"interval":1`, `"interval":30`, 1))
	})
	id, authReqID := c.start(w, `{"phone_number":"+4712345678"}`)
	mustAnswer(t, w, authReqID, true)
	answered := make(chan time.Time, 1)
	go func() {
		if s := c.call("GET", "/phone/"+id+"?wait=20", "").state(t); s.Status != "complete" {
			t.Errorf("%+v", s)
		}
		answered <- time.Now()
	}()
	body := `{"auth_req_id":"` + authReqID + `"}`
	hook := c.shop + "/vipps/webhook"
	for name, test := range map[string]struct {
		body, secret string
		change       func(*http.Request)
		status       int
	}{
		"another secret": {body, "wrong", nil, 401},
		"another body": {body, webhookSecret, func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(`{"auth_req_id":"x"}`))
			r.ContentLength = 19
		}, 401},
		"another date":  {body, webhookSecret, func(r *http.Request) { r.Header.Set("X-Ms-Date", "Mon, 01 Jan 2024 00:00:00 GMT") }, 401},
		"another query": {body, webhookSecret, func(r *http.Request) { r.URL.RawQuery = "x=y" }, 401},
		"another host":  {body, webhookSecret, func(r *http.Request) { r.Host = fmt.Sprintf("Shop-A.localhost:%d", w.http) }, 401},
		"no signature":  {body, webhookSecret, func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"no hash":       {body, webhookSecret, func(r *http.Request) { r.Header.Del("X-Ms-Content-Sha256") }, 401},
		"other headers": {body, webhookSecret, func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), ";host;", ";", 1))
		}, 401},
		"an API key":         {body, webhookSecret, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+apiKey) }, 401},
		"unknown":            {`{"auth_req_id":"unknown"}`, webhookSecret, nil, 200},
		"unknown, no id":     {`{}`, webhookSecret, nil, 200},
		"no JSON":            {`x`, webhookSecret, nil, 400},
		"too large":          {`{"x":"` + strings.Repeat("x", 100<<10) + `"}`, webhookSecret, nil, 413},
		"of another request": {`{"auth_req_id":7}`, webhookSecret, nil, 400},
	} {
		if a := w.ping(t, hook, test.body, test.secret, test.change); a.StatusCode != test.status {
			t.Errorf("%s: got %d %s", name, a.StatusCode, a.body)
		}
	}
	w.vipps.counted()
	sent := time.Now()
	w.ping(t, hook, body, webhookSecret, nil).wantStatus(t, http.StatusOK)
	if took := (<-answered).Sub(sent); took > time.Second {
		t.Errorf("the waiting client had its answer after %s", took)
	}
	for range 3 {
		w.ping(t, hook, body, webhookSecret, nil).wantStatus(t, http.StatusOK)
	}
	if s := c.status(id); s.Status != "complete" {
		t.Errorf("%+v", s)
	}
	if calls := w.vipps.counted(); calls[pathToken] != 1 {
		t.Errorf("calls: %v", calls)
	}
}

type recorder struct {
	header http.Header
	body   strings.Builder
}

func newRecorder() *recorder                    { return &recorder{header: http.Header{}} }
func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(int)             {}

// TestPingsBeforeAnAnswer do not make us ask again and again.
func TestPingsBeforeAnAnswer(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	id, authReqID := c.start(w, `{"phone_number":"+4712345678"}`)
	for range 10 {
		w.ping(t, c.shop+"/vipps/webhook", `{"auth_req_id":"`+authReqID+`"}`, webhookSecret, nil).wantStatus(t, http.StatusOK)
		c.status(id)
	}
	if calls := w.vipps.counted(); calls[pathToken] > 2 {
		t.Errorf("calls: %v", calls)
	}
}

// TestPhoneStorage: what lies in storage tells nothing, survives a restart, and the rest of the memory.
func TestPhoneStorage(t *testing.T) {
	w := newPhoneWorld(t)
	c := newTill(t, w.shop("shop-a.localhost"))
	id, authReqID := c.start(w, `{"phone_number":"+4712345678"}`)
	w.load(phoneShops)
	mustAnswer(t, w, authReqID, true)
	if s := c.call("GET", "/phone/"+id+"?wait=10", "").state(t); s.Status != "complete" {
		t.Errorf("%+v", s)
	}
	w.load(phoneShops)
	if s := c.status(id); s.Status != "complete" || s.Userinfo["name"] != "Kari Nordmann" {
		t.Errorf("%+v", s)
	}
	files := 0
	root := os.DirFS(w.storage)
	walk(t, root, func(name string, content []byte) {
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
	log := w.logged()
	for _, secret := range []string{"4712345678", "Kari Nordmann", authReqID, apiKey} {
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
	w := newPhoneWorld(t)
	var mu sync.Mutex
	lastPoll := map[string]time.Time{}
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
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
		w.vipps.sim.ServeHTTP(rw, r)
	})
	users := manyNumbers(50)
	c := newTill(t, w.shop("shop-a.localhost"))
	var all sync.WaitGroup
	for _, number := range users {
		all.Go(func() {
			id := c.call("POST", "/phone", `{"phone_number":"`+number+`"}`).wantStatus(t, http.StatusAccepted).state(t).ID
			if s := c.call("GET", "/phone/"+id+"?wait=30", "").state(t); s.Status != "complete" || s.Userinfo["phone_number"] != number {
				t.Errorf("%+v", s)
			}
		})
	}
	waitFor(t, func() bool { return len(w.vipps.sim.PhoneLogins()) == len(users) })
	for _, l := range w.vipps.sim.PhoneLogins() {
		mustAnswer(t, w, l.AuthReqID, true)
	}
	all.Wait()
}
