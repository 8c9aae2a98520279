package simulator

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// newWorldChanged is a world whose config a test has changed.
func newWorldChanged(t *testing.T, change func(*Config)) *world {
	t.Helper()
	config := phoneConfig()
	change(&config)
	return newWorldWith(t, config)
}

// TestSimulatedRefusals: what was seen at the real API, and what is documented, in its shape.
func TestSimulatedRefusals(t *testing.T) {
	w := newWorldChanged(t, func(c *Config) {
		c.Users = append(DefaultUsers(), User{Name: "Closed Account", PhoneNumber: "4740000009", Closed: true})
	})
	for name, test := range map[string]struct {
		hint, code, errorCode, text string
	}{
		"unknown":          {"urn:msisdn:4799999999", "unknown_user_id", "", "at least 15 years old"},
		"closed":           {"urn:msisdn:4740000009", "invalid_user", "", ""},
		"old app":          {"urn:msisdn:" + gerd, "access_denied", "old_app", ""},
		"another country":  {"urn:msisdn:4930123456", "invalid_request", "", "urn:msisdn:46|45|47|358|299"},
		"Greenland, short": {"urn:msisdn:29912345", "invalid_request", "", "urn:msisdn:"},
		"Greenland":        {"urn:msisdn:299123456", "unknown_user_id", "", ""},
		"expired token":    {"urn:customer-token:expired-1", "expired_login_hint_token", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.backchannel(with(shopPhone(), map[string]string{"login_hint": test.hint}))
			a.wantError(t, 400, test.code, test.text)
			if got, _ := a.json(t)["error_code"].(string); got != test.errorCode {
				t.Errorf("error_code %q, want %q", got, test.errorCode)
			}
		})
	}
	for hint, want := range map[string]string{"4712345678": `{"exists":true}`, "4740000009": `{"exists":false}`, "4799999999": `{"exists":false}`, "493012345678": `{"exists":false}`} {
		a := w.do("POST", userExistsPath, form(map[string]string{"login_hint": hintPhoneNumber + hint}), w.partnerCall())
		if strings.TrimSpace(a.body) != want {
			t.Errorf("%s: %s", hint, a.body)
		}
	}
}

// TestSimulatedForbidden: 403 wherever a call is for a sales unit that the partner may not act for, or that has no Login.
func TestSimulatedForbidden(t *testing.T) {
	w := newWorldChanged(t, func(c *Config) {
		c.Merchants = append(c.Merchants,
			Merchant{MSN: "345678", RedirectURIs: []string{shopCallback}, WithoutLogin: true},
			Merchant{MSN: "456789", RedirectURIs: []string{shopCallback}, Inactive: true})
	})
	for _, msn := range []string{"345678", "456789", "999999", ""} {
		for path, fields := range map[string]map[string]string{tokenPath: exchange("x"), backchannelPath: shopPhone(), userExistsPath: {"login_hint": hintPhoneNumber + kari}} {
			w.do("POST", path, form(fields), with(w.partnerCall(), map[string]string{"Merchant-Serial-Number": msn})).wantError(t, 403, "forbidden", "")
		}
		if msn == "" {
			continue
		}
		if a := w.do("GET", authorizePath+"?"+form(with(shopLogin(), map[string]string{"client_id": "", "msn": msn})), "", nil); a.status != 400 {
			t.Errorf("%s at the login page: %d", msn, a.status)
		}
	}
}

// TestFlowResult comes at the first login, and once more when the merchant has changed what it asks.
func TestFlowResult(t *testing.T) {
	w := newWorld(t)
	asked := func() any { return w.claimsFor(kari, "openid customFlow")["flowResult"] }
	first, _ := json.Marshal(asked())
	if !strings.Contains(string(first), `"id":"cf_accept_terms"`) || !strings.Contains(string(first), `"screens":[{`) {
		t.Errorf("the first login: %s", first)
	}
	if asked() != nil {
		t.Error("there again")
	}
	w.sim.ChangeFlow("234567")
	if asked() != nil {
		t.Error("there again, since another merchant has changed its own")
	}
	w.sim.ChangeFlow("123456")
	if asked() == nil {
		t.Error("not there after a change")
	}
}

