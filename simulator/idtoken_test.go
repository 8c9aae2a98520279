package simulator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// verified checks an ID token against the published key set and returns its
// header and claims.
func (w *world) verified(token string) (header, claims map[string]any) {
	w.t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		w.t.Fatalf("not a JWS: %s", token)
	}
	decode := func(text string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			w.t.Fatal(err)
		}
		return b
	}
	for i, target := range []*map[string]any{&header, &claims} {
		if err := json.Unmarshal(decode(parts[i]), target); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, k := range w.do("GET", jwksPath, "", nil).json(w.t)["keys"].([]any) {
		key := k.(map[string]any)
		if key["kid"] != header["kid"] {
			continue
		}
		number := func(name string) *big.Int { return new(big.Int).SetBytes(decode(key[name].(string))) }
		hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		signature := decode(parts[2])
		if key["alg"] != header["alg"] {
			w.t.Fatalf("key %v with header %v", key, header)
		}
		if key["kty"] == "EC" {
			wantES256(w.t, decode(key["x"].(string)), decode(key["y"].(string)), hash[:], signature)
			return header, claims
		}
		public := &rsa.PublicKey{N: number("n"), E: int(number("e").Int64())}
		if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, hash[:], signature); err != nil {
			w.t.Fatal(err)
		}
		return header, claims
	}
	w.t.Fatalf("no key %v", header["kid"])
	return nil, nil
}

func wantES256(t *testing.T, x, y, hash, signature []byte) {
	t.Helper()
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil || len(signature) != 64 {
		t.Fatalf("%v, signature of %d bytes", err, len(signature))
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(public, hash, r, s) {
		t.Fatal("the ES256 signature is wrong")
	}
}

func TestIDToken(t *testing.T) {
	w := newWorld(t)
	answer := w.login(shopLogin(), kari)
	header, claims := w.verified(answer["id_token"].(string))
	if header["alg"] != "RS256" || header["typ"] != "JWT" || !strings.HasPrefix(header["kid"].(string), "public:") {
		t.Errorf("header %v", header)
	}
	hash := sha256.Sum256([]byte(answer["access_token"].(string)))
	for name, want := range map[string]any{
		"iss": w.base + "/access-management-1.0/access/", "aud": []any{"shop-id"}, "msn": "123456",
		"nonce": "nonce-1", "at_hash": base64.RawURLEncoding.EncodeToString(hash[:16]), "acr": nil,
	} {
		if !reflect.DeepEqual(claims[name], want) {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	now := float64(time.Now().Unix())
	for _, name := range []string{"iat", "auth_time", "rat"} {
		if at, _ := claims[name].(float64); at < now-60 || at > now {
			t.Errorf("%s is %v, want about %v", name, claims[name], now)
		}
	}
	if exp, _ := claims["exp"].(float64); exp != claims["iat"].(float64)+3600 {
		t.Errorf("exp is %v, want an hour after iat", claims["exp"])
	}
	for _, name := range []string{"sub", "jti", "sid"} {
		if text, _ := claims[name].(string); len(text) != 36 {
			t.Errorf("%s is %v, want a UUID", name, claims[name])
		}
	}
	if info := w.userinfo(answer["access_token"].(string)); info["sub"] != claims["sub"] || info["sid"] != claims["sid"] {
		t.Errorf("userinfo has another sub or sid: %v", info)
	}
}

// Vipps gives an empty nonce where none was sent, and acr where it was asked.
func TestNonceAndACR(t *testing.T) {
	w := newWorld(t)
	params := with(shopLogin(), map[string]string{"nonce": "", "acr_values": acrAppAuth})
	_, claims := w.verified(w.login(params, kari)["id_token"].(string))
	if nonce, there := claims["nonce"]; !there || nonce != "" {
		t.Errorf("nonce is %v, want an empty string", nonce)
	}
	if claims["acr"] != acrAppAuth {
		t.Errorf("acr is %v", claims["acr"])
	}
}

// sub is pairwise, and the same at every login and in every run.
func TestSub(t *testing.T) {
	w := newWorld(t)
	sub := func(merchant, user string) string {
		return login{merchant: w.sim.merchantByMSN(merchant), user: w.sim.userByPhone(user)}.sub()
	}
	seen := map[string]bool{sub("123456", kari): true, sub("234567", kari): true, sub("123456", bjorn): true}
	if len(seen) != 3 {
		t.Errorf("two merchants and two users share a sub: %v", seen)
	}
	_, claims := w.verified(newWorldLogin(w))
	if claims["sub"] != sub("123456", kari) {
		t.Errorf("got %v, want %v", claims["sub"], sub("123456", kari))
	}
	if got := newWorld(t).sim; sub("123456", kari) != (login{merchant: got.merchants[0], user: got.users[0]}).sub() {
		t.Error("another simulator has another sub")
	}
}

func newWorldLogin(w *world) string { return w.login(shopLogin(), kari)["id_token"].(string) }

func TestRotateKey(t *testing.T) {
	w := newWorld(t)
	before := newWorldLogin(w)
	header, _ := w.verified(before)
	w.sim.RotateKey()
	after, _ := w.verified(newWorldLogin(w))
	if after["kid"] == header["kid"] {
		t.Error("the same kid after the rotation")
	}
	w.verified(before) // its key is still published
	w.sim.RotateKey()
	keys := w.do("GET", jwksPath, "", nil).json(t)["keys"].([]any)
	if len(keys) != 2 {
		t.Errorf("%d keys, want the current one and the one before", len(keys))
	}
	for _, key := range keys {
		if key.(map[string]any)["kid"] == header["kid"] {
			t.Error("a key of two rotations ago is still published")
		}
	}
}

func TestFaults(t *testing.T) {
	w := newWorld(t)
	w.sim.SetFaults(Faults{
		IDToken:  func(_, claims map[string]any) { claims["msn"] = "999999" },
		Userinfo: func(claims map[string]any) { delete(claims, "sub") },
	})
	answer := w.login(shopLogin(), kari)
	if _, claims := w.verified(answer["id_token"].(string)); claims["msn"] != "999999" {
		t.Errorf("msn is %v", claims["msn"])
	}
	if info := w.userinfo(answer["access_token"].(string)); info["sub"] != nil {
		t.Errorf("sub is %v", info["sub"])
	}
}
