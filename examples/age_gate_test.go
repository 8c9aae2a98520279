package examples_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestAgeGate: grown-ups get in, and nobody else.
func TestAgeGate(t *testing.T) {
	const host = "wine.example.no"
	const eighteen, almost, ageless = "4741000001", "4741000002", "4741000003"
	site, err := filepath.Abs("age-gate/site")
	if err != nil {
		t.Fatal(err)
	}
	today := time.Now().UTC()
	e := start(t, setup{
		folder: "age-gate", hosts: map[string]string{host: "123456"},
		swaps: map[string]string{"/srv/wine": site},
		users: []simulator.User{
			// A day to spare on either side: it may be midnight, or the 29th of February.
			{Name: "Just Eighteen", PhoneNumber: eighteen, Birthdate: today.AddDate(-18, 0, -1).Format(time.DateOnly)},
			{Name: "Almost Eighteen", PhoneNumber: almost, Birthdate: today.AddDate(-18, 0, 2).Format(time.DateOnly)},
			{Name: "No Age", PhoneNumber: ageless},
		},
	})
	home := e.url(host, "/")
	nobody := e.browser()
	for _, path := range []string{"/", "/index.html", "/nothing"} {
		if page := nobody.first(nobody.request(http.MethodGet, e.url(host, path), "X-Vipps-Age: 99", "X-Vipps-Birthdate: 1950-01-01")); !e.asksForLogin(page) {
			t.Errorf("%s without a login: %d %s", path, page.status, page.body)
		}
	}
	wantTurnedAway := func(t *testing.T, page page) {
		t.Helper()
		page.want(t, http.StatusForbidden, home, "18 years and over")
		if strings.Contains(page.body, "grown-ups") {
			t.Error("the site was shown all the same")
		}
	}
	for name, test := range map[string]struct {
		user  string
		adult bool
	}{
		"grown up": {kari, true}, "just of age": {eighteen, true},
		"almost of age": {almost, false}, "16": {nora, false}, "no date of birth": {ageless, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := e.browser()
			page := b.login(home, test.user)
			if !test.adult {
				wantTurnedAway(t, page)
				return
			}
			page.want(t, http.StatusOK, home, "Wine, for grown-ups")
			if page := b.open(e.url(host, "/vipps/logout?return_to=/")); !strings.HasPrefix(page.url, e.vipps) {
				t.Errorf("logged out, at %s", page.url)
			}
		})
	}
	for name, birthdate := range map[string]any{
		"empty": "", "null": nil, "another format": "17.05.1950", "not a day": "1950-02-30", "a number": 1950, "not born yet": "2950-01-01", "a list": []string{"1950-01-01"},
	} {
		t.Run("date of birth is "+name, func(t *testing.T) {
			e.sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["birthdate"] = birthdate }})
			wantTurnedAway(t, e.browser().login(home, kari))
		})
	}
}
