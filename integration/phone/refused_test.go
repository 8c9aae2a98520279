package phone_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

const pathExists = "/vipps-login-ciba/api/v1/user-exists"

// TestPhoneRefusals: what the caller or the person can do something about is 422 with a fixed word, in the log at INFO,
// and no fault of Vipps MobilePay. The first two texts were seen at the real API.
func TestPhoneRefusals(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	for body, want := range map[string]string{
		`{"error":"unknown_user_id","error_description":"To log in with Vipps you need to have an active Vipps app on your phone and be at least 15 years old."}`: "invalid_user",
		`{"error":"invalid_request","error_description":"login_hint must be in format: 'urn:msisdn:46|45|47|358|299{phonenumber}'"}`:                              "invalid_country",
		`{"error":"invalid_user"}`:                                "invalid_user",
		`{"error":"access_denied","error_code":"old_app"}`:        "old_app",
		`{"error":"invalid_request","error_code":"invalid_user"}`: "invalid_user",
		`{"error":"invalid_scope"}`:                               "invalid_scope",
		`{"error":"invalid_binding_message"}`:                     "invalid_binding_message",
		`{"error":"expired_login_hint_token"}`:                    "expired_customer_token",
	} {
		w.AnswerWith(harness.PathBackchannel, http.StatusBadRequest, body)
		a := c.Call("POST", "/phone", `{"customer_token":"`+harness.RandomText(12)+`"}`).WantStatus(t, http.StatusUnprocessableEntity)
		if got := a.State(t).Error; got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
		line := harness.LineWith(w.Logged(), `"reason":"`+want+`"`)
		if !strings.Contains(line, `"level":"info"`) {
			t.Errorf("%s: log: %s", want, line)
		}
	}
	if log := w.Logged(); strings.Contains(log, `"level":"error"`) {
		t.Errorf("an error: %s", harness.LineWith(log, `"level":"error"`))
	}
	w.AnswerWith(pathExists, http.StatusBadRequest, `{"error":"unknown_user_id"}`)
	if a := c.Call("POST", "/phone/exists", `{"phone_number":"+4712345678"}`).WantStatus(t, http.StatusOK); !strings.Contains(a.Text, `{"exists":false}`) {
		t.Errorf("an unknown user: %s", a.Text)
	}
	w.AnswerWith(pathExists, http.StatusBadRequest, `{"error":"invalid_request","error_description":"login_hint must be in format: 'urn:msisdn:47{phonenumber}'"}`)
	c.Call("POST", "/phone/exists", `{"phone_number":"+4712345678"}`).WantStatus(t, http.StatusUnprocessableEntity)
}

// TestCountries: a number of a country that Vipps MobilePay does not serve is not sent there.
func TestCountries(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	c := harness.NewTill(t, w.Shop("shop-a.localhost"))
	w.Vipps.Counted()
	for number, want := range map[string]int{
		"+49 30 123456": 422, "004930123456": 422, "+1 650 253 0000": 422, "+354 555 1234": 422, "299123456": 200, "+299 12 34 56": 200, "+4712345678": 200, "123456789": 400,
	} {
		if a := c.Call("POST", "/phone/exists", `{"phone_number":"`+number+`"}`); a.StatusCode != want {
			t.Errorf("%s: %d %s", number, a.StatusCode, a.Text)
		}
	}
	a := c.Call("POST", "/phone", `{"phone_number":"+493012345678"}`).WantStatus(t, http.StatusUnprocessableEntity)
	if got := a.State(t).Error; got != "invalid_country" {
		t.Errorf("error %s", got)
	}
	if calls := w.Vipps.Counted(); calls[harness.PathBackchannel] != 0 || calls[pathExists] != 3 {
		t.Errorf("calls: %v", calls)
	}
	w.Load(strings.Replace(harness.PhoneShops, "phone {", "phone {\n\t\t\tcountries 47 49", 1))
	c.Call("POST", "/phone/exists", `{"phone_number":"+493012345678"}`).WantStatus(t, http.StatusOK)
	c.Call("POST", "/phone/exists", `{"phone_number":"+4512345678"}`).WantStatus(t, http.StatusUnprocessableEntity)
}

