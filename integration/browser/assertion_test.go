package browser_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// publicKeys gets a site's keys, as a site does.
func publicKeys(t *testing.T, b *harness.Browser, shop string) map[string]*ecdsa.PublicKey {
	t.Helper()
	a := b.Get(shop+"/vipps/jwks.json", "Sec-Fetch-Mode: cors", "Origin: https://elsewhere.example").WantStatus(t, http.StatusOK)
	for field, want := range map[string]string{
		"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin", "Content-Type": "application/jwk-set+json",
	} {
		if got := a.Header.Get(field); got != want {
			t.Errorf("%s: %s", field, got)
		}
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(a.Text), &set); err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]*ecdsa.PublicKey)
	for _, key := range set.Keys {
		if key["kty"] != "EC" || key["crv"] != "P-256" || key["alg"] != "ES256" || key["use"] != "sig" || len(key) != 7 {
			t.Errorf("%v", key)
		}
		point := []byte{4} // uncompressed (SEC 1 section 2.3.3)
		for _, name := range []string{"x", "y"} {
			decoded, err := base64.RawURLEncoding.DecodeString(key[name])
			if err != nil || len(decoded) != 32 {
				t.Fatalf("%s: %s", name, key[name])
			}
			point = append(point, decoded...)
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			t.Fatal(err)
		}
		keys[key["kid"]] = public
	}
	return keys
}

