package simulator

import (
	"strconv"
	"testing"
	"time"
)

func TestAccessToken(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", accessTokenPath, "", partnerKeyHeaders())
	v := a.json(t)
	if a.status != 200 || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	for name, want := range map[string]string{"token_type": "Bearer", "expires_in": "86399", "ext_expires_in": "86399"} {
		if v[name] != want {
			t.Errorf("%s is %v, want the string %q", name, v[name], want)
		}
	}
	for name, want := range map[string]time.Time{"expires_on": time.Now().Add(24 * time.Hour), "not_before": time.Now()} {
		seconds, err := strconv.ParseInt(v[name].(string), 10, 64)
		if off := want.Unix() - seconds; err != nil || off < 0 || off > 60 {
			t.Errorf("%s is %v, want about %d", name, v[name], want.Unix())
		}
	}
	if token := v["access_token"].(string); len(token) < 1000 {
		t.Errorf("the token has %d characters, want 1000 or more", len(token))
	}
}

func TestAccessTokensAddUp(t *testing.T) {
	w := newWorld(t)
	first, second := w.partnerToken(), w.partnerToken()
	if first == second {
		t.Fatal("the same token twice")
	}
	for _, token := range []string{first, second} {
		header := with(w.partnerCall(), map[string]string{"Authorization": "Bearer " + token})
		if a := w.do("POST", tokenPath, form(exchange(w.code(shopLogin(), kari))), header); a.status != 200 {
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
}

func TestAccessTokenRefusals(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		header map[string]string
		body   string
		status int
		code   string
		text   string
	}{
		"no client_id":           {map[string]string{"client_id": ""}, "", 400, "invalid_request", "client_id is missing"},
		"no client_secret":       {map[string]string{"client_secret": ""}, "", 400, "invalid_request", "client_secret is missing"},
		"no subscription key":    {map[string]string{"Ocp-Apim-Subscription-Key": ""}, "", 400, "invalid_request", "Ocp-Apim-Subscription-Key is missing"},
		"wrong client_id":        {map[string]string{"client_id": "x"}, "", 401, "invalid_client", "not the partner's"},
		"wrong client_secret":    {map[string]string{"client_secret": "x"}, "", 401, "invalid_client", "not the partner's"},
		"wrong subscription key": {map[string]string{"Ocp-Apim-Subscription-Key": "x"}, "", 401, "invalid_client", "not the partner's"},
		"a sales unit's keys":    {map[string]string{"client_id": "gym:id", "client_secret": "gym secret%+"}, "", 401, "invalid_client", "not the partner's"},
		"a body":                 {nil, "grant_type=client_credentials", 400, "invalid_request", "body must be empty"},
		"no system name":         {map[string]string{"Vipps-System-Name": ""}, "", 400, "invalid_request", "Vipps-System-Name is missing"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := w.do("POST", accessTokenPath, test.body, with(partnerKeyHeaders(), test.header))
			a.wantError(t, test.status, test.code, test.text)
		})
	}
}

// Without partner keys there is nothing that could match, empty headers
// included.
func TestNoPartner(t *testing.T) {
	config := testConfig()
	config.Partner = Partner{}
	w := newWorldWith(t, config)
	w.do("POST", accessTokenPath, "", partnerKeyHeaders()).wantError(t, 401, "invalid_client", "")
	r := loopbackRequest("POST", accessTokenPath, "")
	for name, value := range partnerKeyHeaders() {
		r.Header.Set(name, value)
	}
	for _, name := range []string{"client_id", "client_secret", "Ocp-Apim-Subscription-Key"} {
		r.Header.Set(name, "")
	}
	if recorder := record(w.sim, r); recorder.Code != 400 {
		t.Errorf("empty keys: %d %s", recorder.Code, recorder.Body)
	}
}
