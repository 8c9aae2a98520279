package statetest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/state"
)

func TestMemory(t *testing.T) {
	Test(t, func(*testing.T) (a, b state.Engine) {
		m := NewMemory()
		return m, m
	})
	m := NewMemory()
	m.SetAway(true)
	TestAway(t, m, time.Second)
}

// TestMemoryLoses: who has read what is lost is told so.
func TestMemoryLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		must(t, m.Append(t.Context(), "feed", time.Hour, []byte("1"), []byte("2")))
		_, position, err := m.Next(t.Context(), "feed", nil, 0)
		must(t, err)
		m.LoseLatest("feed", 1)
		must(t, m.Append(t.Context(), "feed", time.Hour, []byte("3")))
		if _, _, err := m.Next(t.Context(), "feed", position, 0); !errors.Is(err, state.ErrLost) {
			t.Errorf("%v, want ErrLost", err)
		}
		_, position, err = m.Next(t.Context(), "feed", nil, 0)
		must(t, err)
		time.Sleep(2 * time.Hour)
		m.Lose()
		if _, _, err := m.Next(t.Context(), "feed", position, 0); err != nil {
			t.Errorf("%v, although all of it is over", err)
		}
	})
}