// checkAssertion is what a site does.
func checkAssertion(keys map[string]*ecdsa.PublicKey, token, audience, msn string) (jwt.MapClaims, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, claims, func(token *jwt.Token) (any, error) {
		if key := keys[token.Header["kid"].(string)]; key != nil {
			return key, nil
		}
		return nil, jwt.ErrTokenUnverifiable
	}, jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience(audience), jwt.WithIssuer(audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	if err == nil && claims["msn"] != msn {
		err = jwt.ErrTokenInvalidClaims
	}
	return claims, err
}

// TestAssertion: a proof on each request with a session, checked with the published keys, and never the client's own.
func TestAssertion(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	w.Load(strings.Replace(harness.SiteWith("scope openid name email\n\t\tassertion {\n\t\t\tclaims email\n\t\t}"), "vipps_login 123456", "vipps_login /account/* 123456", 1))
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	token := w.Upstream.Last(t).Header.Get("X-Vipps-Assertion")
	keys := publicKeys(t, harness.NewBrowser(t), shop)
	claims, err := checkAssertion(keys, token, shop, "123456")
	if err != nil {
		t.Fatal(err)
	}
	b.Get(shop+"/account/again").WantStatus(t, http.StatusOK)
	again := w.Upstream.Last(t)
	if again.Header.Get("X-Vipps-Assertion") != token {
		t.Error("signed for each request")
	}
	if claims["sub"] != again.Header.Get("X-Vipps-Sub") || claims["email"] != again.Header.Get("X-Vipps-Email") || len(claims) != 8 {
		t.Errorf("%v", claims)
	}
	if life := claims["exp"].(float64) - claims["iat"].(float64); life != 60 {
		t.Errorf("good for %v s", life)
	}
	for _, field := range []string{"X-Vipps-Assertion", "x_vipps_assertion", "X.Vipps.Assertion", "Connection"} {
		value := "made-up"
		if field == "Connection" {
			value = "close, X-Vipps-Assertion"
		}
		harness.NewBrowser(t).Get(shop+"/public", field+": "+value).WantStatus(t, http.StatusOK)
		for name, values := range w.Upstream.Last(t).Header {
			if strings.Contains(strings.ToLower(name), "assertion") {
				t.Errorf("nobody's request has %s: %s", name, values)
			}
		}
		b.Get(shop+"/account/", field+": "+value).WantStatus(t, http.StatusOK)
		r := w.Upstream.Last(t)
		if got := r.Header["X-Vipps-Assertion"]; len(got) != 1 || got[0] != token || r.Header[field] != nil && field != "X-Vipps-Assertion" {
			t.Errorf("beside %s: %s, %v", field, got, r.Header)
		}
	}
	if a := b.Do(newHead(t, shop+"/vipps/jwks.json")); a.StatusCode != http.StatusOK || a.Text != "" {
		t.Errorf("HEAD: %d %s", a.StatusCode, a.Text)
	}
	b.Get(shop+"/vipps/logout").WantStatus(t, http.StatusFound)
	b.Get(shop+"/public").WantStatus(t, http.StatusOK)
	if w.Upstream.Last(t).Header.Get("X-Vipps-Assertion") != "" {
		t.Error("an assertion after the logout")
	}
	w.Load(harness.SiteWith("on_unauthenticated pass"))
	w.Upstream.TakeCount()
	if b.Get(shop + "/vipps/jwks.json"); w.Upstream.Count() != 1 {
		t.Error("without assertion the path is the site's")
	}
}

func newHead(t *testing.T, address string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodHead, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAssertionOfAnother: what is made for one site is no proof at another, nor at another merchant's even where that
// forgets to check whom it is for.
func TestAssertionOfAnother(t *testing.T) {
	w := harness.NewWorld(t)
	shopA, shopB := w.Shop("shop-a.localhost"), w.Shop("shop-b.localhost")
	w.Load(harness.SiteWith("assertion") + strings.ReplaceAll(strings.ReplaceAll(harness.SiteWith("assertion X-Proof {\n\t\t\taudience b\n\t\t}"), "shop-a", "shop-b"), "123456", "234567"))
	b := harness.NewBrowser(t)
	b.Login(shopA+"/", harness.Kari).WantStatus(t, http.StatusOK)
	token := w.Upstream.Last(t).Header.Get("X-Vipps-Assertion")
	b.Login(shopB+"/", harness.Kari).WantStatus(t, http.StatusOK)
	other := w.Upstream.Last(t)
	if claims, err := checkAssertion(publicKeys(t, b, shopB), other.Header.Get("X-Proof"), "b", "234567"); claims["iss"] != shopB || err == nil {
		t.Errorf("%v, %v", claims, err) // its issuer is not its audience
	}
	keys := publicKeys(t, b, shopB)
	if _, err := checkAssertion(keys, token, shopA, "123456"); err == nil {
		t.Error("the keys of another merchant check it")
	}
	if _, err := checkAssertion(publicKeys(t, b, shopA), token, shopB, "123456"); err == nil {
		t.Error("it is good for another site")
	}
	unsigned := strings.Join(strings.Split(token, ".")[:2], ".") + "."
	for name, forged := range map[string]string{"no signature": unsigned, "none": jwtNone(t, token), "nothing": ""} {
		if _, err := checkAssertion(publicKeys(t, b, shopA), forged, shopA, "123456"); err == nil {
			t.Errorf("%s is good", name)
		}
	}
}

func jwtNone(t *testing.T, token string) string {
	t.Helper()
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"x"}`)) + "." + strings.Split(token, ".")[1] + "."
}

// TestAssertionWithoutKeys: where the keys cannot be had, nobody's word stands for the proof: 503, and the site gets no
// request, until storage is back. A key that is known serves meanwhile.
func TestAssertionWithoutKeys(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	w.Load(harness.SiteWith("assertion"))
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	token := w.Upstream.Last(t).Header.Get("X-Vipps-Assertion")
	if err := caddy.Stop(); err != nil { // and with it all that was known
		t.Fatal(err)
	}
	folder := filepath.Join(w.Storage, "vipps_login", "assertion_keys")
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	file := filepath.Join(folder, entries[0].Name())
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil { // what cannot be read
		t.Fatal(err)
	}
	w.Load(harness.SiteWith("assertion"))
	before := w.Upstream.Count()
	b.Get(shop+"/").WantStatus(t, http.StatusServiceUnavailable)
	b.Get(shop+"/vipps/jwks.json").WantStatus(t, http.StatusServiceUnavailable)
	if w.Upstream.Count() != before {
		t.Error("the site got a request without proof")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	if _, err := checkAssertion(publicKeys(t, b, shop), token, shop, "123456"); err != nil {
		t.Error(err)
	}
}

// TestForeignAssertionField: a field outside of the prefix is taken from clients as well, in every spelling.
func TestForeignAssertionField(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	w.Load(harness.SiteWith("on_unauthenticated pass\n\t\tassertion Proof-Of-User"))
	for _, field := range []string{"Proof-Of-User", "proof_of_user", "PROOF.OF.USER"} {
		harness.NewBrowser(t).Get(shop+"/", field+": made-up").WantStatus(t, http.StatusOK)
		for name, values := range w.Upstream.Last(t).Header {
			if strings.HasPrefix(strings.ToLower(name), "proof") {
				t.Errorf("the site gets %s: %s", name, values)
			}
		}
	}
}
