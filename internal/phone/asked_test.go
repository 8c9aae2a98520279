package phone

import (
	"errors"
	"slices"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/state/statetest"
)

// TestLimitDuringRotation: while some instances seal with the new secret and some with the old one, a person is asked as often as
// at other times.
func TestLimitDuringRotation(t *testing.T) {
	secrets := []string{"the old secret that has 32 bytes or more", "the new secret that has 32 bytes or more"}
	shared := statetest.NewMemory()
	store := func() Store {
		keys, err := seal.NewKeys("", secrets)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(secrets)
		return Store{Shared: shared, Keys: keys}
	}
	before, after := store(), store()
	asked := 0
	for range maxAsked {
		for _, s := range []Store{before, after} {
			if err := s.ask(t.Context(), "urn:msisdn:4712345678"); err == nil {
				asked++
			} else if !errors.As(err, new(AskedTooOften)) {
				t.Fatal(err)
			}
		}
	}
	if asked != maxAsked {
		t.Errorf("asked %d times", asked)
	}
}
