package seal

import (
	"slices"
	"testing"
)

// TestOnePurposeIsNoOther: what was sealed for one purpose, host or merchant opens as nothing else
// (CVE-2021-32791 and CVE-2023-35941: one key, and fields joined without separators).
func TestOnePurposeIsNoOther(t *testing.T) {
	keys, err := NewKeys("https://api.vipps.no", []string{"a-cookie-secret-for-the-tests-of-32-bytes-and-more"})
	if err != nil {
		t.Fatal(err)
	}
	rings := map[string]Keyring{"session": keys.Session, "login": keys.Login, "state": keys.State, "phone": keys.Phone, "revoked": keys.Revoked,
		"seen": keys.Seen, "assertion": keys.Assertion, "site session": keys.SiteSession}
	contexts := [][]string{{"shop.example.no", "123456"}, {"shop.example.no", "12345"}, {"shop.example.n", "o123456"}, {"shop.example.no123456"},
		{"shop.example.no", "123456", ""}, {"", "shop.example.no", "123456"}, {"123456", "shop.example.no"}, {"shop-b.example.no", "123456"}, {}}
	opened := 0
	for purpose, ring := range rings {
		for i, context := range contexts {
			sealed := ring.Seal([]byte("plain"), Context(context...))
			for otherPurpose, other := range rings {
				for j, otherContext := range contexts {
					plain, ok := other.Open(slices.Clone(sealed), Context(otherContext...))
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
		seen[string(keys.Session.Seal([]byte("the same"), nil)[:12])] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d nonces for 1000 seals", len(seen))
	}
}
