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

// FuzzAuthorizationURL: whatever the values are, each comes back as it was, once, and by its own name. The URL is built by hand,
// so net/url reads it.
func FuzzAuthorizationURL(f *testing.F) {
	f.Add("123456", "openid name", "state", "nonce", "https://shop.example.no/vipps/callback", "verifier", "NO", "")
	f.Add("a+b%20c&d=e;f", "openid  ø æ", "&state=2", "\x00\xff\r\n", "https://x/?a=b#c", strings.Repeat("long", 50), "N&O", "x=y&z=%26")
	f.Add("", " +", "%zz", "~-._", strings.Repeat("/", 2000), "", "", "a=")
	f.Fuzz(func(t *testing.T, id, scope, state, nonce, redirectURI, verifier, market, query string) {
		challenge := sha256.Sum256([]byte(verifier))
		want := url.Values{
			"response_type": {"code"}, "scope": {scope}, "state": {state}, "nonce": {nonce}, "redirect_uri": {redirectURI},
			"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
			"acr_values": {idtoken.ACRAppAuth}, "requested_flow": {"automatic_return_from_vipps_app"},
		}
		if market != "" {
			want["market"] = []string{market}
		}
		for _, unit := range []*merchant.Unit{{Market: market, Scope: scope}, {Market: market, Scope: scope, ClientID: id, ClientSecret: "secret"}} {
			name := "msn"
			if unit.HasOwnKeys() {
				name = "client_id"
			}
			delete(want, "msn")
			delete(want, "client_id")
			want[name] = []string{id}
			given := AuthorizationRequest{Unit: unit, MSN: id, RedirectURI: redirectURI, State: state, Nonce: nonce, Verifier: verifier, AppAuth: true, AnyBrowser: true}
			for _, endpoint := range []string{"https://api.example/auth", "https://api.example/auth?", "https://api.example/auth?own=" + url.QueryEscape(query)} {
				checkAuthorizationURL(t, endpoint, given.URL(endpoint), query, want)
			}
		}
	})
}

// checkAuthorizationURL checks that an authorization URL has these values and the endpoint's own, and is made of printable ASCII.
func checkAuthorizationURL(t *testing.T, endpoint, got, query string, want url.Values) {
	u, err := url.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Host != "api.example" || u.Path != "/auth" || u.Fragment != "" {
		t.Fatalf("%q: %v", got, err)
	}
	if strings.Contains(endpoint, "own=") {
		if !values.Has("own") || values.Get("own") != query {
			t.Errorf("%q: the endpoint's own parameter is %q", got, values.Get("own"))
		}
		values.Del("own")
	}
	if values.Encode() != want.Encode() {
		t.Errorf("%q: got %v, want %v", got, values, want)
	}
	if added := strings.TrimPrefix(got, endpoint); strings.ContainsFunc(added, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' }) {
		t.Errorf("%q has a character that is to be encoded", added)
	}
}
