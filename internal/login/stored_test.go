package login

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// stored is what an earlier version of this code has sealed, with sealtest.Secret, for shop.example.no and MSN 123456. It is
// in browsers and in storage, and every later version must be able to open it.
type stored struct {
	Session, LargeSession []string // cookie values
	LastUse               string
	Login, State          string
}

func readStored(t *testing.T) stored { return readStoredBy(t, "v1") }

// readStoredBy returns what a version has sealed.
func readStoredBy(t *testing.T, version string) (s stored) {
	t.Helper()
	content, err := os.ReadFile("../../testdata/stored/" + version + ".json")
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
	l, ok := Open(keys.Login, s.Login, storedHost, storedMSN)
	want := &Login{ID: base64.RawURLEncoding.EncodeToString([]byte("login-id-of-16-b")), Started: storedAt,
		Nonce:    base64.RawURLEncoding.EncodeToString([]byte("nonce-of-16-byte")),
		Verifier: base64.RawURLEncoding.EncodeToString([]byte("a-verifier-that-has-32-bytes-yes")), ReturnTo: "/account?x=1#y"}
	if !ok || !l.Started.Equal(want.Started) || l.ID != want.ID || l.Nonce != want.Nonce || l.Verifier != want.Verifier || l.ReturnTo != want.ReturnTo {
		t.Errorf("in a cookie: %+v", l)
	}
	for _, version := range []string{"v1", "v4"} { // with zeros for the secrets, and without them
		l, ok = Open(keys.State, readStoredBy(t, version).State, storedHost, storedMSN)
		if !ok || !l.Started.Equal(want.Started) || l.ID != want.ID || l.Carried() || l.Nonce != "" || l.ReturnTo != want.ReturnTo {
			t.Errorf("in a state of %s: %+v", version, l)
		}
	}
}

// TestStoredAsked: sessions and logins that remember what was asked for, as they were sealed when they began to.
func TestStoredAsked(t *testing.T) {
	content, err := os.ReadFile("../../testdata/stored/v2.json")
	if err != nil {
		t.Fatal(err)
	}
	var stored struct {
		Session      []string
		Login, State string
	}
	if err := json.Unmarshal(content, &stored); err != nil {
		t.Fatal(err)
	}
	keys := sealtest.Keys(t)
	s, ok := session.Open(keys.Session, stored.Session, storedHost, storedMSN)
	if !ok {
		t.Fatal("the session does not open")
	}
	if names := s.Scopes.Names(); !slices.Equal(names, []string{"openid", "name", "birthDate", "urn:other"}) || !s.InApp || s.Ahead != 3*time.Second ||
		!s.Issued.Equal(storedAt) || !reflect.DeepEqual(s.Claims, storedClaims(t, false)) {
		t.Errorf("session: %v %+v", names, s)
	}
	if wait := s.History().Loops(storedAt.Add(time.Second), false); wait != 9*time.Second || s.History().Loops(storedAt, true) != 0 {
		t.Errorf("the fourth login waits for %s", wait)
	}
	want := Asked{Scopes: session.ScopesOf("openid", "email", "urn:other"), Confirmed: true, StepUp: true}
	for name, got := range map[string]func() (*Login, bool){
		"cookie": func() (*Login, bool) { return Open(keys.Login, stored.Login, storedHost, storedMSN) },
		"state":  func() (*Login, bool) { return Open(keys.State, stored.State, storedHost, storedMSN) },
	} {
		l, ok := got()
		if !ok || l.Asked != want || l.ReturnTo != "/wine/?x=1#y" || !l.Started.Equal(storedAt) || l.Verifier != base64.RawURLEncoding.EncodeToString([]byte("a-verifier-that-has-32-bytes-yes")) {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// TestRequireOfStoredSessions: of a session from before scopes were remembered nothing is known of them: it meets no
// requirement of any. What it says of the login's time and confirmation counts.
func TestRequireOfStoredSessions(t *testing.T) {
	s, ok := session.Open(sealtest.Keys(t).Session, readStored(t).Session, storedHost, storedMSN)
	if !ok {
		t.Fatal("does not open")
	}
	for scope, need := range map[string]session.Need{"name": {Scopes: session.ScopesOf("name")}, "openid": {Scopes: session.ScopesOf("openid")}} {
		if need.Missing(s, storedAt).IsZero() {
			t.Errorf("it has asked for %s", scope)
		}
	}
	need := session.Need{MaxAge: time.Minute, Confirmed: true}
	if got := need.Missing(s, storedAt.Add(59*time.Second)); !got.IsZero() {
		t.Errorf("missing: %+v", got)
	}
	if got := need.Missing(s, storedAt.Add(time.Minute)); got != (session.Need{MaxAge: time.Minute}) {
		t.Errorf("missing: %+v", got)
	}
	if s.History().IsRecent(storedAt) {
		t.Error("it remembers logins")
	}
}

// typicalUserinfo has three addresses, about 1.2 KiB.
const typicalUserinfo = `{"sub":"c06c4afe-d9e1-4c5d-939a-177d752a0944","sid":"7d78a726-af92-499e-b857-de263ef9a969",
"name":"Bjørn Ærlig-Åsen","given_name":"Bjørn","family_name":"Ærlig-Åsen","phone_number":"4712345678","phone_number_verified":true,
"email":"bjorn@example.no","email_verified":true,"birthdate":"1990-05-17",
"address":{"street_address":"Robert Levins gate 5\nH0401","postal_code":"0154","region":"OSLO","country":"NO","formatted":"Robert Levins gate 5\nH0401\n0154 OSLO\nNO","address_type":"home"},
"other_addresses":[{"street_address":"Arbeidsgata 1","postal_code":"0155","region":"OSLO","country":"NO","formatted":"Arbeidsgata 1\n0155 OSLO\nNO","address_type":"work"},
{"street_address":"Hyttevegen 7","postal_code":"2665","region":"LESJA","country":"NO","formatted":"Hyttevegen 7\n2665 LESJA\nNO","address_type":"other"}]}`

// chunkedClaims are those of storedClaims and a text that cannot be compressed: a session with them takes several
// cookies.
func chunkedClaims(t *testing.T) []userinfo.Claim {
	t.Helper()
	text, block := "", sha256.Sum256([]byte("chunks"))
	for range 100 {
		text += base64.RawURLEncoding.EncodeToString(block[:])
		block = sha256.Sum256(block[:])
	}
	return append(storedClaims(t, false), userinfo.NewText("zz", text))
}

// TestStoredInChunks: a session in several cookies, and the mark of a login that was completed (v3).
func TestStoredInChunks(t *testing.T) {
	content, err := os.ReadFile("../../testdata/stored/v3.json")
	if err != nil {
		t.Fatal(err)
	}
	var stored struct {
		Session []string
		Files   map[string][]byte
	}
	if err := json.Unmarshal(content, &stored); err != nil {
		t.Fatal(err)
	}
	s, ok := session.Open(sealtest.Keys(t).Session, stored.Session, storedHost, storedMSN)
	if !ok || len(stored.Session) < 2 || !s.Issued.Equal(storedAt) || !reflect.DeepEqual(s.Claims, chunkedClaims(t)) {
		t.Errorf("%d cookies: %t", len(stored.Session), ok)
	}
	storage := storetest.New()
	storage.Files = stored.Files
	if err := Redeem(t.Context(), store.New(storage), "bG9naW4taWQtb2YtMTYtYg", time.Now()); !errors.Is(err, ErrRedeemed) {
		t.Errorf("a login that was completed before: %v", err)
	}
}
