package simulator

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func TestBackchannelAnswer(t *testing.T) {
	config := phoneConfig()
	config.PollInterval = caddy.Duration(2 * time.Second)
	w := newWorldWith(t, config)
	v := w.backchannel(shopPhone()).json(t)
	id, _ := v["auth_req_id"].(string)
	if len(id) < 22 || v["expires_in"] != 600.0 || v["interval"] != 2.0 || len(v) != 3 {
		t.Errorf("got %v", v)
	}
	if other := w.startPhone(shopPhone()); other == id {
		t.Error("the same auth_req_id twice")
	}
	if v := newWorldWith(t, phoneConfig()).backchannel(shopPhone()).json(t); v["interval"] != 5.0 {
		t.Errorf("interval is %v, want 5 by default", v["interval"])
	}
}

// Each row changes one thing of a request that works.
func TestBackchannelRefusals(t *testing.T) {
	w := newWorldWith(t, phoneConfig())
	toBrowser := func(changes map[string]string) map[string]string {
		return with(map[string]string{"requested_flow": flowToWebpage, "redirect_uri": shopPhoneCallback}, changes)
	}
	tests := map[string]struct {
		header map[string]string
		form   map[string]string
		more   string
		status int
		code   string
		text   string
	}{
		"no plugin name":           {header: map[string]string{"Vipps-System-Plugin-Name": ""}, status: 400, code: "invalid_request", text: "Plugin-Name is missing"},
		"JSON":                     {header: map[string]string{"Content-Type": "application/json"}, status: 400, code: "invalid_request", text: "Content-Type"},
		"no authorization":         {header: map[string]string{"Authorization": ""}, status: 401, code: "invalid_client"},
		"unknown token":            {header: map[string]string{"Authorization": "Bearer abc"}, status: 401, code: "invalid_client"},
		"partner keys in Basic":    {header: map[string]string{"Authorization": basic("partner-id", "partner-secret")}, status: 401, code: "invalid_client"},
		"no MSN":                   {header: map[string]string{"Merchant-Serial-Number": ""}, status: 403, code: "forbidden", text: "not connected"},
		"unknown MSN":              {header: map[string]string{"Merchant-Serial-Number": "999999"}, status: 403, code: "forbidden"},
		"client_secret_post":       {form: map[string]string{"client_secret": "x"}, status: 401, code: "invalid_client"},
		"no scope":                 {form: map[string]string{"scope": ""}, status: 400, code: "invalid_scope", text: "openid"},
		"no openid":                {form: map[string]string{"scope": "name"}, status: 400, code: "invalid_scope", text: "openid"},
		"no login_hint":            {form: map[string]string{"login_hint": ""}, status: 400, code: "invalid_request", text: "login_hint"},
		"bare number":              {form: map[string]string{"login_hint": kari}, status: 400, code: "invalid_request", text: "login_hint"},
		"number with plus":         {form: map[string]string{"login_hint": "urn:msisdn:+" + kari}, status: 400, code: "invalid_request", text: "login_hint"},
		"number with spaces":       {form: map[string]string{"login_hint": "urn:msisdn:47 12345678"}, status: 400, code: "invalid_request", text: "login_hint"},
		"number with zeros":        {form: map[string]string{"login_hint": "urn:msisdn:00" + kari}, status: 400, code: "invalid_request", text: "login_hint"},
		"another URN":              {form: map[string]string{"login_hint": "urn:mobilenumber:" + kari}, status: 400, code: "invalid_request", text: "login_hint"},
		"URN in capitals":          {form: map[string]string{"login_hint": "URN:MSISDN:" + kari}, status: 400, code: "invalid_request", text: "login_hint"},
		"empty token":              {form: map[string]string{"login_hint": "urn:customer-token:"}, status: 400, code: "invalid_request", text: "login_hint"},
		"binding message of 4":     {form: map[string]string{"binding_message": "ABCD"}, status: 400, code: "invalid_binding_message"},
		"binding message of 9":     {form: map[string]string{"binding_message": "ABCDEFGHI"}, status: 400, code: "invalid_binding_message"},
		"small letters":            {form: map[string]string{"binding_message": "abcde"}, status: 400, code: "invalid_binding_message"},
		"binding message and line": {form: map[string]string{"binding_message": "ABCDE\n"}, status: 400, code: "invalid_binding_message"},
		"empty binding message":    {more: "&binding_message=", status: 400, code: "invalid_binding_message"},
		"expiry of 59":             {form: map[string]string{"requested_expiry": "59"}, status: 400, code: "invalid_request", text: "requested_expiry"},
		"expiry of 901":            {form: map[string]string{"requested_expiry": "901"}, status: 400, code: "invalid_request", text: "requested_expiry"},
		"expiry with unit":         {form: map[string]string{"requested_expiry": "60s"}, status: 400, code: "invalid_request", text: "requested_expiry"},
		"expiry with plus":         {form: map[string]string{"requested_expiry": "+60"}, status: 400, code: "invalid_request", text: "requested_expiry"},
		"expiry that overflows":    {form: map[string]string{"requested_expiry": "99999999999999999999"}, status: 400, code: "invalid_request", text: "requested_expiry"},
		"empty expiry":             {more: "&requested_expiry=", status: 400, code: "invalid_request", text: "requested_expiry"},
		"unknown flow":             {form: toBrowser(map[string]string{"requested_flow": "other"}), status: 400, code: "invalid_request", text: "requested_flow"},
		"flow of the browser":      {form: toBrowser(map[string]string{"requested_flow": flowAnyReturn}), status: 400, code: "invalid_request", text: "requested_flow"},
		"flow alone":               {form: toBrowser(map[string]string{"redirect_uri": ""}), status: 400, code: "invalid_request", text: "need each other"},
		"redirect_uri alone":       {form: toBrowser(map[string]string{"requested_flow": ""}), status: 400, code: "invalid_request", text: "need each other"},
		"a slash more":             {form: toBrowser(map[string]string{"redirect_uri": shopPhoneCallback + "/"}), status: 400, code: "invalid_request", text: "not registered"},
		"another merchant's":       {form: toBrowser(map[string]string{"redirect_uri": gymCallback}), status: 400, code: "invalid_request", text: "not registered"},
		"repeated parameter":       {more: "&nonce=other", status: 400, code: "invalid_request", text: "nonce is there more than once"},
		"unknown number":           {form: map[string]string{"login_hint": "urn:msisdn:4799999999"}, status: 400, code: "unknown_user_id"},
		"unknown token of a user":  {form: map[string]string{"login_hint": "urn:customer-token:guess"}, status: 400, code: "unknown_user_id"},
		"old app":                  {form: map[string]string{"login_hint": "urn:msisdn:" + gerd}, status: 400, code: "access_denied"}, // error_code says more: TestSimulatedRefusals
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			body := form(with(shopPhone(), test.form)) + test.more
			a := w.do("POST", backchannelPath, body, with(w.partnerCall(), test.header))
			a.wantError(t, test.status, test.code, test.text)
		})
	}
	if got := w.sim.PhoneLogins(); len(got) != 0 {
		t.Errorf("refused requests started %v", got)
	}
}

