package vippslogin

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
)

// stored is what an earlier version of this code has sealed, with sealtest.Secret, for shop.example.no and MSN 123456. It is
// in browsers and in storage, and every later version must be able to open it.
type stored struct {
	Session, LargeSession []string // cookie values
	LastUse               string
	Login, State          string
}

func readStored(t *testing.T) (s stored) {
	t.Helper()
	content, err := os.ReadFile("testdata/stored/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	storedHost, storedMSN = "shop.example.no", "123456"
)

var storedAt = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// storedClaims are the claims of the sessions: those of typicalUserinfo, and what makes the large one large.
func storedClaims(t *testing.T, large bool) []userinfo.Claim {
	t.Helper()
	claims, err := userinfo.Parse([]byte(typicalUserinfo))
	if err != nil {
		t.Fatal(err)
	}
	if large {
		text := ""
		for i := range 800 {
			text += string(rune('a'+i%26)) + "æø"
		}
		claims = append(claims, userinfo.NewText("zz", text))
	}
	return claims
}

func TestStoredSessions(t *testing.T) {
	s, keys := readStored(t), sealtest.Keys(t)
	for large, values := range map[bool][]string{false: s.Session, true: s.LargeSession} {
		got, ok := session.Open(keys.Session, values, storedHost, storedMSN)
		if !ok {
			t.Fatalf("large %t: does not open", large)
		}
		if !got.Issued.Equal(storedAt) || !got.Ends.Equal(storedAt.Add(12*time.Hour)) || !got.Seen.Equal(storedAt) || !got.InApp ||
			got.IDText() != "c2Vzc2lvbi0wMTIz"[:16] || !reflect.DeepEqual(got.Claims, storedClaims(t, large)) {
			t.Errorf("large %t: %+v", large, got)
		}
	}
	sealed, err := base64.RawURLEncoding.DecodeString(s.LastUse)
	if err != nil {
		t.Fatal(err)
	}
	plain, ok := keys.Seen.Open(sealed, seal.Context(storedHost, storedMSN, "c2Vzc2lvbi0wMTIz"[:16]))
	if !ok || !session.TimeAt(plain).Equal(storedAt.Add(time.Hour)) {
		t.Errorf("last use: %v", plain)
	}
}

func TestStoredLogins(t *testing.T) {
	s, keys := readStored(t), sealtest.Keys(t)
	l, ok := login.Open(keys.Login, s.Login, storedHost, storedMSN)
	want := &login.Login{ID: base64.RawURLEncoding.EncodeToString([]byte("login-id-of-16-b")), Started: storedAt,
		Nonce:    base64.RawURLEncoding.EncodeToString([]byte("nonce-of-16-byte")),
		Verifier: base64.RawURLEncoding.EncodeToString([]byte("a-verifier-that-has-32-bytes-yes")), ReturnTo: "/account?x=1#y"}
	if !ok || !l.Started.Equal(want.Started) || l.ID != want.ID || l.Nonce != want.Nonce || l.Verifier != want.Verifier || l.ReturnTo != want.ReturnTo {
		t.Errorf("in a cookie: %+v", l)
	}
	l, ok = login.Open(keys.State, s.State, storedHost, storedMSN)
	if !ok || l.ID != want.ID || l.Carried() || l.ReturnTo != want.ReturnTo {
		t.Errorf("in a state: %+v", l)
	}
}
