package vipps

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	gocache "github.com/patrickmn/go-cache"
	"golang.org/x/time/rate"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

var (
	rsaKey, _   = rsa.GenerateKey(rand.Reader, 2048)
	otherKey, _ = rsa.GenerateKey(rand.Reader, 2048)
	ecKey, _    = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
)

// testKeys is a key set that was read from JSON, as the real one is, and that cannot be fetched anew.
type testKeys struct{ set *keySet }

func (k testKeys) VerificationKey(ctx context.Context, token *jwt.Token, newer bool) (any, error) {
	client := &Client{rotations: rate.NewLimiter(0, 0), misfits: rate.NewLimiter(0, 0)}
	client.KeySet = cached[*keySet]{name: "keys", lasting: true, cache: gocache.New(gocache.NoExpiration, 0), closed: ctx}
	client.KeySet.store(cachedValue[*keySet]{value: k.set, expires: time.Now().Add(time.Minute)})
	return client.VerificationKey(ctx, token, newer)
}

func newTestKeySet(t testing.TB) testKeys {
	t.Helper()
	var answer jwkset.JWKSMarshal
	for _, key := range []struct {
		public any
		meta   jwkset.JWKMetadataOptions
	}{
		{&rsaKey.PublicKey, jwkset.JWKMetadataOptions{KID: "rsa", ALG: jwkset.AlgRS256, USE: jwkset.UseSig}},
		{&rsaKey.PublicKey, jwkset.JWKMetadataOptions{KID: "rsa-any"}},
		{&rsaKey.PublicKey, jwkset.JWKMetadataOptions{KID: "rsa-enc", USE: jwkset.UseEnc}},
		{&ecKey.PublicKey, jwkset.JWKMetadataOptions{KID: "ec", ALG: jwkset.AlgES256, USE: jwkset.UseSig}},
	} {
		jwk, err := jwkset.NewJWKFromKey(key.public, jwkset.JWKOptions{Metadata: key.meta})
		if err != nil {
			t.Fatal(err)
		}
		answer.Keys = append(answer.Keys, jwk.Marshal())
	}
	answer.Keys = append(answer.Keys, jwkset.JWKMarshal{KTY: "unknown", KID: "strange"})
	set, err := newKeySet(context.Background(), answer)
	if err != nil {
		t.Fatal(err)
	}
	return testKeys{set}
}

const testIssuer = "https://api.vipps.no/access-management-1.0/access/"

var wantToken = idtoken.Expectation{Issuer: testIssuer, MSN: "123456", Nonce: "the-nonce", AccessToken: "the-access-token"}

func goodClaims() jwt.MapClaims {
	now := time.Now().Unix()
	return jwt.MapClaims{
		"iss": testIssuer, "sub": "the-sub", "aud": []string{"merchant-client"}, "exp": now + 3600, "iat": now, "auth_time": now,
		"nonce": "the-nonce", "msn": "123456", "at_hash": atHash("the-access-token"),
	}
}

func atHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func sign(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	maps.Copy(token.Header, header)
	raw, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestIDTokenAccepted(t *testing.T) {
	keys := newTestKeySet(t)
	change := func(changes map[string]any) jwt.MapClaims {
		claims := goodClaims()
		for name, value := range changes {
			if value == nil {
				delete(claims, name)
				continue
			}
			claims[name] = value
		}
		return claims
	}
	own := wantToken
	own.ClientID = "merchant-client"
	appAuth := wantToken
	appAuth.AppAuth = true
	for name, test := range map[string]struct {
		raw  string
		want idtoken.Expectation
	}{
		"RS256":                 {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, goodClaims()), wantToken},
		"RS256, key for any":    {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa-any"}, goodClaims()), wantToken},
		"ES256":                 {sign(t, jwt.SigningMethodES256, ecKey, map[string]any{"kid": "ec"}, goodClaims()), wantToken},
		"no at_hash":            {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, change(map[string]any{"at_hash": nil})), wantToken},
		"clock 50 s ahead":      {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, change(map[string]any{"iat": time.Now().Unix() + 50})), wantToken},
		"clock 50 s behind":     {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, change(map[string]any{"exp": time.Now().Unix() - 50})), wantToken},
		"own keys, one aud":     {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, change(map[string]any{"aud": "merchant-client"})), own},
		"own keys, several aud": {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, change(map[string]any{"aud": []string{"x", "merchant-client"}, "azp": "merchant-client"})), own},
		"acr":                   {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, change(map[string]any{"acr": idtoken.ACRAppAuth})), appAuth},
	} {
		t.Run(name, func(t *testing.T) {
			if sub, err := idtoken.Check(t.Context(), test.raw, keys, test.want); err != nil || sub != "the-sub" {
				t.Errorf("got %q, %v", sub, err)
			}
		})
	}
}