func TestGoodBackchannelRequests(t *testing.T) {
	tests := map[string]map[string]string{
		"as it is":                  {},
		"no nonce":                  {"nonce": ""},
		"state":                     {"state": "x"},
		"customer token":            {"login_hint": "urn:customer-token:kari-customer-token"},
		"binding message of 5":      {"binding_message": "A-0Z9"},
		"binding message of 8":      {"binding_message": "ABCDEFGH"},
		"expiry of 60":              {"requested_expiry": "60"},
		"expiry of 900":             {"requested_expiry": "900"},
		"to the browser":            {"requested_flow": flowToWebpage, "redirect_uri": shopPhoneCallback},
		"unknown parameter":         {"ui_locales": "nb"},
		"unknown scope and another": {"scope": "openid telepathy name"},
	}
	for name, changes := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, phoneConfig())
			v := w.backchannel(with(shopPhone(), changes)).json(t)
			if want := changes["requested_expiry"]; want != "" && strconv.Itoa(int(v["expires_in"].(float64))) != want {
				t.Errorf("expires_in is %v, want %s", v["expires_in"], want)
			}
			got := w.sim.PhoneLogins()
			if len(got) != 1 || got[0].AuthReqID != v["auth_req_id"] || got[0].PhoneNumber != kari || got[0].MSN != "123456" ||
				got[0].BindingMessage != changes["binding_message"] || got[0].RedirectURI != changes["redirect_uri"] ||
				!slices.Equal(got[0].Scopes, []string{"openid", "name"}) {
				t.Errorf("got %v, want one like %v", got, v)
			}
		})
	}
}

