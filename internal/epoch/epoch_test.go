package epoch

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
	"github.com/caddy-vipps/vippslogin/state/statetest"
)

// TestLostTwice: what was stored again is lost as well when the state is lost once more in the meantime.
func TestLostTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := statetest.NewMemory()
		read := func() Epoch {
			t.Helper()
			found, err := Read(t.Context(), shared)
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		before := read()
		time.Sleep(time.Second)
		shared.Lose()
		found := read()
		time.Sleep(time.Second)
		shared.Lose()
		read()
		if current, err := Continue(t.Context(), shared, found, before); !errors.Is(err, state.ErrUnavailable) {
			t.Errorf("%+v, %v: taken for the state that was restored", current, err)
		}
		found = read()
		if current, err := Continue(t.Context(), shared, found, before); err != nil || !current.Begun.Equal(before.Begun) {
			t.Errorf("%+v, %v", current, err)
		}
	})
}

// TestEmptyEpoch: an engine may have an empty value where the epoch was. It tells nothing, so that sessions from before are refused.
func TestEmptyEpoch(t *testing.T) {
	shared := statetest.NewMemory()
	if err := shared.Put(t.Context(), Key, nil, state.ForEver); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	found, err := Read(t.Context(), shared)
	if err != nil || !found.Known() || found.Begun.Before(before.Truncate(time.Millisecond)) {
		t.Errorf("%+v, %v", found, err)
	}
	if again, err := Read(t.Context(), shared); err != nil || !again.Is(found) {
		t.Errorf("%+v, %v", again, err)
	}
}