// TestBasicForms: a secret that is written one way is another one in the other.
func TestBasicForms(t *testing.T) {
	const secret = "a+b%2Fc="
	raw := "Basic " + base64.StdEncoding.EncodeToString([]byte("gym-id:"+secret))
	for form, accepts := range map[string]struct{ raw, encoded bool }{"": {true, true}, "any": {true, true}, "raw": {true, false}, "encoded": {false, true}} {
		w := newWorldChanged(t, func(c *Config) {
			c.BasicForm, c.Merchants[1].ClientID, c.Merchants[1].ClientSecret = form, "gym-id", secret
		})
		for header, want := range map[string]bool{raw: accepts.raw, basic("gym-id", secret): accepts.encoded} {
			a := w.do("POST", userExistsPath, "login_hint=urn:msisdn:"+kari, with(with(systemHeaderValues(), formHeaders), map[string]string{"Authorization": header}))
			if (a.status == 200) != want || a.status != 200 && a.status != 401 {
				t.Errorf("%q: %s is answered %d", form, header, a.status)
			}
		}
	}
}

// claimsOf reads the claims of an ID token.
func claimsOf(t *testing.T, idToken any) map[string]any {
	t.Helper()
	text, _ := idToken.(string)
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWS", text)
	}
	plain, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(plain, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestPhoneIDTokenForms: the names and types of the claims that no published sample agrees on.
func TestPhoneIDTokenForms(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		check  func(claims map[string]any) bool
	}{
		"default": {func(*Config) {}, func(c map[string]any) bool { return c["auth_req_id"] != nil && c["msn"] == "123456" }},
		"authReqId": {func(c *Config) { c.PhoneRequestID = "authReqId" }, func(c map[string]any) bool {
			return c["authReqId"] != nil && c["auth_req_id"] == nil
		}},
		"a number": {func(c *Config) { c.PhoneMSN = "number" }, func(c map[string]any) bool { return c["msn"] == 123456.0 }},
		"no msn":   {func(c *Config) { c.PhoneMSN = "none" }, func(c map[string]any) bool { _, has := c["msn"]; return !has && c["nonce"] != nil }},
		"sparse": {func(c *Config) { c.PhoneIDToken = "sparse" }, func(c map[string]any) bool {
			return len(c) == 6 && c["authReqId"] != nil && c["aud"] != nil && c["sub"] != nil && c["iss"] != nil && c["exp"] != nil && c["iat"] != nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldChanged(t, test.change)
			id := w.startPhone(shopPhone())
			w.answerPhone(id, true)
			if claims := claimsOf(t, w.poll(id).json(t)["id_token"]); !test.check(claims) {
				t.Errorf("claims %v", claims)
			}
			if claims := claimsOf(t, w.login(shopLogin(), kari)["id_token"]); claims["msn"] != "123456" || claims["nonce"] != "nonce-1" {
				t.Errorf("in the browser: %v", claims)
			}
		})
	}
}

// TestHydra: what ORY Hydra does, each by its switch.
func TestHydra(t *testing.T) {
	w := newWorldChanged(t, func(c *Config) { c.Hydra = hydraManners })
	for _, path := range []string{discoveryPath, jwksPath} {
		if got := w.do("GET", path, "", nil).header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
			t.Errorf("%s: Cache-Control %q", path, got)
		}
	}
	a := w.do("GET", authorizePath+"?"+form(with(shopLogin(), map[string]string{"redirect_uri": shopCallback + "/"})), "", nil)
	if a.status != http.StatusFound || a.location.Path != failedPath || a.location.Query().Get("error") != "invalid_request" {
		t.Errorf("a wrong redirect URI: %d %v", a.status, a.location)
	}
	if page := w.do("GET", a.location.RequestURI(), "", nil); page.status != 200 || !strings.Contains(page.body, "not registered") {
		t.Errorf("the error page: %d %s", page.status, page.body)
	}

	// Two tabs: the cookie of the last one is the only one that is good.
	first := w.do("GET", authorizePath+"?"+form(shopLogin()), "", nil)
	second := w.do("GET", authorizePath+"?"+form(shopLogin()), "", nil)
	answer := func(page answer) answer {
		cookie, _, _ := strings.Cut(second.header.Get("Set-Cookie"), ";")
		return w.do("POST", consentPath, form(map[string]string{"transaction": transactionField.FindStringSubmatch(page.body)[1], "answer": "approve", "user": kari}),
			with(formHeaders, map[string]string{"Cookie": cookie}))
	}
	if a := answer(first); a.location.Query().Get("error") != "request_forbidden" {
		t.Errorf("the first tab: %v", a.location)
	}
	code := answer(second).location.Query().Get("code")

	// A rotation between the approval and the exchange.
	before := w.sim.keys.list()[0].kid
	w.sim.RotateKey()
	token := w.do("POST", tokenPath, form(exchange(code)), w.partnerCall()).json(t)
	header, _ := base64.RawURLEncoding.DecodeString(strings.Split(token["id_token"].(string), ".")[0])
	if !strings.Contains(string(header), before) {
		t.Errorf("the kid is another one: %s", header)
	}
	if info := w.userinfo(token["access_token"].(string)); info["iss"] == nil || info["aud"] == nil || info["auth_time"] == nil || info["rat"] == nil {
		t.Errorf("userinfo: %v", info)
	}

	// A code that comes twice takes the first access token with it (RFC 6749, section 4.1.2).
	w.do("POST", tokenPath, form(exchange(code)), w.partnerCall()).wantError(t, 400, "invalid_grant", "")
	w.do("GET", userinfoPath, "", with(systemHeaderValues(), map[string]string{"Authorization": "Bearer " + token["access_token"].(string)})).wantError(t, 401, "request_unauthorized", "")
}

