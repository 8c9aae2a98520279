package vippslogin

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOnePurposeIsNoOther: what was sealed for one purpose, host or merchant opens as nothing else
// (CVE-2021-32791 and CVE-2023-35941: one key, and fields joined without separators).
func TestOnePurposeIsNoOther(t *testing.T) {
	keys := newTestKeys(t)
	rings := map[string]keyring{"session": keys.session, "login": keys.login, "state": keys.state, "phone": keys.phone, "revoked": keys.revoked}
	contexts := [][]string{{"shop.example.no", "123456"}, {"shop.example.no", "12345"}, {"shop.example.n", "o123456"}, {"shop.example.no123456"},
		{"shop.example.no", "123456", ""}, {"", "shop.example.no", "123456"}, {"123456", "shop.example.no"}, {"shop-b.example.no", "123456"}, {}}
	opened := 0
	for purpose, ring := range rings {
		for i, context := range contexts {
			sealed := ring.seal([]byte("plain"), sealContext(context...))
			for otherPurpose, other := range rings {
				for j, otherContext := range contexts {
					plain, ok := other.open(slices.Clone(sealed), sealContext(otherContext...))
					if ok != (purpose == otherPurpose && i == j) {
						t.Errorf("%s %q opened as %s %q: %q", purpose, context, otherPurpose, otherContext, plain)
					}
					if ok {
						opened++
					}
				}
			}
		}
	}
	if opened != len(rings)*len(contexts) {
		t.Errorf("%d opened", opened)
	}
	if key, err := deriveKey("test", "secret", "session"); len(key) != 32 { // AES-256 is what a key of this size makes
		t.Errorf("a key of %d bytes, %v", len(key), err)
	}
	// A nonce of its own for each: the same twice looks different, and tells nothing of what it is.
	seen := map[string]bool{}
	for range 1000 {
		seen[string(keys.session.seal([]byte("the same"), nil)[:12])] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d nonces for 1000 seals", len(seen))
	}
}

// TestEveryByteOfEveryCookieCounts: chunked and compressed sessions, logins in progress and states, with
// each character replaced, cut off or doubled.
func TestEveryByteOfEveryCookieCounts(t *testing.T) {
	keys := newTestKeys(t)
	s := newTestSession(t)
	s.claims = append(s.claims, textClaim("large", base64.StdEncoding.EncodeToString(randomBytes(5000))))
	values, _ := sealSession(keys.session, s, "h", "123456")
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
				if _, ok := openSession(keys.session, chunks, "h", "123456"); ok {
					t.Fatalf("opened with character %d of chunk %d altered", at, i)
				}
			}
		}
	}
	for purpose, ring := range map[string]keyring{"login": keys.login, "state": keys.state} {
		for _, returnTo := range []string{"/somewhere?x=1", "/somewhere?x=12", "/somewhere?x=123"} { // the last character has 6, 4 or 2 bits
			value := sealLogin(ring, newLogin(returnTo, time.Now()), "h", "123456", maxState)
			altered := []string{value + "=", value + "A", " " + value, strings.ToLower(value)}
			for at := range len(value) {
				altered = append(altered, flip(value, at), value[:at], value[:at]+value[at+1:], value[:at]+"="+value[at:])
			}
			for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
				altered = append(altered, value[:len(value)-1]+string(last))
			}
			for _, other := range altered {
				if _, ok := openLogin(ring, other, "h", "123456"); ok && other != value {
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
