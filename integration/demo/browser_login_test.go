package demo_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	kari  = "4712345678"
	bjorn = "4740000001"
)

// TestBrowser is the demo as its visitors see it, in a real browser. All of it shares one Caddy.
func TestBrowser(t *testing.T) {
	d := runDemo(t)
	for name, test := range map[string]func(*testing.T, *demo){
		"first click to logout": testFirstClickToLogout,
		"merchants apart":       testMerchantsApart,
		"cancel and retry":      testCancelAndRetry,
		"two tabs":              testTwoTabs,
		"fetch":                 testFetch,
		"without JavaScript":    testWithoutJavaScript,
		"keyboard":              testKeyboard,
		"till approved":         testTillApproved,
		"till denied":           testTillDenied,
		"till refused":          testTillRefused,
		"demo pages":            testDemoPages,
	} {
		t.Run(name, func(t *testing.T) { test(t, d) })
	}
}

// A person opens shop A, is sent to Vipps MobilePay, says who they are, is greeted by name at the page
// they opened, and logs out.
func testFirstClickToLogout(t *testing.T, d *demo) {
	w := newWindow(t)
	w.open(d.shopA + "/?from=mail")
	if !strings.Contains(w.text("main h1"), "Shop A") {
		t.Errorf("the consent page names no merchant: %s", w.whereabouts())
	}
	w.approve(d, kari)
	w.wantAt(d.shopA + "/?from=mail")
	if greeting := w.text("h1"); greeting != "Hello Kari Nordmann" {
		t.Errorf("the shop says %q", greeting)
	}
	table := w.text("table")
	for _, want := range []string{"X-Vipps-Msn\t123456", "X-Vipps-Phone-Number\t" + kari} {
		if !strings.Contains(table, want) {
			t.Errorf("the shop got no %s:\n%s", want, table)
		}
	}
	if cookies := eval[string](w, `document.cookie`); cookies != "" {
		t.Errorf("a script of the page can read the cookies: %s", cookies)
	}
	w.follow(`a[href^="/vipps/logout"]`)
	w.wantAt(d.shopA + "/bye.html")
	w.follow(`main a[href="/"]`)
	w.wantConsent(d)
}

// Somebody may be one person at one merchant and another at the next. Neither session knows of the other.
func testMerchantsApart(t *testing.T, d *demo) {
	atA := newWindow(t)
	atB := atA.newTab()
	atA.open(d.shopA + "/")
	atB.open(d.shopB + "/account/")
	atA.approve(d, bjorn)
	atB.approve(d, kari)

	greetings := func() {
		t.Helper()
		for w, want := range map[*tab]string{atA: "Hello Bjørn Ærlig-Åsen", atB: "Hello Kari Nordmann"} {
			w.load("reload", chromedp.Reload())
			if got := w.text("h1"); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	}
	greetings()
	atB.open(d.shopB + "/vipps/logout?return_to=/account/")
	atB.wantConsent(d)
	atA.load("reload", chromedp.Reload())
	atA.wantAt(d.shopA + "/")
	atB.approve(d, kari)
	greetings()
}

// Who cancels sees a page that says so. Its button starts again and ends at the page that was wanted,
// to the last character.
func testCancelAndRetry(t *testing.T, d *demo) {
	wanted := d.shopA + "/account/?order=7&note=a%20b%26c&x=%C3%A5"
	w := newWindow(t)
	w.open(wanted)
	w.wantConsent(d)
	w.follow(`button[value=cancel]`)
	w.wantFailure(403)
	w.follow("main a.button")
	w.approve(d, kari)
	w.wantAt(wanted)
	if got := w.text("h1"); got != "Hello Kari Nordmann" {
		t.Errorf("got %q", got)
	}
}

// Two tabs log in at once, and are done in the other order. Each ends at its own page, and who logs in
// last is who is logged in.
func testTwoTabs(t *testing.T, d *demo) {
	first := newWindow(t)
	second := first.newTab()
	first.open(d.shopA + "/?tab=1")
	second.open(d.shopA + "/account/?tab=2")
	first.wantConsent(d)
	second.approve(d, kari)
	second.wantAt(d.shopA + "/account/?tab=2")
	first.approve(d, bjorn)
	first.wantAt(d.shopA + "/?tab=1")
	if got := first.text("h1"); got != "Hello Bjørn Ærlig-Åsen" {
		t.Errorf("got %q", got)
	}
}

// A script that asks for something behind the login is told so, and where the login is. It offers the
// link, and the person ends at the page they were on, with a session.
func testFetch(t *testing.T, d *demo) {
	const call = `fetch("/account/").then(async r => ({
		status: r.status, type: r.headers.get("Content-Type"), redirected: r.redirected, body: await r.text() }))`
	type answer struct {
		Status     int
		Type, Body string
		Redirected bool
	}
	w := newWindow(t)
	w.open(d.shopB + "/?cart=1")
	got := eval[answer](w, call)
	if got.Status != 401 || got.Type != "application/problem+json" || got.Redirected {
		t.Fatalf("got %+v", got)
	}
	eval[bool](w, fmt.Sprintf(`(() => {
		const link = document.createElement("a");
		link.id = "offer";
		link.href = JSON.parse(%q).login_url;
		link.textContent = "Log in";
		document.querySelector("main").append(link);
		return true;
	})()`, got.Body))
	w.follow("#offer")
	w.approve(d, kari)
	w.wantAt(d.shopB + "/?cart=1")
	if got := eval[answer](w, call); got.Status != 200 || !strings.Contains(got.Body, "Kari Nordmann") {
		t.Errorf("with a session: %+v", got)
	}
}

// Nothing that the plugin shows needs a script: cancel, try again, log in, log out.
func testWithoutJavaScript(t *testing.T, d *demo) {
	w := newWindow(t)
	w.do("switch JavaScript off", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
	w.open(`data:text/html,<h1>off</h1><script>document.querySelector("h1").textContent = "on"</script>`)
	if got := w.text("h1"); got != "off" {
		t.Fatalf("JavaScript is %s", got)
	}
	w.open(d.shopA + "/?q=1")
	w.wantConsent(d)
	w.follow(`button[value=cancel]`)
	w.wantFailure(403)
	w.follow("main a.button")
	w.approve(d, kari)
	w.wantAt(d.shopA + "/?q=1")
	w.follow(`a[href^="/vipps/logout"]`)
	w.wantAt(d.shopA + "/bye.html")
}

// Without a mouse: Tab reaches the button of an error page, it shows that it has the focus, and Enter
// presses it.
func testKeyboard(t *testing.T, d *demo) {
	w := newWindow(t)
	w.open(d.shopA + "/")
	w.follow(`button[value=cancel]`)
	w.wantFailure(403)
	w.do("Tab", chromedp.KeyEvent(kb.Tab))
	if !eval[bool](w, `document.activeElement.matches("main a.button:focus-visible")`) {
		t.Fatal("Tab does not reach the button")
	}
	w.load("Enter", chromedp.KeyEvent(kb.Enter))
	w.wantConsent(d)
}
