package simulator

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// claimsFor logs user in at the shop with the given scopes.
func (w *world) claimsFor(user, scope string) map[string]any {
	w.t.Helper()
	answer := w.login(with(shopLogin(), map[string]string{"scope": scope}), user)
	claims := w.userinfo(answer["access_token"].(string))
	delete(claims, "sub")
	delete(claims, "sid")
	return claims
}

func TestClaimsByScope(t *testing.T) {
	w := newWorld(t)
	tests := []struct{ user, scope, want string }{
		{kari, "openid", `{}`},
		{kari, "openid name", `{"name":"Kari Nordmann","given_name":"Kari","family_name":"Nordmann"}`},
		{ola, "openid name", `{"name":"Ola Uten Adresse","given_name":"Ola Uten","family_name":"Adresse"}`},
		{kari, "openid phoneNumber", `{"phone_number":"4712345678","phone_number_verified":true}`},
		{bjorn, "openid email", `{"email":"bjørn@ærlig-åsen.example.no","email_verified":true}`},
		{kari, "openid birthDate gender", `{"birthdate":"1990-05-17","gender":"female"}`},
		{kari, "openid nin", `{"nin":"17059000000"}`},
		{ola, "openid nin", `{}`},
		{ola, "openid address", `{"address":{"street_address":"","postal_code":"","region":"","country":"","address_type":"","formatted":""},
			"other_addresses":[]}`},
		{bjorn, "openid address", `{
			"address":{"street_address":"Øvre Blåbærstien 7\nBolig H0203","postal_code":"9008","region":"TROMSØ","country":"NO","address_type":"home",
				"formatted":"Øvre Blåbærstien 7\nBolig H0203\n9008\nTROMSØ\nNO"},
			"other_addresses":[
				{"street_address":"Sjøgata 12","postal_code":"9405","region":"HARSTAD","country":"NO","address_type":"work","formatted":"Sjøgata 12\n9405\nHARSTAD\nNO"},
				{"street_address":"c/o Åse Ærlig, Bryggen 3","postal_code":"5003","region":"BERGEN","country":"NO","address_type":"other",
					"formatted":"c/o Åse Ærlig, Bryggen 3\n5003\nBERGEN\nNO"}]}`},
	}
	for _, test := range tests {
		t.Run(test.user+" "+test.scope, func(t *testing.T) {
			var want map[string]any
			if err := json.Unmarshal([]byte(test.want), &want); err != nil {
				t.Fatal(err)
			}
			if got := w.claimsFor(test.user, test.scope); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// A scope outside the merchant's plan is dropped without an error, and one that
// is there twice counts once.
func TestScopeOutsideThePlan(t *testing.T) {
	w := newWorld(t)
	params := with(shopLogin(), map[string]string{
		"client_id": "gym:id", "redirect_uri": gymCallback, "scope": "openid name nin phoneNumber name",
	})
	header := with(with(systemHeaderValues(), formHeaders), map[string]string{"Authorization": basic("gym:id", "gym secret%+")})
	body := form(with(exchange(w.code(params, kari)), map[string]string{"redirect_uri": gymCallback}))
	answer := w.do("POST", tokenPath, body, header).json(t)
	if answer["scope"] != "openid name" {
		t.Errorf("scope is %v", answer["scope"])
	}
	claims := w.userinfo(answer["access_token"].(string))
	if claims["name"] != "Kari Nordmann" || claims["nin"] != nil || claims["phone_number"] != nil {
		t.Errorf("got %v", claims)
	}
}

// delegatedConsents come at the first login at a merchant, and can be read
// twice then.
func TestDelegatedConsents(t *testing.T) {
	w := newWorld(t)
	params := with(shopLogin(), map[string]string{"scope": "openid delegatedConsents"})
	token := w.login(params, kari)["access_token"].(string)
	for range 2 {
		consents, _ := w.userinfo(token)["delegatedConsents"].(map[string]any)
		text, err := json.Marshal(consents)
		if err != nil || len(text) < 3<<10 || len(consents["consents"].([]any)) == 0 {
			t.Errorf("got %d bytes, want several KiB: %s", len(text), text)
		}
	}
	if got := w.claimsFor(kari, "openid delegatedConsents"); got["delegatedConsents"] != nil {
		t.Error("there again at the second login")
	}
	if got := w.claimsFor(bjorn, "openid delegatedConsents"); got["delegatedConsents"] == nil {
		t.Error("not there at another user's first login")
	}
}

func TestUserinfoRefusals(t *testing.T) {
	w := newWorld(t)
	token := w.login(shopLogin(), kari)["access_token"].(string)
	tests := map[string]struct {
		header map[string]string
		status int
		code   string
		text   string
	}{
		"subscription key":      {map[string]string{"Ocp-Apim-Subscription-Key": "partner-subscription"}, 401, "invalid_request", "must not be sent"},
		"partner token":         {map[string]string{"Authorization": "Bearer " + w.partnerToken()}, 401, "request_unauthorized", "not the access token"},
		"unknown token":         {map[string]string{"Authorization": "Bearer abc"}, 401, "request_unauthorized", "not the access token"},
		"no token":              {map[string]string{"Authorization": ""}, 401, "request_unauthorized", "is required"},
		"Basic":                 {map[string]string{"Authorization": basic("gym:id", "gym secret%+")}, 401, "request_unauthorized", "is required"},
		"no plugin version":     {map[string]string{"Vipps-System-Plugin-Version": ""}, 400, "invalid_request", "Vipps-System-Plugin-Version is missing"},
		"31 characters of name": {map[string]string{"Vipps-System-Name": strings.Repeat("å", 31)}, 400, "invalid_request", "longer than 30"},
	}
	good := with(systemHeaderValues(), map[string]string{"Authorization": "Bearer " + token})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w.do("GET", userinfoPath, "", with(good, test.header)).wantError(t, test.status, test.code, test.text)
		})
	}
	if a := w.do("GET", userinfoPath, "", with(good, map[string]string{"Vipps-System-Name": strings.Repeat("å", 30)})); a.status != 200 {
		t.Errorf("30 characters: %d %s", a.status, a.body)
	}
}