func TestIDTokenRefused(t *testing.T) {
	keys := newTestKeySet(t)
	now := time.Now().Unix()
	publicDER, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	rs := func(claims jwt.MapClaims) string {
		return sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, claims)
	}
	with := func(name string, value any) jwt.MapClaims {
		claims := goodClaims()
		claims[name] = value
		return claims
	}
	without := func(name string) jwt.MapClaims {
		claims := goodClaims()
		delete(claims, name)
		return claims
	}
	good := rs(goodClaims())
	parts := strings.Split(good, ".")
	own := wantToken
	own.ClientID = "my-client"
	ownAZP := wantToken
	ownAZP.ClientID = "merchant-client"
	appAuth := wantToken
	appAuth.AppAuth = true
	ownKey := map[string]any{"kid": "rsa", "jwk": map[string]any{"kty": "RSA"}, "jku": "https://evil.example/", "x5u": "https://evil.example/"}

	for name, test := range map[string]struct {
		raw  string
		want idtoken.Expectation
		err  error
	}{
		"alg none":               {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"kid": "rsa"}, goodClaims()), wantToken, idtoken.ErrSignature},
		"no signature":           {parts[0] + "." + parts[1] + ".", wantToken, idtoken.ErrSignature},
		"HMAC with the RSA key":  {sign(t, jwt.SigningMethodHS256, publicDER, map[string]any{"kid": "rsa"}, goodClaims()), wantToken, idtoken.ErrSignature},
		"HMAC, key for any":      {sign(t, jwt.SigningMethodHS256, publicDER, map[string]any{"kid": "rsa-any"}, goodClaims()), wantToken, idtoken.ErrSignature},
		"RS512":                  {sign(t, jwt.SigningMethodRS512, rsaKey, map[string]any{"kid": "rsa-any"}, goodClaims()), wantToken, idtoken.ErrSignature},
		"ES256 with the RSA kid": {sign(t, jwt.SigningMethodES256, ecKey, map[string]any{"kid": "rsa-any"}, goodClaims()), wantToken, idtoken.ErrSignature},
		"alg of another key":     {sign(t, jwt.SigningMethodES256, ecKey, map[string]any{"kid": "rsa"}, goodClaims()), wantToken, idtoken.ErrKey},
		"another key":            {sign(t, jwt.SigningMethodRS256, otherKey, map[string]any{"kid": "rsa"}, goodClaims()), wantToken, idtoken.ErrSignature},
		"key in the header":      {sign(t, jwt.SigningMethodRS256, otherKey, ownKey, goodClaims()), wantToken, idtoken.ErrSignature},
		"key for encryption":     {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa-enc"}, goodClaims()), wantToken, idtoken.ErrKey},
		"unknown kid":            {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "x"}, goodClaims()), wantToken, idtoken.ErrKey},
		"no kid":                 {sign(t, jwt.SigningMethodRS256, rsaKey, nil, goodClaims()), wantToken, idtoken.ErrKey},
		"kid is a number":        {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": 7}, goodClaims()), wantToken, idtoken.ErrKey},
		"crit":                   {sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa", "crit": []string{"b64"}, "b64": false}, goodClaims()), wantToken, idtoken.ErrCritical},
		"altered claims":         {parts[0] + "." + parts[1][:len(parts[1])-4] + "AAAA." + parts[2], wantToken, idtoken.ErrSignature},
		"empty":                  {"", wantToken, idtoken.ErrSignature},
		"dots":                   {"..", wantToken, idtoken.ErrSignature},
		"four parts":             {good + ".x", wantToken, idtoken.ErrSignature},
		"1 MiB":                  {good + strings.Repeat("A", 1<<20), wantToken, idtoken.ErrSize},

		"another issuer":        {rs(with("iss", "https://apitest.vipps.no/access-management-1.0/access/")), wantToken, idtoken.ErrIssuer},
		"issuer without slash":  {rs(with("iss", strings.TrimSuffix(testIssuer, "/"))), wantToken, idtoken.ErrIssuer},
		"no issuer":             {rs(without("iss")), wantToken, idtoken.ErrMissing},
		"issuer is a list":      {rs(with("iss", []string{testIssuer})), wantToken, idtoken.WrongTypeError{Claim: "iss"}},
		"expired":               {rs(with("exp", now-90)), wantToken, idtoken.ErrExpired},
		"no exp":                {rs(without("exp")), wantToken, idtoken.ErrMissing},
		"exp is a string":       {rs(with("exp", "tomorrow")), wantToken, idtoken.WrongTypeError{Claim: "exp"}},
		"from the future":       {rs(with("iat", now+90)), wantToken, idtoken.ErrTime},
		"no iat":                {rs(without("iat")), wantToken, idtoken.ErrTime},
		"not yet valid":         {rs(with("nbf", now+90)), wantToken, idtoken.ErrTime},
		"another merchant":      {rs(with("msn", "654321")), wantToken, idtoken.ErrMSN},
		"no msn":                {rs(without("msn")), wantToken, idtoken.ErrNoMSN},
		"msn null":              {rs(with("msn", nil)), wantToken, idtoken.ErrNoMSN},
		"msn is a number":       {rs(with("msn", 123456)), wantToken, idtoken.WrongTypeError{Claim: "msn"}},
		"msn is a list":         {rs(with("msn", []string{"123456"})), wantToken, idtoken.WrongTypeError{Claim: "msn"}},
		"msn with spaces":       {rs(with("msn", " 123456")), wantToken, idtoken.ErrMSN},
		"msn longer":            {rs(with("msn", "1234567")), wantToken, idtoken.ErrMSN},
		"another nonce":         {rs(with("nonce", "another")), wantToken, idtoken.ErrNonce},
		"empty nonce":           {rs(with("nonce", "")), wantToken, idtoken.ErrNonce},
		"no nonce":              {rs(without("nonce")), wantToken, idtoken.ErrNonce},
		"another access token":  {rs(with("at_hash", atHash("another"))), wantToken, idtoken.ErrHash},
		"empty at_hash":         {rs(with("at_hash", "")), wantToken, idtoken.ErrHash},
		"no sub":                {rs(without("sub")), wantToken, idtoken.ErrSubject},
		"empty sub":             {rs(with("sub", "")), wantToken, idtoken.ErrSubject},
		"long sub":              {rs(with("sub", strings.Repeat("x", 256))), wantToken, idtoken.ErrSubject},
		"sub is a number":       {rs(with("sub", 7)), wantToken, idtoken.WrongTypeError{Claim: "sub"}},
		"own keys: another aud": {rs(goodClaims()), own, idtoken.ErrAudience},
		"own keys: no aud":      {rs(without("aud")), own, idtoken.ErrAudience},
		"own keys: another azp": {rs(with("azp", "another")), ownAZP, idtoken.ErrAudience},
		"not in the app":        {rs(goodClaims()), appAuth, idtoken.ErrACR},
		"another acr":           {rs(with("acr", "urn:vipps:acr:other")), appAuth, idtoken.ErrACR},
	} {
		t.Run(name, func(t *testing.T) {
			sub, err := idtoken.Check(t.Context(), test.raw, keys, test.want)
			if sub != "" || !errors.Is(err, test.err) || !errors.Is(err, idtoken.ErrInvalid) {
				t.Errorf("got %q, %v; want %v", sub, err, test.err)
			}
		})
	}
}

