package session

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
)

func TestScopes(t *testing.T) {
	s := ScopesOf("name", "urn:b", "openid", "urn:a", "name", "")
	if got := s.Names(); !slices.Equal(got, []string{"openid", "name", "urn:a", "urn:b"}) {
		t.Errorf("names: %v", got)
	}
	for name, want := range map[string]bool{"name": true, "urn:a": true, "email": false, "urn:c": false, "urn": false, "": false} {
		if s.Has(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	more := ScopesOf("email", "urn:c", "urn:a")
	if got := s.With(more).Names(); !slices.Equal(got, []string{"openid", "name", "email", "urn:a", "urn:b", "urn:c"}) {
		t.Errorf("both: %v", got)
	}
	if got := more.Without(s).Names(); !slices.Equal(got, []string{"email", "urn:c"}) {
		t.Errorf("without: %v", got)
	}
	if !more.Without(more).IsEmpty() || more.Without(s).IsEmpty() {
		t.Error("nothing is not empty, or something is")
	}
	long := strings.Repeat("x", MaxOtherScopes)
	if full := ScopesOf(long); !full.Has(long) || full.With(ScopesOf("y")).Has("y") || ScopesOf(long+"x").Has(long+"x") {
		t.Error("what does not fit counts as asked for")
	}
	for name := range 32 {
		if name < len(knownScopes) && !reflect.DeepEqual(ScopesOf(knownScopes[name]), Scopes{known: 1 << name}) {
			t.Errorf("%s has moved", knownScopes[name])
		}
	}
}

func TestNeed(t *testing.T) {
	now := time.Now()
	s := New(nil, now.Add(-5*time.Minute), time.Hour)
	s.Scopes = ScopesOf("openid", "name")
	all := Need{MaxAge: 10 * time.Minute, Scopes: ScopesOf("birthDate")}.And(Need{MaxAge: time.Minute, Confirmed: true}).And(Need{Scopes: ScopesOf("name")})
	if want := (Need{MaxAge: time.Minute, Scopes: ScopesOf("birthDate", "name"), Confirmed: true}); all != want {
		t.Errorf("together: %+v", all)
	}
	if got := all.Missing(nil, now); got != all {
		t.Errorf("of nobody: %+v", got)
	}
	if got, want := all.Missing(s, now), (Need{MaxAge: time.Minute, Scopes: ScopesOf("birthDate"), Confirmed: true}); got != want {
		t.Errorf("missing: %+v", got)
	}
	s.InApp, s.Scopes, s.Issued = true, ScopesOf("openid", "name", "birthDate"), now
	if got := all.Missing(s, now.Add(59*time.Second)); !got.IsZero() {
		t.Errorf("missing: %+v", got)
	}
	if got := all.Missing(s, now.Add(time.Minute)); got != (Need{MaxAge: time.Minute}) {
		t.Errorf("a minute later: %+v", got)
	}
	s.Ahead = 3 * time.Minute // the login began by a clock that is ahead
	if got := all.Missing(s, now.Add(3*time.Minute+59*time.Second)); !got.IsZero() {
		t.Errorf("by a clock that is ahead: %+v", got)
	}
	if got := all.Challenge("acr"); got != `Bearer error="insufficient_user_authentication", max_age="60", acr_values="acr"` {
		t.Errorf("challenge: %s", got)
	}
}

// TestHistory: the fourth login within half a minute is a loop; logins for more are not, unless there are ten.
func TestHistory(t *testing.T) {
	now := time.Now().Truncate(time.Millisecond)
	var h History
	for i := range 3 {
		at := now.Add(time.Duration(i) * 9 * time.Second)
		if wait := h.Loops(at, false); wait != 0 {
			t.Fatalf("login %d is a loop", i+1)
		}
		h = h.After(at, true).After(at, false)
	}
	last := now.Add(20 * time.Second)
	if wait := h.Loops(last, false); wait != 10*time.Second {
		t.Errorf("the fourth waits for %s", wait)
	}
	if h.Loops(last, true) != 0 {
		t.Error("a login for more is a loop")
	}
	if wait := h.Loops(now.Add(30*time.Second), false); wait != 0 {
		t.Errorf("half a minute later: %s", wait)
	}
	for range 10 {
		h = h.After(last, true)
	}
	if h.Loops(last, true) == 0 || h.Loops(last, false) == 0 {
		t.Error("ten logins for more are no loop, or make another of one")
	}
	s := New(nil, last, time.Hour)
	s.Remember(h)
	s.Scopes, s.Ahead = ScopesOf("name", "urn:x"), time.Minute
	values, _ := Seal(sealtest.Keys(t).Session, s, "h", "123456")
	got, ok := Open(sealtest.Keys(t).Session, values, "h", "123456")
	if !ok || !reflect.DeepEqual(got.History(), h) && got.History().Loops(last, false) != h.Loops(last, false) || got.Scopes != s.Scopes || got.Ahead != s.Ahead {
		t.Errorf("kept: %+v", got)
	}
	if len(got.History().stepUps) != MaxStepUps || len(got.History().logins) != MaxLogins {
		t.Errorf("kept: %+v", got.History())
	}
	if (*Session)(nil).History().Loops(last, false) != 0 {
		t.Error("nobody is in a loop")
	}
}
