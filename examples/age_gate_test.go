package examples_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestAgeGate: anybody gets into the shop, grown-ups to the wine, and nobody else, and nobody is asked for a date of birth
// anywhere but there.
func TestAgeGate(t *testing.T) {
	const host = "wine.example.no"
	const eighteen, almost, ageless = "4741000001", "4741000002", "4741000003"
	folder := func(name string) string {
		path, err := filepath.Abs("age-gate/site/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	today := time.Now().UTC()
	e := start(t, setup{
		folder: "age-gate", hosts: map[string]string{host: "123456"},
		swaps: map[string]string{"/srv/wine": folder("wine"), "/srv/shop": folder("shop")},
		users: []simulator.User{
			// A day to spare on either side: it may be midnight, or the 29th of February.
			{Name: "Just Eighteen", PhoneNumber: eighteen, Birthdate: today.AddDate(-18, 0, -1).Format(time.DateOnly)},
			{Name: "Almost Eighteen", PhoneNumber: almost, Birthdate: today.AddDate(-18, 0, 2).Format(time.DateOnly)},
			{Name: "No Age", PhoneNumber: ageless},
		},
	})
	wine, account := e.url(host, "/wine/"), e.url(host, "/account/")
	nobody := e.browser()
	nobody.open(e.url(host, "/")).want(t, http.StatusOK, e.url(host, "/"), "Cheese, for everybody")
	for _, path := range []string{"/wine/", "/wine/index.html", "/wine/nothing", "/WINE/", "/x/..%2fwine/", "//wine/", "/%77ine/", "/account/"} {
		if page := nobody.first(nobody.request(http.MethodGet, e.url(host, path), "X-Vipps-Age: 99", "X-Vipps-Birthdate: 1950-01-01")); !e.asksForLogin(page) {
			t.Errorf("%s without a login: %d %s", path, page.status, page.body)
		}
	}
	wantTurnedAway := func(t *testing.T, page page) {
		t.Helper()
		page.want(t, http.StatusForbidden, wine, "18 years and over")
		if strings.Contains(page.body, "grown-ups") {
			t.Error("the wine was shown all the same")
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
			b.login(account, test.user).want(t, http.StatusOK, account, "Your account")
			if page := b.open(e.url(host, "/vipps/userinfo")); strings.Contains(page.body, "birthdate") {
				t.Errorf("asked for the date of birth at the account: %s", page.body)
			}
			page := b.login(wine, test.user)
			if !test.adult {
				wantTurnedAway(t, page)
				wantTurnedAway(t, b.open(wine)) // and not asked once more
				b.open(account).want(t, http.StatusOK, account, "Your account")
				return
			}
			page.want(t, http.StatusOK, wine, "Wine, for grown-ups")
			b.open(wine).want(t, http.StatusOK, wine, "Wine, for grown-ups")
			b.open(e.url(host, "/vipps/logout?return_to=/")).want(t, http.StatusOK, e.url(host, "/"), "Cheese")
			if page := b.open(wine); !strings.HasPrefix(page.url, e.vipps) {
				t.Errorf("logged out, at %s", page.url)
			}
		})
	}
	for name, birthdate := range map[string]any{
		"empty": "", "null": nil, "another format": "17.05.1950", "not a day": "1950-02-30", "a number": 1950, "not born yet": "2950-01-01", "a list": []string{"1950-01-01"},
	} {
		t.Run("date of birth is "+name, func(t *testing.T) {
			e.sim.SetFaults(simulator.Faults{Userinfo: func(claims map[string]any) { claims["birthdate"] = birthdate }})
			wantTurnedAway(t, e.browser().login(wine, kari))
		})
	}
}