// TestNotConnected: 403 is about the sales unit, wherever it comes.
func TestNotConnected(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	shop := w.Shop("shop-a.localhost")
	c := harness.NewTill(t, shop)
	const body = `{"error":"forbidden"}`
	b := harness.NewBrowser(t)
	callback := b.Approved(shop+"/account/", harness.Kari).RedirectTo()
	w.AnswerWith(harness.PathToken, http.StatusForbidden, body)
	b.Get(callback).WantStatus(t, http.StatusBadGateway)
	w.AnswerWith(harness.PathBackchannel, http.StatusForbidden, body)
	if a := c.Call("POST", "/phone", `{"phone_number":"+4712345678"}`).WantStatus(t, http.StatusBadGateway); a.State(t).Error != "not_connected" {
		t.Errorf("%s", a.Text)
	}
	w.AnswerWith(pathExists, http.StatusForbidden, body)
	c.Call("POST", "/phone/exists", `{"phone_number":"+4712345678"}`).WantStatus(t, http.StatusBadGateway)
	w.Vipps.Answer(harness.PathBackchannel, nil)
	id, _ := c.Start(w, `{"phone_number":"+4740000001"}`)
	if a := c.Call("GET", "/phone/"+id+"?wait=5", ""); a.State(t).Status != "failed" || a.State(t).Error != "not_connected" {
		t.Errorf("a polled login: %s", a.Text)
	}
	if line := harness.LineWith(w.Logged(), `"reason":"not_connected"`); !strings.Contains(line, `"level":"error"`) {
		t.Errorf("log: %s", line)
	}
}

// TestPhoneTokens: what an ID token of a polled login may say of its merchant and its request, and what it may not.
func TestPhoneTokens(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	shop := w.Shop("shop-a.localhost")
	c := harness.NewTill(t, shop)
	numbers, n := []string{"4712345678", "4740000001", "4520000001", "358400000001", "4740000003"}, 0 // each 5 times at most
	for _, accept := range []bool{false, true} {
		config := harness.PhoneShops
		if accept {
			config = strings.Replace(config, "phone {", "phone {\n\t\t\taccept_missing_msn", 1)
		}
		w.Load(config)
		for name, test := range map[string]struct {
			change func(claims map[string]any)
			want   string
		}{
			"text":             {func(map[string]any) {}, "complete"},
			"a number":         {func(c map[string]any) { c["msn"] = 123456 }, "complete"},
			"another number":   {func(c map[string]any) { c["msn"] = 234567 }, "failed"},
			"another":          {func(c map[string]any) { c["msn"] = "234567" }, "failed"},
			"empty":            {func(c map[string]any) { c["msn"] = "" }, "failed"},
			"a list":           {func(c map[string]any) { c["msn"] = []string{"123456"} }, "failed"},
			"missing":          {func(c map[string]any) { delete(c, "msn") }, map[bool]string{false: "failed", true: "complete"}[accept]},
			"null":             {func(c map[string]any) { c["msn"] = nil }, map[bool]string{false: "failed", true: "complete"}[accept]},
			"the other id":     {func(c map[string]any) { c["authReqId"] = c["auth_req_id"]; delete(c, "auth_req_id") }, "complete"},
			"both ids":         {func(c map[string]any) { c["authReqId"] = c["auth_req_id"] }, "complete"},
			"two ids":          {func(c map[string]any) { c["authReqId"] = "another" }, "failed"},
			"another id":       {func(c map[string]any) { c["authReqId"] = "another"; delete(c, "auth_req_id") }, "failed"},
			"an id of no text": {func(c map[string]any) { c["authReqId"] = 7; delete(c, "auth_req_id") }, "failed"},
		} {
			if accept && test.want != "failed" && name != "missing" && name != "null" {
				continue // as without it
			}
			n++
			id, authReqID := c.Start(w, fmt.Sprintf(`{"phone_number":"+%s"}`, numbers[n%len(numbers)]))
			w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) {
				claims["auth_req_id"] = authReqID
				test.change(claims)
			}})
			harness.MustAnswer(t, w, authReqID, true)
			a := c.Call("GET", "/phone/"+id+"?wait=10", "")
			if got := a.State(t).Status; got != test.want {
				t.Errorf("accept %t, %s: %s, want %s", accept, name, a.Text, test.want)
			}
		}
	}
	if log := w.Logged(); !strings.Contains(log, "msn is missing") || !strings.Contains(log, "for another merchant (msn)") {
		t.Error("a missing msn and another are not told apart")
	}
	// Nothing is relaxed in the browser.
	for _, change := range []func(map[string]any){func(c map[string]any) { delete(c, "msn") }, func(c map[string]any) { c["msn"] = 123456 }} {
		w.Vipps.Sim.SetFaults(simulator.Faults{IDToken: func(_, claims map[string]any) { change(claims) }})
		b := harness.NewBrowser(t)
		b.Get(b.Approved(shop+"/account/", harness.Kari).RedirectTo()).WantStatus(t, http.StatusBadGateway)
	}
}