func TestUserinfoSub(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"sub":"the-sub"}`: true, `{"sub":"another"}`: false, `{}`: false, `{"sub":null}`: false, `{"sub":["the-sub"]}`: false,
		`{"Sub":"the-sub"}`: false, `{"sub":"the-sub","sub":"another"}`: false,
	} {
		claims, err := userinfo.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := idtoken.CheckSub(claims, "the-sub"); (got == nil) != ok {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func FuzzIDToken(f *testing.F) {
	keys := newTestKeySet(f)
	good := sign(f, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa"}, goodClaims())
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(sign(f, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "rsa-enc"}, goodClaims()))
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := idtoken.Check(t.Context(), raw, keys, wantToken); err == nil && raw != good {
			t.Error("accepted a token that nobody signed")
		}
	})
}

// TestKeySetWithoutKeys is no good answer: the last good one stays.
func TestKeySetWithoutKeys(t *testing.T) {
	for _, answer := range []string{`{}`, `{"keys":[]}`, `{"keys":[{"kty":"RSA"}]}`, `{"keys":[{"kty":"RSA","kid":"x","n":"!","e":"AQAB"}]}`} {
		var set jwkset.JWKSMarshal
		if err := json.Unmarshal([]byte(answer), &set); err != nil {
			t.Fatal(err)
		}
		if _, err := newKeySet(t.Context(), set); err == nil {
			t.Errorf("%s is taken for a key set", answer)
		}
	}
}
