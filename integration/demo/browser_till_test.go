package demo_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

var bindingMessage = regexp.MustCompile(`TILL-\d{3}`)

// The cashier starts a login, the customer sees the same words on the phone and approves, and the till
// shows who it is.
func testTillApproved(t *testing.T, d *demo) {
	till := newWindow(t)
	till.open(d.till + "/")
	phone := askAtTill(till, bjorn)
	phone.follow(`button[value=approve]`)
	till.until(`!document.querySelector("#profile").hidden`)
	profile := till.text("#profile")
	for _, want := range []string{"name\tBjørn Ærlig-Åsen", "phone_number\t" + bjorn} {
		if !strings.Contains(profile, want) {
			t.Errorf("the till lacks %q:\n%s", want, profile)
		}
	}
	if _, complaints := till.seen(); len(complaints) > 0 {
		t.Errorf("the till's console: %q", complaints)
	}
}

// The customer says no, and the till shows nobody.
func testTillDenied(t *testing.T, d *demo) {
	till := newWindow(t)
	till.open(d.till + "/")
	phone := askAtTill(till, "4740000003")
	phone.follow(`button[value=cancel]`)
	till.until(`document.querySelector("#state").innerText.includes("denied")`)
	if !eval[bool](till, `document.querySelector("#profile").hidden`) {
		t.Errorf("the till shows a profile: %s", till.whereabouts())
	}
}

// A number without an account: the till says that it did not work, and why.
func testTillRefused(t *testing.T, d *demo) {
	till := newWindow(t)
	till.open(d.till + "/")
	typeNumber(till, "4740000009")
	till.click("#start button")
	till.until(`document.querySelector("#state").innerText.includes("invalid_user")`)
}

// askAtTill starts a login at the till, and returns the customer's phone, which shows the same message.
func askAtTill(till *tab, phoneNumber string) (phone *tab) {
	till.t.Helper()
	typeNumber(till, phoneNumber)
	till.click("#start button")
	till.until(`/TILL-\d/.test(document.querySelector("#state").innerText)`)
	message := bindingMessage.FindString(till.text("#state"))
	phone = till.opened(`a[href="/phone"]`)
	phone.until(`document.readyState === "complete" && document.querySelector("main form") !== null`)
	if shown := phone.text("main form"); !strings.Contains(shown, message) || !strings.Contains(shown, phoneNumber) {
		till.t.Errorf("the till shows %s, and the phone:\n%s", message, shown)
	}
	return phone
}

func typeNumber(till *tab, phoneNumber string) {
	till.t.Helper()
	till.do("type a number", chromedp.Clear(chromedp.CSS("#number")), chromedp.SendKeys(chromedp.CSS("#number"), "+"+phoneNumber))
	if got := eval[string](till, `document.querySelector("#number").value`); got != fmt.Sprint("+", phoneNumber) {
		till.t.Fatalf("typed %q", got)
	}
}
