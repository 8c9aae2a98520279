package simulator

import (
	"net/http"
	"strings"
	"testing"
)

func TestMSNBecomesClientID(t *testing.T) {
	w := newWorld(t)
	// The rest stays as it is: order, encoding, and what will be refused later.
	a := w.do("GET", authorizePath+"?state=a%20b+c&msn=123456&scope=openid%20name&x=%2F", "", nil)
	want := w.base + authorizePath + "?state=a%20b+c&client_id=shop-id&scope=openid%20name&x=%2F"
	if a.status != http.StatusFound || a.header.Get("Location") != want {
		t.Errorf("got %d %s, want 302 %s", a.status, a.header.Get("Location"), want)
	}
	params := with(shopLogin(), map[string]string{"client_id": "", "msn": "234567"})
	a = w.do("GET", authorizePath+"?"+form(params), "", nil)
	if got := a.location.Query(); got.Get("client_id") != "gym:id" || got.Has("msn") {
		t.Errorf("got %v", got)
	}
}

// Until merchant and redirect URI are known to be right, nothing is redirected:
// it would make Vipps an open redirector.
func TestErrorPages(t *testing.T) {
	w := newWorld(t)
	good := form(shopLogin())
	tests := map[string]struct {
		query  string
		status int
		text   string
	}{
		"neither msn nor client_id": {form(with(shopLogin(), map[string]string{"client_id": ""})), 400, "Neither msn nor client_id"},
		"both":                      {good + "&msn=123456", 400, "here are more"},
		"msn twice":                 {"msn=123456&msn=123456", 400, "here are more"},
		"client_id twice":           {good + "&client_id=shop-id", 400, "here are more"},
		"unknown msn":               {form(with(shopLogin(), map[string]string{"client_id": "", "msn": "999999"})), 400, "No merchant that can log people in has this msn"},
		"unknown client_id":         {form(with(shopLogin(), map[string]string{"client_id": "nobody"})), 400, "No merchant has this client_id"},
		"no redirect_uri":           {form(with(shopLogin(), map[string]string{"redirect_uri": ""})), 400, "not registered"},
		"redirect_uri twice":        {good + "&redirect_uri=" + shopCallback, 400, "not registered"},
		"another merchant's":        {form(with(shopLogin(), map[string]string{"redirect_uri": gymCallback})), 400, "not registered"},
		"a slash more":              {form(with(shopLogin(), map[string]string{"redirect_uri": shopCallback + "/"})), 400, "not registered"},
		"a query more":              {form(with(shopLogin(), map[string]string{"redirect_uri": shopCallback + "?a=b"})), 400, "not registered"},
		"another case":              {form(with(shopLogin(), map[string]string{"redirect_uri": strings.ToUpper(shopCallback)})), 400, "not registered"},
		"longer host":               {form(with(shopLogin(), map[string]string{"redirect_uri": shopCallback + ".example.com"})), 400, "not registered"},
		"unreadable query":          {good + "&a=%zz", 400, "cannot be read"},
		"too long":                  {good + "&state=" + strings.Repeat("x", 2000), 502, "longer than 2000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := w.do("GET", authorizePath+"?"+test.query, "", nil)
			if a.status != test.status || !strings.Contains(a.body, test.text) {
				t.Errorf("status %d, want %d and %q in %s", a.status, test.status, test.text, a.body)
			}
			if a.location != nil {
				t.Errorf("redirected to %s", a.location)
			}
		})
	}
}

// The boundary: 2000 characters of path and query are answered.
func TestLongestRequest(t *testing.T) {
	w := newWorld(t)
	start := authorizePath + "?" + form(shopLogin()) + "&x="
	for length, want := range map[int]int{2000: 200, 2001: 502} {
		a := w.do("GET", start+strings.Repeat("x", length-len(start)), "", nil)
		if a.status != want {
			t.Errorf("%d characters: status %d, want %d", length, a.status, want)
		}
	}
}

