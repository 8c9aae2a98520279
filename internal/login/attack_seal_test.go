package login

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// TestEveryByteOfEveryCookieCounts: chunked and compressed sessions, logins in progress and states, with
// each character replaced, cut off or doubled.
func TestEveryByteOfEveryCookieCounts(t *testing.T) {
	keys := sealtest.Keys(t)
	s := newTestSession(t)
	s.Claims = append(s.Claims, userinfo.NewText("large", base64.StdEncoding.EncodeToString(seal.RandomBytes(5000))))
	values, _ := session.Seal(keys.Session, s, "h", "123456")
	if len(values) < 2 {
		t.Fatalf("%d chunks: this test is about more than one", len(values))
	}
	for i, value := range values {
		for at := range len(value) {
			for _, altered := range []string{flip(value, at), value[:at] + value[at+1:], value[:at] + value[at:at+1] + value[at:]} {
				chunks := slices.Clone(values)
				if chunks[i] = altered; altered == value || len(altered) != len(value) && at%16 != 0 {
					continue
				}
				if _, ok := session.Open(keys.Session, chunks, "h", "123456"); ok {
					t.Fatalf("opened with character %d of chunk %d altered", at, i)
				}
			}
		}
	}
	for purpose, ring := range map[string]seal.Keyring{"login": keys.Login, "state": keys.State} {
		for _, returnTo := range []string{"/somewhere?x=1", "/somewhere?x=12", "/somewhere?x=123"} { // the last character has 6, 4 or 2 bits
			value := Seal(ring, New(returnTo, time.Now()), "h", "123456", MaxState)
			altered := []string{value + "=", value + "A", " " + value, strings.ToLower(value)}
			for at := range len(value) {
				altered = append(altered, flip(value, at), value[:at], value[:at]+value[at+1:], value[:at]+"="+value[at:])
			}
			for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
				altered = append(altered, value[:len(value)-1]+string(last))
			}
			for _, other := range altered {
				if _, ok := Open(ring, other, "h", "123456"); ok && other != value {
					t.Errorf("%s %s: opened as %s", purpose, value, other)
				}
			}
		}
	}
}

// flip replaces one character with another of the alphabet.
func flip(value string, at int) string {
	other := byte('A')
	if value[at] == 'A' {
		other = 'B'
	}
	return value[:at] + string(other) + value[at+1:]
}
func newTestSession(t testing.TB) *session.Session {
	t.Helper()
	claims, err := userinfo.Parse([]byte(typicalUserinfo))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	return session.New(claims, now, 12*time.Hour)
}
