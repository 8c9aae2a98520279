package examples_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// verifiers returns the command of each language. What has to be compiled is.
func verifiers(t *testing.T) map[string][]string {
	t.Helper()
	folder := t.TempDir()
	for _, build := range [][]string{
		{"javac", "-d", folder, "assertion/java/Assertion.java"},
		{"go", "build", "-o", filepath.Join(folder, "check"), "./assertion/go"},
	} {
		if out, err := exec.Command(build[0], build[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", build, out)
		}
	}
	return map[string][]string{
		"Python": {"/usr/bin/python3", "assertion/python/assertion.py"}, // Debian's, which has Debian's packages
		"Node":   {"node", "assertion/node/assertion.js"},
		"Go":     {filepath.Join(folder, "check")},
		"PHP":    {"php", "assertion/php/assertion.php"},
		"Java":   {"java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", folder, "Assertion"},
	}
}

// showing is a site behind the Caddy, which shows the assertion that it gets.
func showing(t *testing.T) (address string) {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Vipps-Assertion"), " ", r.Header.Get("X-Vipps-Sub"))
	}))
	t.Cleanup(site.Close)
	return strings.TrimPrefix(site.URL, "http://")
}

// TestAssertion: each verifier takes what a real Caddy has signed, and refuses everything else.
func TestAssertion(t *testing.T) {
	const shop, gym = "shop.example.no", "gym.example.no"
	commands := verifiers(t) // first: an assertion lives for a minute, and compiling takes longer on a busy machine
	e := start(t, setup{
		folder: "assertion", hosts: map[string]string{shop: "123456", gym: "234567"},
		swaps: map[string]string{"127.0.0.1:8000": showing(t), "127.0.0.1:8001": showing(t)},
	})
	b := e.browser()
	proof := func(host string) (token, sub string) {
		token, sub, _ = strings.Cut(b.login(e.url(host, "/"), kari).body, " ")
		return token, sub
	}
	token, sub := proof(shop)
	others, _ := proof(gym)
	origin := e.url(shop, "")
	published := b.open(e.url(shop, "/vipps/jwks.json")).body

	// A key of our own beside the published ones makes what a Caddy never would sign.
	own, jwk := newKey(t)
	stranger, _ := newKey(t)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, strings.Replace(published, `{"keys":[`, `{"keys":[`+jwk+",", 1))
	}))
	t.Cleanup(keys.Close)
	sign := func(key *ecdsa.PrivateKey, change func(header map[string]any, claims jwt.MapClaims)) string {
		now := time.Now()
		claims := jwt.MapClaims{"iss": origin, "aud": origin, "sub": "somebody", "msn": "123456", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": "x"}
		token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
		token.Header["kid"] = "own"
		change(token.Header, claims)
		signed, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	with := func(name string, value any) string {
		return sign(own, func(_ map[string]any, claims jwt.MapClaims) { claims[name] = value })
	}
	good := map[string]string{token: sub, with("x", "y"): "somebody"}
	bad := map[string]string{
		"none at all": "", "no JWT": "made-up", "another merchant's": others, "cut": token[:len(token)-4],
		"another audience": with("aud", "https://elsewhere.example"), "another issuer": with("iss", "https://elsewhere.example"), "another msn": with("msn", "234567"),
		"expired": with("exp", time.Now().Add(-2*time.Minute).Unix()), "for ever": with("exp", nil), "nobody's": with("sub", nil), "about nobody": with("sub", ""),
		"another key":     sign(stranger, func(map[string]any, jwt.MapClaims) {}),
		"an unknown kid":  sign(own, func(header map[string]any, _ jwt.MapClaims) { header["kid"] = "unknown" }),
		"no kid":          sign(stranger, func(header map[string]any, _ jwt.MapClaims) { delete(header, "kid") }),
		"none":            unsigned(token, "none"),
		"a HMAC":          hmacOf(t, token, published),
		"other claims":    swapped(token, with("x", "y")),
		"NONE":            unsigned(token, "NONE"),
		"another's claim": swapped(with("x", "y"), token),
	}
	for name, command := range commands {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := func(token string) (string, error) {
				c := exec.Command(command[0], append(command[1:], keys.URL, origin, "123456")...)
				c.Stdin = strings.NewReader(token)
				out, err := c.CombinedOutput()
				return strings.TrimSpace(string(out)), err
			}
			for token, want := range good {
				if got, err := check(token); got != want || err != nil {
					t.Errorf("%s, %v, want %s", got, err, want)
				}
			}
			for what, token := range bad {
				if got, err := check(token); err == nil || !strings.HasPrefix(got, "refused") {
					t.Errorf("%s: %s, %v", what, got, err)
				}
			}
		})
	}
}

func newKey(t *testing.T) (key *ecdsa.PrivateKey, jwk string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	content, err := json.Marshal(map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "own", "x": encode(point[1:33]), "y": encode(point[33:])})
	if err != nil {
		t.Fatal(err)
	}
	return key, string(content)
}

// unsigned is the token with another algorithm and no signature.
func unsigned(token, alg string) string {
	parts := strings.Split(token, ".")
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(header), "ES256", alg, 1))) + "." + parts[1] + "."
}

// hmacOf is the token signed with what is public, for a verifier that takes the algorithm from the token (CVE-2015-9235).
func hmacOf(t *testing.T, token, published string) string {
	t.Helper()
	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, claims)
	if err != nil {
		t.Fatal(err)
	}
	forged := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	forged.Header["kid"] = parsed.Header["kid"]
	signed, err := forged.SignedString([]byte(published))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// swapped is the token with the claims of another.
func swapped(token, other string) string {
	parts, others := strings.Split(token, "."), strings.Split(other, ".")
	return parts[0] + "." + others[1] + "." + parts[2]
}
