package session

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// TestOpenedSession: what is kept of an opened session is for the same cookie, keys, host and MSN alone.
func TestOpenedSession(t *testing.T) {
	keys, opened := sealtest.Keys(t).Session, NewOpened()
	values, _ := Seal(keys, newTestSession(t), "shop.example.no", "123456")
	first, ok := opened.Open(keys, values, "shop.example.no", "123456")
	if !ok {
		t.Fatal("not opened")
	}
	again, ok := opened.Open(keys, values, "shop.example.no", "123456")
	if !ok || !reflect.DeepEqual(again, first) || again == first {
		t.Errorf("opened again: %+v, want a copy of %+v", again, first)
	}
	for _, other := range [][2]string{{"shop.example.no", "234567"}, {"other.example.no", "123456"}, {"", ""}} {
		if _, ok := opened.Open(keys, values, other[0], other[1]); ok {
			t.Errorf("opened for %v", other)
		}
	}
	// the same secret in another config has the same session, and another purpose's or an empty keyring has none
	if _, ok := opened.Open(sealtest.Keys(t).Login, values, "shop.example.no", "123456"); ok {
		t.Error("opened with other keys")
	}
	if _, ok := opened.Open(nil, values, "shop.example.no", "123456"); ok {
		t.Error("opened without keys")
	}
	for i := range values[0] {
		changed := []byte(values[0])
		changed[i] ^= 1
		if _, ok := opened.Open(keys, []string{string(changed)}, "shop.example.no", "123456"); ok {
			t.Fatalf("opened with character %d changed", i)
		}
	}
}

// TestOpenedSessionIsNotShared: a caller that changes its session changes nobody else's.
func TestOpenedSessionIsNotShared(t *testing.T) {
	keys, opened := sealtest.Keys(t).Session, NewOpened()
	want := newTestSession(t)
	values, _ := Seal(keys, want, "shop.example.no", "123456")
	for range 3 {
		s, ok := opened.Open(keys, values, "shop.example.no", "123456")
		if !ok || !reflect.DeepEqual(s, want) {
			t.Fatalf("got %+v, want %+v", s, want)
		}
		s.Seen, s.ID = time.Time{}, "another"
		s.Claims = append(s.Claims, userinfo.Claim{Name: "zzz"})[:1]
	}
	one, _ := opened.Open(keys, values, "shop.example.no", "123456")
	other, _ := opened.Open(keys, values, "shop.example.no", "123456")
	one.Claims = append(one.Claims, userinfo.Claim{Name: "one"})
	other.Claims = append(other.Claims, userinfo.Claim{Name: "other"})
	if got := one.Claims[len(one.Claims)-1].Name; got != "one" {
		t.Errorf("a claim of one request is %q, which another has added", got)
	}
}

// TestOpenedIsBounded: more sessions than there is room for replace one another, and each is still its own.
func TestOpenedIsBounded(t *testing.T) {
	keys, opened := sealtest.Keys(t).Session, NewOpened()
	var all [][]string
	for i := range 3 * openedSlots {
		s := New([]userinfo.Claim{{Kind: userinfo.KindText, Name: "sub", Text: fmt.Sprint(i)}}, time.Now(), time.Hour)
		values, _ := Seal(keys, s, "shop.example.no", "123456")
		all = append(all, values)
	}
	for range 2 {
		for i, values := range all {
			if s, ok := opened.Open(keys, values, "shop.example.no", "123456"); !ok || s.Sub() != fmt.Sprint(i) {
				t.Fatalf("session %d is of %q", i, s.Sub())
			}
		}
	}
	kept := 0
	for i := range opened.slots {
		if opened.slots[i].Load() != nil {
			kept++
		}
	}
	if kept == 0 || kept > openedSlots {
		t.Errorf("%d sessions are kept", kept)
	}
}

// TestOpenedKeepsNoLargeSession: a session that was compressed into one cookie is opened, and not kept with all it has.
func TestOpenedKeepsNoLargeSession(t *testing.T) {
	keys, opened := sealtest.Keys(t).Session, NewOpened()
	s := New([]userinfo.Claim{{Kind: userinfo.KindText, Name: "sub", Text: strings.Repeat("a", 10_000)}}, time.Now(), time.Hour)
	values, _ := Seal(keys, s, "shop.example.no", "123456")
	if got, ok := opened.Open(keys, values, "shop.example.no", "123456"); len(values) != 1 || !ok || got.Sub() != s.Sub() {
		t.Fatalf("%d cookies, opened: %v", len(values), ok)
	}
	for i := range opened.slots {
		if opened.slots[i].Load() != nil {
			t.Error("it is kept")
		}
	}
}

// TestOpenedSessionAllocations: an opened session costs its copy.
func TestOpenedSessionAllocations(t *testing.T) {
	keys, opened := sealtest.Keys(t).Session, NewOpened()
	values, _ := Seal(keys, newTestSession(t), "shop.example.no", "123456")
	if got := testing.AllocsPerRun(100, func() { opened.Open(keys, values, "shop.example.no", "123456") }); got > 1 {
		t.Errorf("%v allocations, at most 1 is allowed", got)
	}
}
