package userinfo

import (
	"strings"
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	day := func(s string) time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, test := range []struct {
		birthdate, now string
		want           int
		ok             bool
	}{
		{"2008-11-22", "2026-11-21", 17, true}, {"2008-11-22", "2026-11-22", 18, true}, {"2008-12-01", "2026-11-22", 17, true},
		{"2008-02-29", "2026-02-28", 17, true}, {"2008-02-29", "2026-03-01", 18, true}, {"2027-01-01", "2026-11-22", 0, false},
		{"", "2026-11-22", 0, false}, {"1990", "2026-11-22", 0, false}, {"0000-05-17", "2026-11-22", 0, false}, {"17.05.1990", "2026-11-22", 0, false},
	} {
		if got, ok := Age(day(test.now), test.birthdate); ok != test.ok || ok && got != test.want {
			t.Errorf("%s on %s: got %d, %v", test.birthdate, test.now, got, ok)
		}
	}
}

// TestProtocolClaims: claims that are about a token are nobody's.
func TestProtocolClaims(t *testing.T) {
	claims, err := Parse([]byte(`{"sub":"x","sid":"y","iss":"https://api.vipps.no/","aud":["a"],"iat":1,"auth_time":1,"rat":1,"amr":[],"acr":"0","name":"Kari"}`))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range claims {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "name sid sub" {
		t.Errorf("claims: %s", got)
	}
}