// TestConsentInParts: the documented sample has two parts and no final dot. All forms of an unsigned JWT are read.
func TestConsentInParts(t *testing.T) {
	for parts, form := range map[string]func(string) string{
		"two parts":           func(threeParts string) string { return strings.TrimSuffix(threeParts, ".") },
		"two parts and a dot": func(threeParts string) string { return threeParts },
		"three parts":         func(threeParts string) string { return threeParts + "c2ln" },
	} {
		t.Run(parts, func(t *testing.T) {
			w := harness.NewWorld(t)
			w.Load(harness.EndableShops)
			shop := w.Shop("shop-a.localhost")
			b := harness.NewBrowser(t)
			b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
			body := form(harness.ConsentRevoked("CONSENT_REVOKED", w.Upstream.Last(t).Header.Get("X-Vipps-Sub"), time.Now()))
			harness.NewBrowser(t).Do(harness.NewRequest(t, http.MethodPost, shop+"/vipps/webhook?secret="+harness.ConsentSecret, strings.NewReader(body))).WantStatus(t, http.StatusOK)
			if b.LoggedIn(shop + "/") {
				t.Error("the session lives on")
			}
		})
	}
}

// TestRefusedWebhooks: an operator sees them on the first day.
func TestRefusedWebhooks(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.EndableShops)
	shop := w.Shop("shop-a.localhost")
	send := func(query, body string, status int) {
		harness.NewBrowser(t).Do(harness.NewRequest(t, http.MethodPost, shop+"/vipps/webhook"+query, strings.NewReader(body))).WantStatus(t, status)
	}
	send("?secret=wrong", "x", http.StatusUnauthorized)
	send("?secret="+harness.ConsentSecret, "x", http.StatusBadRequest)
	send("?secret="+harness.ConsentSecret, strings.Repeat("x", 70_000), http.StatusRequestEntityTooLarge)
	send("", "{}", http.StatusUnauthorized)
	log := w.Logged()
	for _, reason := range []string{"secret", "body", "too_large", "signature"} {
		if line := harness.LineWith(log, `"reason":"`+reason+`"`); !strings.Contains(line, `"msg":"webhook refused"`) || !strings.Contains(line, `"level":"warn"`) {
			t.Errorf("%s: log: %s", reason, line)
		}
	}
}

// TestEmptyAddresses: a user without an address gets one of empty strings, which is none.
func TestEmptyAddresses(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\tscope address\n\t}\n", 1))
	shop := w.Shop("shop-a.localhost")
	empty := map[string]any{"street_address": "", "postal_code": "", "region": "", "country": "", "formatted": "", "address_type": "home"}
	real := map[string]any{"street_address": "Arbeidsgata 1", "address_type": "work"}
	for name, test := range map[string]struct {
		userinfo       map[string]any
		address, other bool
	}{
		"all empty":  {map[string]any{"address": empty, "other_addresses": []any{empty}}, false, false},
		"one of two": {map[string]any{"address": empty, "other_addresses": []any{empty, real}}, false, true},
		"none":       {map[string]any{"address": real, "other_addresses": []any{}}, true, true},
		"no object":  {map[string]any{"address": "Arbeidsgata 1", "other_addresses": "x"}, true, true},
	} {
		w.Vipps.Sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) {
			for claim, value := range test.userinfo {
				claims[claim] = value
			}
		}})
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
		header := w.Upstream.Last(t).Header
		_, address := header["X-Vipps-Address"]
		_, other := header["X-Vipps-Other-Addresses"]
		if address != test.address || other != test.other || strings.Contains(header.Get("X-Vipps-Other-Addresses"), `"home"`) {
			t.Errorf("%s: %v %v", name, header["X-Vipps-Address"], header["X-Vipps-Other-Addresses"])
		}
	}
}