// Once both are right, errors go to the merchant, with the state.
func TestErrorRedirects(t *testing.T) {
	w := newWorld(t)
	noPKCE := map[string]string{"code_challenge": "", "code_challenge_method": ""}
	tests := map[string]struct {
		changes map[string]string
		more    string
		code    string
		text    string
	}{
		"no response_type":         {map[string]string{"response_type": ""}, "", "invalid_request", "response_type is missing"},
		"token response_type":      {map[string]string{"response_type": "id_token"}, "", "unsupported_response_type", "must be code"},
		"no scope":                 {map[string]string{"scope": ""}, "", "invalid_scope", "openid"},
		"no openid":                {map[string]string{"scope": "name openidx"}, "", "invalid_scope", "openid"},
		"short state":              {map[string]string{"state": "1234567"}, "", "invalid_state", "8 characters"},
		"no state":                 {map[string]string{"state": ""}, "", "invalid_state", "8 characters"},
		"unknown challenge method": {map[string]string{"code_challenge_method": "s256"}, "", "invalid_request", "S256 or plain"},
		"method without challenge": {map[string]string{"code_challenge": ""}, "", "invalid_request", "without a code_challenge"},
		"short challenge":          {map[string]string{"code_challenge": "abc"}, "", "invalid_request", "43 to 128"},
		"challenge with padding":   {map[string]string{"code_challenge": challenge256 + "="}, "", "invalid_request", "43 to 128"},
		"unknown market":           {map[string]string{"market": "GB"}, "", "invalid_request", "market"},
		"unknown acr":              {map[string]string{"acr_values": "urn:other"}, "", "invalid_request", "acr_values"},
		"unknown flow":             {map[string]string{"requested_flow": "other"}, "", "invalid_request", "requested_flow"},
		"unknown response_mode":    {map[string]string{"response_mode": "form_post"}, "", "invalid_request", "response_mode"},
		"any browser without PKCE": {with(noPKCE, map[string]string{"requested_flow": flowAnyReturn}), "", "invalid_request", "code_challenge is required"},
		"nonce twice":              {nil, "&nonce=other", "invalid_request", "nonce is there more than once"},
		"unknown twice":            {nil, "&x=1&x=1", "invalid_request", "x is there more than once"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			params := with(shopLogin(), test.changes)
			a := w.do("GET", authorizePath+"?"+form(params)+test.more, "", nil)
			if a.status != http.StatusFound || !strings.HasPrefix(a.header.Get("Location"), shopCallback+"?") {
				t.Fatalf("got %d %s", a.status, a.header.Get("Location"))
			}
			got := a.location.Query()
			if got.Get("error") != test.code || !strings.Contains(got.Get("error_description"), test.text) {
				t.Errorf("got %v, want %s with %q", got, test.code, test.text)
			}
			if got.Get("state") != params["state"] || got.Has("code") {
				t.Errorf("got %v, want state %q and no code", got, params["state"])
			}
		})
	}
}

// With two states there is none to give back.
func TestRepeatedStateIsNotReturned(t *testing.T) {
	w := newWorld(t)
	a := w.do("GET", authorizePath+"?"+form(shopLogin())+"&state=another-state", "", nil)
	if got := a.location.Query(); got.Get("error") != "invalid_request" || got.Has("state") {
		t.Errorf("got %v", got)
	}
}

func TestGoodRequests(t *testing.T) {
	w := newWorld(t)
	tests := map[string]map[string]string{
		"as it is":          {},
		"state of 8":        {"state": "12345678"},
		"no PKCE":           {"code_challenge": "", "code_challenge_method": ""},
		"plain by default":  {"code_challenge_method": ""},
		"plain":             {"code_challenge_method": "plain"},
		"no nonce":          {"nonce": ""},
		"market":            {"market": "FI"},
		"app confirmation":  {"acr_values": acrAppAuth},
		"any browser":       {"requested_flow": flowAnyReturn},
		"unknown parameter": {"ui_locales": "nb"},
		"unknown scope":     {"scope": "openid telepathy"},
	}
	for name, changes := range tests {
		t.Run(name, func(t *testing.T) {
			w.transaction(with(shopLogin(), changes))
		})
	}
}
