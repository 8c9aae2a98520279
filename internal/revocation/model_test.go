package revocation

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// naiveList is a list of revocations that is as simple as can be.
type naiveList []Entry

// of returns the entries about a session, by what they are about.
func (l naiveList) of(s *session.Session, msn string) map[Entry][]Entry {
	about := make(map[Entry][]Entry)
	for _, entry := range l {
		switch {
		case entry.Session != "" && entry.Session != s.IDText(), entry.MSN != "" && entry.MSN != msn, entry.Sub != "" && entry.Sub != s.Sub():
			continue
		case entry.Session != "":
			entry.Before = s.Issued.Unix() // an id is one session's, whenever it began
		}
		key := Entry{Session: entry.Session, MSN: entry.MSN, Sub: entry.Sub}
		about[key] = append(about[key], entry)
	}
	return about
}

// has reports whether an entry revokes the session. Of several that are about the same, the list keeps the latest times, and
// may revoke what none of them does: loosely reports whether they do together.
func (l naiveList) has(s *session.Session, msn string) (strictly, loosely bool) {
	began, now := s.Issued.Unix(), time.Now().Unix()
	for _, entries := range l.of(s, msn) {
		isBefore, isNow := false, false
		for _, entry := range entries {
			before, until := began <= entry.Before, now <= entry.Until
			isBefore, isNow = isBefore || before, isNow || until
			strictly = strictly || before && until
		}
		loosely = loosely || isBefore && isNow
	}
	return strictly, loosely
}

// TestListIsAsANaiveOne: after any revocations, in any order, the list revokes what a naive one does.
func TestListIsAsANaiveOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(17, 17))
		revoked, valid := 0, 0
		for range 60 {
			var e Ended
			var naive naiveList
			var sessions []*session.Session
			for range 8 {
				sub := userinfo.NewText("sub", fmt.Sprint("user", random.IntN(4)))
				sessions = append(sessions, session.New([]userinfo.Claim{sub}, time.Now().Add(time.Duration(random.IntN(60))*time.Second), time.Hour))
			}
			for range 60 {
				now := time.Now().Unix()
				entry := Entry{Before: now + int64(random.IntN(60)) - 20, Until: now + int64(random.IntN(40)) - 5}
				switch kind := random.IntN(12); {
				case kind < 4:
					entry.Session = sessions[random.IntN(len(sessions))].IDText()
				case kind < 6:
					entry.Session = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "another%05d", random.IntN(1000)))
				case kind < 8:
					entry.Sub = fmt.Sprint("user", random.IntN(6))
				case kind < 11:
					entry.MSN, entry.Sub = fmt.Sprint(123456+random.IntN(3)), fmt.Sprint("user", random.IntN(6))
				case random.IntN(8) == 0:
					entry.MSN = fmt.Sprint(123456 + random.IntN(3))
				}
				if entry != (Entry{Before: entry.Before, Until: entry.Until}) || random.IntN(40) == 0 { // everybody, seldom
					e.add(entry, 1)
					naive = append(naive, entry)
				}
				time.Sleep(time.Duration(random.IntN(4)) * time.Second)
				if random.IntN(5) == 0 {
					e.DeleteExpired()
				}
				for _, s := range sessions {
					msn := fmt.Sprint(123456 + random.IntN(3))
					strictly, loosely := naive.has(s, msn)
					has := e.Has(s, msn)
					if has && !loosely || !has && strictly {
						t.Fatalf("session of %s at %s, %v old: revoked %t, want %t (or %t)\n%+v", s.Sub(), msn, time.Since(s.Issued), has, strictly, loosely, naive.of(s, msn))
					}
					if has {
						revoked++
					} else {
						valid++
					}
				}
			}
		}
		if revoked < 1000 || valid < 1000 {
			t.Errorf("%d revoked and %d valid: it says nothing", revoked, valid)
		}
	})
}