// The gym starts a login with keys of its own.
func TestBackchannelWithOwnKeys(t *testing.T) {
	w := newWorldWith(t, phoneConfig())
	header := with(with(systemHeaderValues(), formHeaders), map[string]string{"Authorization": basic("gym:id", "gym secret%+")})
	if a := w.do("POST", backchannelPath, form(shopPhone()), header); a.status != 200 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	got := w.sim.PhoneLogins()
	if len(got) != 1 || got[0].MSN != "234567" {
		t.Fatalf("got %v", got)
	}
	w.answerPhone(got[0].AuthReqID, true)
	fields := map[string]string{"grant_type": grantPhone, "auth_req_id": got[0].AuthReqID}
	if a := w.do("POST", tokenPath, form(fields), header); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// Vipps MobilePay takes users from the day they are 15.
func TestMinimumAge(t *testing.T) {
	config := phoneConfig()
	config.Users = []User{
		{Name: "Just Fifteen", PhoneNumber: "4741111111", Birthdate: bornYearsAgo(15, 0)},
		{Name: "Not Yet", PhoneNumber: "4742222222", Birthdate: bornYearsAgo(15, 1)},
		{Name: "No Birthdate", PhoneNumber: "4743333333"},
	}
	w := newWorldWith(t, config)
	for number, want := range map[string]bool{"4741111111": true, "4742222222": false, "4743333333": true} {
		a := w.backchannel(with(shopPhone(), map[string]string{"login_hint": hintPhoneNumber + number}))
		if (a.status == 200) != want {
			t.Errorf("%s: %d %s", number, a.status, a.body)
		}
		if !want {
			a.wantError(t, 400, "unknown_user_id", "")
		}
	}
}

// Three logins of a user may wait, at all merchants together. The fourth is
// told when the first of them is over.
func TestTooManyLoginsOfOneUser(t *testing.T) {
	inPhoneBubble(t, func(t *testing.T, w *world) {
		first := w.startPhone(with(shopPhone(), map[string]string{"requested_expiry": "90"}))
		w.startPhone(shopPhone())
		gym := with(w.partnerCall(), map[string]string{"Merchant-Serial-Number": "234567"})
		if a := w.do("POST", backchannelPath, form(shopPhone()), gym); a.status != 200 {
			t.Fatalf("the third: %d %s", a.status, a.body)
		}
		time.Sleep(500 * time.Millisecond)
		a := w.backchannel(shopPhone())
		a.wantError(t, 429, "too_many_requests", "")
		if got := a.header.Get("Retry-After"); got != "90" {
			t.Errorf("Retry-After is %q, want 90: 89.5 s rounded up", got)
		}
		w.startPhone(with(shopPhone(), map[string]string{"login_hint": hintPhoneNumber + bjorn}))
		time.Sleep(89 * time.Second)
		w.backchannel(shopPhone()).wantError(t, 429, "too_many_requests", "")
		time.Sleep(500 * time.Millisecond)
		second := w.startPhone(shopPhone())
		w.poll(first).wantError(t, 400, "expired_token", "")
		// Whatever ends a wait makes room.
		w.answerPhone(second, false)
		third := w.startPhone(shopPhone())
		w.answerPhone(third, true)
		if err := w.sim.ExpirePhone(w.startPhone(shopPhone())); err != nil {
			t.Error(err)
		}
		w.startPhone(shopPhone())
		w.backchannel(shopPhone()).wantError(t, 429, "too_many_requests", "")
	})
}

func TestUserExists(t *testing.T) {
	w := newWorldWith(t, phoneConfig())
	for number, want := range map[string]bool{kari: true, bjorn: true, gerd: true, "4799999999": false} {
		a := w.do("POST", userExistsPath, form(map[string]string{"login_hint": hintPhoneNumber + number}), w.partnerCall())
		if v := a.json(t); a.status != 200 || v["exists"] != want || len(v) != 1 {
			t.Errorf("%s: %d %s, want %t", number, a.status, a.body, want)
		}
	}
	for name, test := range map[string]struct {
		hint   string
		header map[string]string
		status int
		code   string
	}{
		"no hint":          {"", nil, 400, "invalid_request"},
		"bare number":      {kari, nil, 400, "invalid_request"},
		"customer token":   {"urn:customer-token:kari-customer-token", nil, 400, "invalid_request"},
		"no authorization": {hintPhoneNumber + kari, map[string]string{"Authorization": ""}, 401, "invalid_client"},
		"no MSN":           {hintPhoneNumber + kari, map[string]string{"Merchant-Serial-Number": ""}, 403, "forbidden"},
		"no system name":   {hintPhoneNumber + kari, map[string]string{"Vipps-System-Name": ""}, 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.do("POST", userExistsPath, form(map[string]string{"login_hint": test.hint}), with(w.partnerCall(), test.header))
			a.wantError(t, test.status, test.code, "")
		})
	}
}

func TestYoungUserDoesNotExist(t *testing.T) {
	config := phoneConfig()
	config.Users = []User{{Name: "Not Yet", PhoneNumber: kari, Birthdate: bornYearsAgo(15, 1)}}
	w := newWorldWith(t, config)
	a := w.do("POST", userExistsPath, form(map[string]string{"login_hint": hintPhoneNumber + kari}), w.partnerCall())
	if a.json(t)["exists"] != false || !strings.Contains(w.do("GET", phonePath, "", nil).body, "too young") {
		t.Errorf("got %s", a.body)
	}
}
