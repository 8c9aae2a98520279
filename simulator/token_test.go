package simulator

import (
	"testing"
)

func TestTokenAnswer(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", tokenPath, form(exchange(w.code(shopLogin(), kari))), w.partnerCall())
	v := a.json(t)
	if a.status != 200 || v["token_type"] != "bearer" || v["expires_in"] != 3599.0 || v["scope"] != "openid name" {
		t.Errorf("got %d %v", a.status, v)
	}
	if v["access_token"] == "" || v["id_token"] == "" || v["refresh_token"] != nil {
		t.Errorf("got %v", v)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %v", a.header)
	}
}

// Each row changes one thing of an exchange that works.
func TestTokenRefusals(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		header map[string]string
		form   map[string]string
		more   string
		status int
		code   string
		text   string
	}{
		"no system name":        {header: map[string]string{"Vipps-System-Name": ""}, status: 400, code: "invalid_request", text: "Vipps-System-Name is missing"},
		"no system version":     {header: map[string]string{"Vipps-System-Version": ""}, status: 400, code: "invalid_request", text: "Vipps-System-Version is missing"},
		"no plugin name":        {header: map[string]string{"Vipps-System-Plugin-Name": ""}, status: 400, code: "invalid_request", text: "Vipps-System-Plugin-Name is missing"},
		"no plugin version":     {header: map[string]string{"Vipps-System-Plugin-Version": ""}, status: 400, code: "invalid_request", text: "Vipps-System-Plugin-Version is missing"},
		"31 characters":         {header: map[string]string{"Vipps-System-Name": "1234567890123456789012345678901"}, status: 400, code: "invalid_request", text: "longer than 30"},
		"no content type":       {header: map[string]string{"Content-Type": ""}, status: 400, code: "invalid_request", text: "Content-Type"},
		"JSON":                  {header: map[string]string{"Content-Type": "application/json"}, status: 400, code: "invalid_request", text: "Content-Type"},
		"no authorization":      {header: map[string]string{"Authorization": ""}, status: 401, code: "invalid_client", text: "Authorization header is required"},
		"unknown scheme":        {header: map[string]string{"Authorization": "Digest abc"}, status: 401, code: "invalid_client", text: "Authorization header is required"},
		"unknown token":         {header: map[string]string{"Authorization": "Bearer abc"}, status: 401, code: "invalid_client", text: "not a valid partner access token"},
		"no MSN":                {header: map[string]string{"Merchant-Serial-Number": ""}, status: 403, code: "forbidden", text: "not connected"},
		"unknown MSN":           {header: map[string]string{"Merchant-Serial-Number": "999999"}, status: 403, code: "forbidden", text: "not connected"},
		"another merchant":      {header: map[string]string{"Merchant-Serial-Number": "234567"}, status: 400, code: "invalid_grant", text: "another merchant"},
		"partner keys in Basic": {header: map[string]string{"Authorization": basic("partner-id", "partner-secret")}, status: 401, code: "invalid_client", text: "Partner keys do not work"},
		"client_secret_post":    {form: map[string]string{"client_id": "partner-id", "client_secret": "partner-secret"}, status: 401, code: "invalid_client", text: "client_secret_post"},
		"no grant_type":         {form: map[string]string{"grant_type": ""}, status: 400, code: "invalid_request", text: "grant_type is missing"},
		"unknown grant_type":    {form: map[string]string{"grant_type": "refresh_token"}, status: 400, code: "unsupported_grant_type"},
		"no code":               {form: map[string]string{"code": ""}, status: 400, code: "invalid_request", text: "code is missing"},
		"unknown code":          {form: map[string]string{"code": "abc"}, status: 400, code: "invalid_grant", text: "unknown"},
		"no redirect_uri":       {form: map[string]string{"redirect_uri": ""}, status: 400, code: "invalid_request", text: "redirect_uri is missing"},
		"another redirect_uri":  {form: map[string]string{"redirect_uri": shopCallback + "/"}, status: 400, code: "invalid_grant", text: "redirect_uri"},
		"no code_verifier":      {form: map[string]string{"code_verifier": ""}, status: 400, code: "invalid_grant", text: "code_verifier is missing"},
		"another code_verifier": {form: map[string]string{"code_verifier": verifier + "x"}, status: 400, code: "invalid_grant", text: "does not belong"},
		"challenge as verifier": {form: map[string]string{"code_verifier": challenge256}, status: 400, code: "invalid_grant", text: "does not belong"},
		"repeated parameter":    {more: "&code=abc", status: 400, code: "invalid_request", text: "code is there more than once"},
		"unreadable form":       {more: "&a=%zz", status: 400, code: "invalid_request", text: "not a readable form"},
		"parameters in the URL": {form: map[string]string{"code": ""}, status: 400, code: "invalid_request", text: "code is missing"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code := w.code(shopLogin(), kari)
			body := form(with(exchange(code), test.form)) + test.more
			target := tokenPath
			if name == "parameters in the URL" {
				target += "?code=" + code
			}
			a := w.do("POST", target, body, with(w.partnerCall(), test.header))
			a.wantError(t, test.status, test.code, test.text)
		})
	}
}