// TestManagement: the partner's sales units.
func TestManagement(t *testing.T) {
	w := newWorldChanged(t, func(c *Config) {
		c.Merchants = append(c.Merchants, Merchant{MSN: "456789", RedirectURIs: []string{shopCallback}, Inactive: true})
	})
	keys := with(w.partnerCall(), map[string]string{"Merchant-Serial-Number": "", "Ocp-Apim-Subscription-Key": "partner-subscription"})
	a := w.do("GET", salesUnitsPath, "", keys)
	if want := `[{"msn":123456,"name":"Shop <A>"},{"msn":234567,"name":"Merchant 234567"}]`; a.status != 200 || strings.TrimSpace(a.body) != want {
		t.Errorf("%d %s", a.status, a.body)
	}
	details := w.do("GET", salesUnitsPath+"/123456", "", keys).json(t)
	business, _ := details["businessIdentifier"].(map[string]any)
	if details["msn"] != "123456" || details["name"] != "Shop <A>" || business["scheme"] != "business:NO:ORG" {
		t.Errorf("details: %v", details)
	}
	a = w.do("GET", merchantsPath+"/business:NO:ORG/"+business["id"].(string)+"/sales-units", "", keys)
	if !strings.Contains(a.body, `"msn":123456`) || strings.Contains(a.body, "234567") {
		t.Errorf("of one merchant: %s", a.body)
	}
	w.do("GET", salesUnitsPath+"/456789", "", keys).wantError(t, 404, "not_found", "not connected")
	w.do("GET", salesUnitsPath, "", with(keys, map[string]string{"Ocp-Apim-Subscription-Key": ""})).wantError(t, 401, "invalid_client", "Subscription-Key")
	w.do("GET", salesUnitsPath, "", with(keys, map[string]string{"Authorization": "Bearer x"})).wantError(t, 401, "invalid_client", "")
	w.do("GET", salesUnitsPath, "", with(keys, map[string]string{"Vipps-System-Name": ""})).wantError(t, 400, "invalid_request", "Vipps-System-Name")
}

// TestRegisteredWebhooks: pings go where the sales unit's and the partner's registrations say, each signed with its secret; one
// that fails for two weeks is deleted.
func TestRegisteredWebhooks(t *testing.T) {
	w := newWorldChanged(t, func(*Config) {})
	var pinged []*http.Request
	status := http.StatusOK
	till := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		pinged = append(pinged, r)
		rw.WriteHeader(status)
	}))
	defer till.Close()
	partner := with(w.partnerCall(), map[string]string{"Merchant-Serial-Number": "", "Ocp-Apim-Subscription-Key": "partner-subscription", "Content-Type": "application/json"})
	unit := with(partner, map[string]string{"Merchant-Serial-Number": "123456"})
	register := func(path string, keys map[string]string) map[string]any {
		t.Helper()
		a := w.do("POST", webhooksPath, `{"url":"`+till.URL+path+`","events":["`+pingEvent+`"]}`, keys)
		if a.status != http.StatusCreated || a.json(t)["secret"] == "" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return a.json(t)
	}
	ofPartner, ofUnit := register("/partner", partner), register("/unit", unit)
	id := w.startPhone(shopPhone())
	w.answerPhone(id, true)
	if err := w.sim.PingPhone(id); err != nil || len(pinged) != 2 {
		t.Fatalf("%v, %d pings", err, len(pinged))
	}
	for i, secret := range []any{ofPartner["secret"], ofUnit["secret"]} {
		got := pinged[i]
		body, _ := io.ReadAll(got.Body)
		date, _ := http.ParseTime(got.Header.Get("X-Ms-Date"))
		signed, _ := http.NewRequest(http.MethodPost, till.URL+got.URL.Path, nil)
		SignPing(signed, body, secret.(string), date)
		if signed.Header.Get("Authorization") != got.Header.Get("Authorization") {
			t.Errorf("%s is signed with another secret", got.URL.Path)
		}
	}
	if a := w.do("GET", webhooksPath, "", unit); !strings.Contains(a.body, "/unit") || strings.Contains(a.body, "/partner") || strings.Contains(a.body, "secret") {
		t.Errorf("the sales unit's: %s", a.body)
	}
	w.do("DELETE", webhooksPath+"/"+ofUnit["id"].(string), "", partner).wantError(t, 404, "not_found", "")
	if a := w.do("DELETE", webhooksPath+"/"+ofUnit["id"].(string), "", unit); a.status != http.StatusNoContent {
		t.Errorf("deleted: %d", a.status)
	}
	w.do("POST", webhooksPath, `{"url":"https://shop.example.no/","events":["x"]}`, partner).wantError(t, 400, "invalid_request", "this machine")
	w.do("POST", webhooksPath, `{}`, partner).wantError(t, 400, "invalid_request", "url and events")
	w.do("GET", webhooksPath, "", with(partner, map[string]string{"Merchant-Serial-Number": "999999"})).wantError(t, 403, "forbidden", "")
	for range maxRegistrations - 1 {
		register("/more", partner)
	}
	w.do("POST", webhooksPath, `{"url":"`+till.URL+`","events":["`+pingEvent+`"]}`, partner).wantError(t, 400, "invalid_request", "25 registrations")

	status = http.StatusUnauthorized
	if err := w.sim.PingPhone(id); err == nil {
		t.Error("a refused ping is no error")
	}
}

