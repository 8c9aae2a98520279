package vipps

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
)

func encode64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// signText signs header and claims as they are spelt here, which no JWT library would write.
func signText(t testing.TB, key *rsa.PrivateKey, header, claims string) string {
	t.Helper()
	signed := encode64(header) + "." + encode64(claims)
	hash := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, hash[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

const rsaHeader = `{"alg":"RS256","kid":"rsa"}`

// TestIDTokenBringsItsOwnKey: what the header says about keys, other than the name of one of Vipps
// MobilePay's, is not looked at (RFC 8725 section 3.10, CVE-2018-0114).
func TestIDTokenBringsItsOwnKey(t *testing.T) {
	keys := newTestKeySet(t)
	public := &otherKey.PublicKey
	jwk := map[string]any{
		"kty": "RSA", "kid": "mine", "use": "sig", "alg": "RS256", "e": "AQAB",
		"n": base64.RawURLEncoding.EncodeToString(public.N.Bytes()),
	}
	for name, header := range map[string]map[string]any{
		"jwk":          {"jwk": jwk},
		"jku":          {"jku": "https://evil.example/jwks.json"},
		"x5u":          {"x5u": "https://evil.example/cert.pem"},
		"x5c":          {"x5c": []string{"MIIB"}},
		"x5t":          {"x5t": "AAAA"},
		"kid as path":  {"kid": "../../../dev/null"},
		"kid as query": {"kid": "x' UNION SELECT 'key"},
		"kid as list":  {"kid": []string{"rsa"}},
		"kid null":     {"kid": nil},
	} {
		for _, kid := range []string{"", "rsa", "mine"} {
			if _, ok := header["kid"]; !ok && kid != "" {
				header["kid"] = kid
			}
			raw := sign(t, jwt.SigningMethodRS256, otherKey, header, goodClaims())
			if sub, err := idtoken.Check(t.Context(), raw, keys, wantToken); sub != "" || !errors.Is(err, idtoken.ErrInvalid) {
				t.Errorf("%s, kid %q: got %q, %v", name, kid, sub, err)
			}
		}
	}
}

// TestIDTokenAlgorithmOfTheKey: a key is good for the one algorithm it is for (RFC 8725 section 3.1), also
// where the token's header is made to say otherwise, and a secret in the key set signs nothing
// (CVE-2015-9235, CVE-2016-10555).
func TestIDTokenAlgorithmOfTheKey(t *testing.T) {
	var answer jwkset.JWKSMarshal
	answer.Keys = append(answer.Keys, newTestKeySet(t).set.marshalled(t)...)
	secret := jwkset.JWKMarshal{KTY: "oct", KID: "secret", ALG: "HS256", K: encode64(strings.Repeat("k", 32))}
	twice, err := jwkset.NewJWKFromKey(&otherKey.PublicKey, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "rsa"}})
	if err != nil {
		t.Fatal(err)
	}
	answer.Keys = append(answer.Keys, secret, twice.Marshal())
	set, err := newKeySet(t.Context(), answer)
	if err != nil {
		t.Fatal(err)
	}
	keys := testKeys{set}
	good := sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, goodClaims())
	if _, err := idtoken.Check(t.Context(), good, keys, wantToken); err != nil {
		t.Errorf("a second key of the same id took the first one's place: %v", err)
	}
	claims := good[strings.IndexByte(good, '.') : strings.LastIndexByte(good, '.')+1]
	signature := good[strings.LastIndexByte(good, '.')+1:]
	for name, raw := range map[string]string{
		"a second key of that id": sign(t, jwt.SigningMethodRS256, otherKey, map[string]any{"kid": "rsa"}, goodClaims()),
		"secret in the key set":   sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("k", 32)), map[string]any{"kid": "secret"}, goodClaims()),
		"PS256":                   sign(t, jwt.SigningMethodPS256, rsaKey, map[string]any{"kid": "rsa-any"}, goodClaims()),
		"RS384":                   sign(t, jwt.SigningMethodRS384, rsaKey, map[string]any{"kid": "rsa-any"}, goodClaims()),
		"EdDSA said":              encode64(`{"alg":"EdDSA","kid":"ec"}`) + claims + signature,
		"no alg":                  encode64(`{"kid":"rsa"}`) + claims + signature,
		"alg null":                encode64(`{"alg":null,"kid":"rsa"}`) + claims + signature,
		"alg is a list":           encode64(`{"alg":["RS256"],"kid":"rsa"}`) + claims + signature,
		"alg in lower case":       encode64(`{"alg":"rs256","kid":"rsa"}`) + claims + signature,
		"NONE":                    encode64(`{"alg":"NoNe","kid":"rsa"}`) + claims,
		"two algs":                encode64(`{"alg":"RS256","kid":"rsa","alg":"none"}`) + claims,
		"ECDSA of zeros":          encode64(`{"alg":"ES256","kid":"ec"}`) + claims + base64.RawURLEncoding.EncodeToString(make([]byte, 64)), // CVE-2022-21449
		"padding":                 good + "==",
		"standard base64":         strings.NewReplacer("-", "+", "_", "/").Replace(good) + "=",
		"header is a list":        encode64(`[]`) + claims + signature,
		"encrypted":               encode64(`{"alg":"RSA-OAEP","enc":"A256GCM","kid":"rsa-enc"}`) + ".a.b.c.d",
		"compressed":              encode64(`{"alg":"RS256","kid":"rsa","zip":"DEF","crit":["zip"]}`) + claims + signature,
		"b64 false":               encode64(`{"alg":"RS256","kid":"rsa","b64":false,"crit":["b64"]}`) + claims + signature,
		"empty crit":              signText(t, rsaKey, `{"alg":"RS256","kid":"rsa","crit":[]}`, string(mustJSON(t, goodClaims()))),
		"crit null":               signText(t, rsaKey, `{"alg":"RS256","kid":"rsa","crit":null}`, string(mustJSON(t, goodClaims()))),
	} {
		t.Run(name, func(t *testing.T) {
			if sub, err := idtoken.Check(t.Context(), raw, keys, wantToken); sub != "" || !errors.Is(err, idtoken.ErrInvalid) {
				t.Errorf("got %q, %v", sub, err)
			}
		})
	}
}