func TestCodeWorksOnce(t *testing.T) {
	w := newWorld(t)
	body := form(exchange(w.code(shopLogin(), kari)))
	if a := w.do("POST", tokenPath, body, w.partnerCall()); a.status != 200 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	w.do("POST", tokenPath, body, w.partnerCall()).wantError(t, 400, "invalid_grant", "used before")
}

// A failed exchange spends the code as well: nobody tries verifiers.
func TestFailedExchangeSpendsTheCode(t *testing.T) {
	w := newWorld(t)
	code := w.code(shopLogin(), kari)
	wrong := form(with(exchange(code), map[string]string{"code_verifier": challenge256}))
	w.do("POST", tokenPath, wrong, w.partnerCall()).wantError(t, 400, "invalid_grant", "does not belong")
	w.do("POST", tokenPath, form(exchange(code)), w.partnerCall()).wantError(t, 400, "invalid_grant", "used before")
}

func TestPKCE(t *testing.T) {
	w := newWorld(t)
	none := map[string]string{"code_challenge": "", "code_challenge_method": ""}
	plain := map[string]string{"code_challenge": verifier, "code_challenge_method": ""}
	tests := map[string]struct {
		login    map[string]string
		verifier string
		status   int
	}{
		"S256":                           {nil, verifier, 200},
		"plain":                          {plain, verifier, 200},
		"plain, wrong":                   {plain, verifier + "x", 400},
		"none":                           {none, "", 200},
		"verifier without any challenge": {none, verifier, 400},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code := w.code(with(shopLogin(), test.login), kari)
			body := form(with(exchange(code), map[string]string{"code_verifier": test.verifier}))
			if a := w.do("POST", tokenPath, body, w.partnerCall()); a.status != test.status {
				t.Errorf("status %d, want %d: %s", a.status, test.status, a.body)
			}
		})
	}
}

// The gym has keys of its own, with characters that RFC 6749, section 2.3.1,
// wants encoded inside the Basic header.
func TestOwnKeys(t *testing.T) {
	w := newWorld(t)
	gym := map[string]string{"client_id": "gym:id", "redirect_uri": gymCallback}
	tests := map[string]struct {
		header map[string]string
		status int
		text   string
	}{
		"own keys":             {map[string]string{"Authorization": basic("gym:id", "gym secret%+")}, 200, ""},
		"with its MSN":         {map[string]string{"Authorization": basic("gym:id", "gym secret%+"), "Merchant-Serial-Number": "234567"}, 200, ""},
		"another's MSN":        {map[string]string{"Authorization": basic("gym:id", "gym secret%+"), "Merchant-Serial-Number": "123456"}, 401, "another merchant's"},
		"wrong secret":         {map[string]string{"Authorization": basic("gym:id", "x")}, 401, "not a sales unit's"},
		"no secret":            {map[string]string{"Authorization": basic("gym:id", "")}, 401, "not a sales unit's"},
		"unknown client":       {map[string]string{"Authorization": basic("x", "gym secret%+")}, 401, "not a sales unit's"},
		"shop has none":        {map[string]string{"Authorization": basic("shop-id", "")}, 401, "not a sales unit's"},
		"not encoded":          {map[string]string{"Authorization": "Basic Z3ltOmlkOmd5bSBzZWNyZXQlKw=="}, 401, "not a sales unit's"}, // its client_id holds the separator
		"not base64":           {map[string]string{"Authorization": "Basic ???"}, 401, "cannot be read"},
		"no colon":             {map[string]string{"Authorization": "Basic eA=="}, 401, "cannot be read"},
		"subscription allowed": {map[string]string{"Authorization": basic("gym:id", "gym secret%+"), "Ocp-Apim-Subscription-Key": "x"}, 200, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code := w.code(with(shopLogin(), gym), kari)
			header := with(with(systemHeaderValues(), formHeaders), test.header)
			a := w.do("POST", tokenPath, form(with(exchange(code), map[string]string{"redirect_uri": gymCallback})), header)
			if test.status == 200 {
				if a.status != 200 {
					t.Errorf("got %d %s", a.status, a.body)
				}
				return
			}
			a.wantError(t, test.status, "invalid_client", test.text)
		})
	}
}

// Two Authorization headers: which one counts is not for a server to guess.
func TestTwoAuthorizationHeaders(t *testing.T) {
	w := newWorld(t)
	token := w.partnerToken()
	r := loopbackRequest("POST", tokenPath, form(exchange(w.code(shopLogin(), kari))))
	for name, value := range w.partnerCall() {
		r.Header.Set(name, value)
	}
	r.Header.Add("Authorization", "Bearer "+token)
	recorder := record(w.sim, r)
	if recorder.Code != 401 {
		t.Errorf("got %d %s", recorder.Code, recorder.Body)
	}
}