// TestWebhookIsDeleted after two weeks in which no ping was taken.
func TestWebhookIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(phoneConfig())
		if err != nil {
			t.Fatal(err)
		}
		g := &registration{ID: "1", Events: []string{pingEvent}}
		s.registered = append(s.registered, g)
		all := func(*registration) bool { return true }
		s.note(g, false)
		time.Sleep(13 * 24 * time.Hour)
		s.note(g, true)
		s.note(g, false)
		time.Sleep(deletedAfter - time.Second)
		s.note(g, false)
		if len(s.registrations(all)) != 1 {
			t.Fatal("deleted too soon")
		}
		time.Sleep(time.Second)
		if len(s.registrations(all)) != 0 {
			t.Error("not deleted")
		}
	})
}

// TestConsentTold: a revoked consent is told in each form, unsigned, and the user is asked again at the next login.
func TestConsentTold(t *testing.T) {
	for form, dots := range map[string]int{"": 1, "two": 1, "two_dot": 2, "three": 2} {
		var told string
		var contentType string
		site := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			told, contentType = string(body), r.Header.Get("Content-Type")
		}))
		defer site.Close()
		w := newWorldChanged(t, func(c *Config) {
			c.ConsentJWT, c.Merchants[0].ConsentURL = form, site.URL+"/vipps/webhook?secret=x"
		})
		if w.claimsFor(kari, "openid customFlow")["flowResult"] == nil {
			t.Fatal("not asked at the first login")
		}
		if err := w.sim.RevokeConsent("123456", kari); err != nil {
			t.Fatal(err)
		}
		if strings.Count(told, ".") != dots || strings.HasSuffix(told, ".") != (form == "two_dot") || contentType != "text/plain" {
			t.Errorf("%q: told %s %s", form, contentType, told)
		}
		plain, _ := base64.RawURLEncoding.DecodeString(strings.Split(told, ".")[1])
		if !strings.Contains(string(plain), `"event":"CONSENT_REVOKED"`) {
			t.Errorf("told %s", plain)
		}
		if w.claimsFor(kari, "openid customFlow")["flowResult"] == nil {
			t.Error("not asked again")
		}
		if err := w.sim.RevokeConsent("234567", kari); err == nil {
			t.Error("told to nobody")
		}
		if a := w.do("POST", revokePath, "msn=123456&user="+kari, formHeaders); a.status != 200 {
			t.Errorf("the form: %d %s", a.status, a.body)
		}
	}
}

// TestBrandDay: one name at a time, and Vipps alone from 12 January 2027 on.
func TestBrandDay(t *testing.T) {
	before := brandDay.Add(-time.Second)
	for market, want := range map[string]string{"NO": "Vipps", "SE": "Vipps", "DK": "MobilePay", "FI": "MobilePay", "": "Vipps or MobilePay"} {
		if got := brandOf(market, before).Name; got != want {
			t.Errorf("%s before: %s", market, got)
		}
		if got := brandOf(market, brandDay).Name; got != "Vipps" {
			t.Errorf("%s after: %s", market, got)
		}
	}
}
