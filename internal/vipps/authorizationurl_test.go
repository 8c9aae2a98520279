package vipps

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
)

// FuzzAuthorizationURL: whatever the values are, each is a parameter of its own, and comes back as it was.
func FuzzAuthorizationURL(f *testing.F) {
	f.Add("https://api.vipps.no/access-management-1.0/access/oauth2/auth", "123456", "https://shop.example.no/vipps/callback", "openid name", "NO", "verifier")
	f.Add("http://127.0.0.1/auth?x=1", "123456", "https://shop.example.no:8443/a b+c%20&msn=654321#f", "openid\x00\nådal ;=?", "", "")
	f.Add("http://127.0.0.1/auth", "", "\xff\xfe", "+", "&", strings.Repeat("a", 2000))
	f.Fuzz(func(t *testing.T, endpoint, msn, redirectURI, scope, market, verifier string) {
		if u, err := url.Parse(endpoint); err != nil || u.Opaque != "" || strings.ContainsAny(endpoint, "#;") {
			return // no endpoint of a discovery document
		}
		for _, client := range []string{"", "client"} {
			a := AuthorizationRequest{
				Unit: &merchant.Unit{ClientID: client, ClientSecret: client, Market: market}, MSN: msn, RedirectURI: redirectURI,
				State: redirectURI + scope, Nonce: scope, Verifier: verifier, Scope: "openid " + scope, AppAuth: market != "", AnyBrowser: msn != "",
			}
			checkURL(t, a, endpoint, a.URL(endpoint))
		}
	})
}

// checkURL compares an address with what it was made of, as net/url reads it.
func checkURL(t *testing.T, a AuthorizationRequest, endpoint, address string) {
	t.Helper()
	got, err := url.Parse(address)
	if err != nil {
		t.Fatalf("%q: %v", address, err)
	}
	want, _ := url.Parse(endpoint)
	values, had := got.Query(), want.Query()
	parameters := expectedParameters(a)
	for name, value := range parameters {
		if all := values[name]; len(all) != 1+len(had[name]) || all[len(all)-1] != value {
			t.Errorf("%s is %q, want %q: %q", name, all, value, address)
		}
	}
	for name := range values {
		if _, ok := parameters[name]; !ok && had[name] == nil {
			t.Errorf("there is also %q: %q", name, address)
		}
	}
	if got.Host != want.Host || got.Path != want.Path || got.Fragment != "" {
		t.Errorf("it goes to %q, not to %q", address, endpoint)
	}
}

func expectedParameters(a AuthorizationRequest) map[string]string {
	hash := sha256.Sum256([]byte(a.Verifier))
	parameters := map[string]string{
		"response_type": "code", "scope": a.Scope, "state": a.State, "nonce": a.Nonce, "redirect_uri": a.RedirectURI,
		"code_challenge": base64.RawURLEncoding.EncodeToString(hash[:]), "code_challenge_method": "S256",
	}
	if a.Unit.HasOwnKeys() {
		parameters["client_id"] = a.Unit.ClientID
	} else {
		parameters["msn"] = a.MSN
	}
	if a.Unit.Market != "" {
		parameters["market"] = a.Unit.Market
	}
	if a.AppAuth {
		parameters["acr_values"] = idtoken.ACRAppAuth
	}
	if a.AnyBrowser {
		parameters["requested_flow"] = "automatic_return_from_vipps_app"
	}
	return parameters
}