// marshalled returns the keys as the provider's answer has them.
func (s *keySet) marshalled(t *testing.T) []jwkset.JWKMarshal {
	t.Helper()
	all, err := s.keys.Storage().KeyReadAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var keys []jwkset.JWKMarshal
	for _, jwk := range all {
		keys = append(keys, jwk.Marshal())
	}
	return keys
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestIDTokenClaimTypes: each claim that is looked at, with every type that it must not have. A parser
// that takes what it can get is how a number became somebody's msn.
func TestIDTokenClaimTypes(t *testing.T) {
	keys := newTestKeySet(t)
	own, appAuth := wantToken, wantToken
	own.ClientID, appAuth.AppAuth = "merchant-client", true
	phone := wantToken
	phone.Nonce, phone.Phone = "", func(authReqID string) (string, error) {
		if authReqID != "request" {
			return "", idtoken.ErrRequest
		}
		return "the-nonce", nil
	}
	text := []string{`null`, `""`, `" "`, `0`, `7`, `-1`, `1.5`, `1e400`, `true`, `false`, `[]`, `{}`, `[null]`, `{"a":1}`, `[["123456"]]`}
	for _, claim := range []struct {
		name  string
		want  idtoken.Expectation
		wrong []string
	}{
		{"iss", wantToken, append(text, `["`+testIssuer+`"]`, `"`+testIssuer+` "`, `"HTTPS://api.vipps.no/access-management-1.0/access/"`)},
		{"sub", wantToken, []string{`null`, `""`, `7`, `true`, `[]`, `{}`, `["the-sub"]`}},
		{"exp", wantToken, []string{`null`, `""`, `"soon"`, `0`, `-1`, `true`, `[]`, `{}`, `[9999999999]`, `-1e300`, `1e400`, `-9223372036854775808`}},
		{"iat", wantToken, []string{`null`, `""`, `"then"`, `true`, `[]`, `{}`, `9999999999`, `1e400`}},
		{"nbf", wantToken, []string{`""`, `"then"`, `true`, `[]`, `{}`, `9999999999`, `1e400`}},
		{"msn", wantToken, append(text, `123456`, `123456.0`, `["123456"]`, `{"msn":"123456"}`, `"123456 "`, `" 123456"`, `"0123456"`, `"123456\u0000"`, `"１２３４５６"`, `"654321,123456"`)},
		{"nonce", wantToken, append(text, `["the-nonce"]`, `"THE-NONCE"`, `"the-nonce "`)},
		{"at_hash", wantToken, []string{`""`, `7`, `true`, `[]`, `{}`, `["x"]`, `"` + atHash("the-access-token") + `="`, `"` + strings.ToLower(atHash("the-access-token")) + `"`}},
		{"aud", own, append(text, `"merchant"`, `"merchant-client "`, `"x merchant-client"`, `["x","y"]`, `[7,"merchant-client"]`, `{"merchant-client":true}`)},
		{"azp", own, []string{`7`, `true`, `[]`, `{}`, `"another"`, `["merchant-client"]`}},
		{"acr", appAuth, append(text, `["`+idtoken.ACRAppAuth+`"]`, `"`+idtoken.ACRAppAuth+` x"`)},
		{"auth_req_id", phone, append(text, `["request"]`, `"request "`)},
	} {
		for _, value := range claim.wrong {
			claims := goodClaims()
			claims["acr"], claims["auth_req_id"] = idtoken.ACRAppAuth, "request"
			if _, err := idtoken.Check(t.Context(), signText(t, rsaKey, rsaHeader, string(mustJSON(t, claims))), keys, claim.want); err != nil {
				t.Fatalf("%s: the token is refused without a change: %v", claim.name, err)
			}
			delete(claims, claim.name)
			body := strings.TrimSuffix(string(mustJSON(t, claims)), "}") + `,"` + claim.name + `":` + value + "}"
			if sub, err := idtoken.Check(t.Context(), signText(t, rsaKey, rsaHeader, body), keys, claim.want); sub != "" || err == nil {
				t.Errorf("%s %s: accepted", claim.name, value)
			}
		}
	}
}

// TestIDTokenDuplicateClaims: of a claim that stands twice, the last one counts (RFC 7519 section 4), and a
// claim in another spelling is another claim: encoding/json would take "MSN" for "msn".
func TestIDTokenDuplicateClaims(t *testing.T) {
	keys := newTestKeySet(t)
	own := wantToken
	own.ClientID = "merchant-client"
	for _, claim := range []struct {
		name, good, bad string
		want            idtoken.Expectation
	}{
		{"msn", `"123456"`, `"654321"`, wantToken},
		{"nonce", `"the-nonce"`, `"another"`, wantToken},
		{"iss", `"` + testIssuer + `"`, `"https://evil.example/"`, wantToken},
		{"exp", fmt.Sprint(time.Now().Unix() + 3600), `1`, wantToken},
		{"iat", fmt.Sprint(time.Now().Unix()), `9999999999`, wantToken},
		{"at_hash", `"` + atHash("the-access-token") + `"`, `"x"`, wantToken},
		{"sub", `"the-sub"`, `""`, wantToken},
		{"aud", `"merchant-client"`, `"another"`, own},
	} {
		claims := goodClaims()
		delete(claims, claim.name)
		rest := strings.TrimSuffix(string(mustJSON(t, claims)), "}")
		member := func(name, value string) string { return `,"` + name + `":` + value }
		other := strings.ToUpper(claim.name)
		mixed := strings.ToUpper(claim.name[:1]) + claim.name[1:]
		for body, accepted := range map[string]bool{
			rest + member(claim.name, claim.bad) + member(claim.name, claim.good) + "}": true,
			rest + member(claim.name, claim.good) + member(claim.name, claim.bad) + "}": false,
			rest + member(claim.name, claim.bad) + member(other, claim.good) + "}":      false,
			rest + member(other, claim.good) + member(claim.name, claim.bad) + "}":      false,
			rest + member(other, claim.good) + "}":                                      false,
			rest + member(mixed, claim.good) + "}":                                      false,
			rest + `,"nested":{` + member(claim.name, claim.good)[1:] + "}}":            claim.name == "at_hash", // optional
		} {
			sub, err := idtoken.Check(t.Context(), signText(t, rsaKey, rsaHeader, body), keys, claim.want)
			if accepted != (err == nil) && !(claim.name == "at_hash" && !strings.Contains(body, `"at_hash"`)) {
				t.Errorf("%s: got %q, %v", body[len(rest):], sub, err)
			}
		}
	}
	// The last msn counts also where it is null: that is none.
	body := strings.TrimSuffix(string(mustJSON(t, goodClaims())), "}") + `,"msn":null}`
	if _, err := idtoken.Check(t.Context(), signText(t, rsaKey, rsaHeader, body), keys, wantToken); !errors.Is(err, idtoken.ErrNoMSN) {
		t.Errorf("msn, and then msn null: %v", err)
	}
}

// TestIDTokenBombs are refused before they are taken apart (CVE-2025-27144, CVE-2024-28180,
// CVE-2025-30204: the parts of a token of a million dots).
func TestIDTokenBombs(t *testing.T) {
	keys := newTestKeySet(t)
	for name, raw := range map[string]string{
		"dots":          strings.Repeat(".", 1<<20),
		"letters":       strings.Repeat("A", 1<<20),
		"large header":  encode64(`{"alg":"RS256","kid":"`+strings.Repeat("x", 1<<20)+`"}`) + ".e30.x",
		"large claims":  signText(t, rsaKey, rsaHeader, `{"x":"`+strings.Repeat("x", 1<<20)+`"}`),
		"deep claims":   signText(t, rsaKey, rsaHeader, `{"x":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+"}"),
		"deep, allowed": signText(t, rsaKey, rsaHeader, `{"x":`+strings.Repeat("[", 11_000)+strings.Repeat("]", 11_000)+"}"),
		"many claims":   signText(t, rsaKey, rsaHeader, "{"+strings.Repeat(`"a":1,`, 3000)+`"b":1}`),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			if _, err := idtoken.Check(t.Context(), raw, keys, wantToken); !errors.Is(err, idtoken.ErrInvalid) {
				t.Errorf("%v", err)
			}
			runtime.ReadMemStats(&after)
			if took, cost := time.Since(began), after.TotalAlloc-before.TotalAlloc; took > time.Second || cost > 4<<20 {
				t.Errorf("%s and %d bytes for a token of %d", took, cost, len(raw))
			}
		})
	}
}

// TestKeySetsThatDoNotHelp: what an answer of the key endpoint may hold that must not become a key.
func TestKeySetsThatDoNotHelp(t *testing.T) {
	good := newTestKeySet(t).set.marshalled(t)
	for name, key := range map[string]jwkset.JWKMarshal{
		"secret":        {KTY: "oct", KID: "k", K: encode64(strings.Repeat("k", 32))},
		"no kid":        {KTY: "RSA", N: good[0].N, E: good[0].E},
		"small modulus": {KTY: "RSA", KID: "k", N: base64.RawURLEncoding.EncodeToString(big.NewInt(15).Bytes()), E: "AQAB"},
		"exponent 1":    {KTY: "RSA", KID: "k", N: good[0].N, E: "AQ"},
		"not on curve":  {KTY: "EC", KID: "k", CRV: "P-256", X: encode64(strings.Repeat("x", 32)), Y: encode64(strings.Repeat("y", 32))},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := newKeySet(t.Context(), jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{key}})
			if weak := name == "small modulus"; (err == nil) != weak { // that one, crypto/rsa refuses at each use
				t.Errorf("as a key: %v", err)
			}
			if err != nil {
				return // no key of it can be used
			}
			for _, raw := range []string{
				sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("k", 32)), map[string]any{"kid": "k"}, goodClaims()),
				sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": ""}, goodClaims()),
				encode64(`{"alg":"RS256","kid":"k"}`) + "." + encode64(string(mustJSON(t, goodClaims()))) + "." + encode64("\x01"),
				encode64(`{"alg":"ES256","kid":"k"}`) + "." + encode64(string(mustJSON(t, goodClaims()))) + "." + encode64(strings.Repeat("\x01", 64)),
				forgedWithExponentOne(t, key.KID),
			} {
				if _, err := idtoken.Check(context.Background(), raw, testKeys{set}, wantToken); !errors.Is(err, idtoken.ErrInvalid) {
					t.Errorf("%s: %v", raw[:40], err)
				}
			}
		})
	}
}

// forgedWithExponentOne is a token whose signature is its own padded hash: what a public exponent of 1
// makes good, without any private key.
func forgedWithExponentOne(t *testing.T, kid string) string {
	t.Helper()
	signed := encode64(`{"alg":"RS256","kid":"`+kid+`"}`) + "." + encode64(string(mustJSON(t, goodClaims())))
	hash := sha256.Sum256([]byte(signed))
	padded := append([]byte{0, 1}, []byte(strings.Repeat("\xff", 256-3-19-32))...)
	padded = append(append(padded, 0), 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20)
	padded = append(padded, hash[:]...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(padded)
}
