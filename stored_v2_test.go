package vippslogin

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
)

// TestStoredAsked: sessions and logins that remember what was asked for, as they were sealed when they began to.
func TestStoredAsked(t *testing.T) {
	content, err := os.ReadFile("testdata/stored/v2.json")
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
	want := login.Asked{Scopes: session.ScopesOf("openid", "email", "urn:other"), Confirmed: true, StepUp: true}
	for name, got := range map[string]func() (*login.Login, bool){
		"cookie": func() (*login.Login, bool) { return login.Open(keys.Login, stored.Login, storedHost, storedMSN) },
		"state":  func() (*login.Login, bool) { return login.Open(keys.State, stored.State, storedHost, storedMSN) },
	} {
		l, ok := got()
		if !ok || l.Asked != want || l.ReturnTo != "/wine/?x=1#y" || !l.Started.Equal(storedAt) || l.Verifier != base64.RawURLEncoding.EncodeToString([]byte("a-verifier-that-has-32-bytes-yes")) {
			t.Errorf("%s: %+v", name, l)
		}
	}
}
