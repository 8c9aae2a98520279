package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"testing"
)

// The ID token is the browser's, with the auth_req_id that started the login,
// whichever way it ends.
func TestIDTokenOfPhoneLogin(t *testing.T) {
	for _, alg := range []string{algRS256, algES256} {
		config := phoneConfig()
		config.PhoneSigningAlg = alg
		w := newWorldWith(t, config)
		for name, fields := range map[string]map[string]string{"app": shopPhone(), "browser": shopPhoneBrowser()} {
			t.Run(alg+" "+name, func(t *testing.T) {
				id := w.startPhone(fields)
				callback := w.answerPhone(id, true)
				a := answer{}
				if callback == "" {
					a = w.poll(id)
				} else {
					a = w.exchangeCallback(callback)
				}
				header, claims := w.verified(a.json(t)["id_token"].(string))
				hash := sha256.Sum256([]byte(a.json(t)["access_token"].(string)))
				for claim, want := range map[string]any{
					"auth_req_id": id, "msn": "123456", "nonce": "nonce-1", "iss": issuer(w.base),
					"at_hash": base64.RawURLEncoding.EncodeToString(hash[:16]),
					"sub":     login{merchant: w.sim.merchants[0], user: w.sim.users[0]}.sub(),
				} {
					if claims[claim] != want {
						t.Errorf("%s is %v, want %v", claim, claims[claim], want)
					}
				}
				if header["alg"] != alg {
					t.Errorf("alg is %v", header["alg"])
				}
			})
		}
	}
}

// Only this flow has the other key and the claim, and without a nonce the
// claim is an empty string.
func TestIDTokensOfBothFlows(t *testing.T) {
	config := phoneConfig()
	config.PhoneSigningAlg = algES256
	w := newWorldWith(t, config)
	header, claims := w.verified(newWorldLogin(w))
	if _, there := claims["auth_req_id"]; there || header["alg"] != algRS256 {
		t.Errorf("the browser's token: %v %v", header, claims)
	}
	id := w.startPhone(with(shopPhone(), map[string]string{"nonce": ""}))
	w.answerPhone(id, true)
	phoneHeader, claims := w.verified(w.poll(id).json(t)["id_token"].(string))
	if nonce, there := claims["nonce"]; !there || nonce != "" {
		t.Errorf("nonce is %v, want an empty string", nonce)
	}
	w.sim.RotateKey()
	keys := map[any]any{}
	for _, k := range w.do("GET", jwksPath, "", nil).json(t)["keys"].([]any) {
		key := k.(map[string]any)
		keys[key["kid"]] = key["kty"]
	}
	if len(keys) != 4 || keys[header["kid"]] != "RSA" || keys[phoneHeader["kid"]] != "EC" {
		t.Errorf("after a rotation the keys are %v", keys)
	}
	if got := w.do("GET", discoveryPath, "", nil).json(t)["id_token_signing_alg_values_supported"]; len(got.([]any)) != 1 {
		t.Errorf("the discovery document lists %v, unlike Vipps", got)
	}
}
