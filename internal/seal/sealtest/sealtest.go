// Package sealtest has the keys that tests seal with.
package sealtest

import (
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/seal"
)

// Secret is the cookie secret of the tests.
const Secret = "a-cookie-secret-for-the-tests-of-32-bytes-and-more"

// Keys returns keys made of secrets, or of Secret where there are none.
func Keys(t testing.TB, secrets ...string) *seal.Keys {
	t.Helper()
	if len(secrets) == 0 {
		secrets = []string{Secret}
	}
	keys, err := seal.NewKeys("https://api.vipps.no", secrets)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
