package demo_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// The browser tests drive a real Chromium. What they look for on a page is its structure and never its
// wording, except where a text is the point.

// patience is for whatever a page does. Nothing waits that long unless something is broken.
const patience = 20 * time.Second

// chromium is the one browser of all tests: starting it takes longer than most of them.
var chromium struct {
	once sync.Once
	ctx  context.Context
	stop context.CancelFunc
	err  error
}

func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil { // the repository's root, from where the demo is started
		panic(err)
	}
	code := m.Run()
	if chromium.stop != nil {
		chromium.stop()
	}
	if err := writeContactSheet(); err != nil {
		fmt.Fprintln(os.Stderr, "contact sheet:", err)
		code = 1
	}
	os.Exit(code)
}

// startChromium starts the browser when it is first needed. chromedp gives it a fresh profile, kills it
// when this process dies, and adds --no-sandbox for root.
func startChromium(t *testing.T) context.Context {
	t.Helper()
	chromium.once.Do(func() {
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.DisableGPU,
			chromedp.Flag("disable-quic", true),
			chromedp.Flag("disable-component-update", true),
			// A proxy of the machine is not for *.localhost.
			chromedp.Flag("no-proxy-server", true),
		)
		allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
		// What chromedp cannot read of a newer Chromium's messages is no concern of a test.
		ctx, stop := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
		chromium.ctx, chromium.stop = ctx, func() { stop(); stopAllocator() }
		chromium.err = chromedp.Do(ctx)
	})
	if chromium.err != nil {
		t.Fatalf("Chromium does not start (run scripts/install-test-tools, which installs it): %v", chromium.err)
	}
	return chromium.ctx
}

// tab is a tab of Chromium. One that newWindow returns has cookies of its own.
type tab struct {
	t      *testing.T
	ctx    context.Context
	status int64 // of the page that is shown

	mu         sync.Mutex
	requests   []string // since the last click or address, redirects followed
	complaints []string // of the console: errors, and what a Content-Security-Policy stopped
}

// newWindow opens a window in which nobody is logged in anywhere.
func newWindow(t *testing.T) *tab {
	t.Helper()
	return newTabIn(t, startChromium(t), chromedp.WithNewBrowserContext())
}

// newTab opens a tab beside w, with the same cookies.
func (w *tab) newTab() *tab {
	w.t.Helper()
	return newTabIn(w.t, w.ctx)
}

// opened is the tab that a click on selector opens.
func (w *tab) opened(selector string) *tab {
	w.t.Helper()
	found := chromedp.WaitNewTarget(w.ctx, func(info *target.Info) bool { return info.Type == "page" })
	w.click(selector)
	select {
	case id := <-found:
		return newTabIn(w.t, w.ctx, chromedp.WithTargetID(id))
	case <-time.After(patience):
		w.t.Fatalf("a click on %s opens no tab", selector)
		return nil
	}
}

func newTabIn(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	w := &tab{t: t}
	ctx, closeTab := chromedp.NewContext(parent, append(options, chromedp.WithListener(w.listen))...)
	t.Cleanup(closeTab)
	w.ctx = ctx
	if err := chromedp.Do(ctx); err != nil { // without a deadline, which would be the tab's own
		t.Fatalf("no tab: %v", err)
	}
	return w
}

// listen writes down what a page asks for and what the console says. chromedp calls it.
func (w *tab) listen(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.RedirectResponse == nil {
			w.requests = append(w.requests, e.Request.Method+" "+e.Request.URL)
		}
	case *log.EventEntryAdded:
		// The status of the page itself is no complaint: error pages have one.
		if e.Entry.Source != log.EntrySourceNetwork {
			w.complaints = append(w.complaints, e.Entry.Text)
		}
	case *runtime.EventExceptionThrown:
		w.complaints = append(w.complaints, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		w.complaints = append(w.complaints, fmt.Sprintf("console.%s", e.Type))
	}
}

// seen returns what was written down since the last click or address.
func (w *tab) seen() (requests, complaints []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests, w.complaints
}

// do runs actions, all of them in time.
func (w *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		w.t.Fatalf("%s: %v\n%s", what, err, w.whereabouts())
	}
}

// load runs actions that lead to another page, and waits for that.
func (w *tab) load(what string, actions ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	w.mu.Lock()
	w.requests, w.complaints = nil, nil
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, actions...)
	if err != nil || response == nil {
		w.t.Fatalf("%s: %v\n%s", what, err, w.whereabouts())
	}
	w.status = response.Status
}

// open types an address.
func (w *tab) open(address string) {
	w.t.Helper()
	w.load("open "+address, chromedp.Navigate(address))
}

// follow clicks on something that leads to another page.
func (w *tab) follow(selector string) {
	w.t.Helper()
	w.load("follow "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// click clicks on something that stays on the page.
func (w *tab) click(selector string) {
	w.t.Helper()
	w.do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// whereabouts is for messages.
func (w *tab) whereabouts() string {
	ctx, cancel := context.WithTimeout(w.ctx, time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err != nil {
		return "(no page: " + err.Error() + ")"
	}
	return text
}

// eval returns what an expression is on the page. It may be a promise.
func eval[T any](w *tab, expression string) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", expression, err, w.whereabouts())
	}
	return value
}

// until waits for a condition on the page.
func (w *tab) until(condition string) {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if eval[bool](w, condition) {
			return
		}
	}
	w.t.Fatalf("never true: %s\n%s", condition, w.whereabouts())
}

// text is what a person reads in the first element.
func (w *tab) text(selector string) string {
	w.t.Helper()
	w.must(selector)
	return eval[string](w, fmt.Sprintf(`document.querySelector(%q).innerText`, selector))
}

// must ends the test when nothing on the page matches.
func (w *tab) must(selector string) {
	w.t.Helper()
	if !w.has(selector) {
		w.t.Fatalf("no %s on the page with status %d: %s", selector, w.status, w.whereabouts())
	}
}

func (w *tab) has(selector string) bool {
	w.t.Helper()
	return eval[bool](w, fmt.Sprintf(`document.querySelector(%q) !== null`, selector))
}

// wantAt checks the address, to the last character, and that the page is a good one.
func (w *tab) wantAt(address string) {
	w.t.Helper()
	if at := eval[string](w, `location.href`); at != address || w.status != 200 {
		w.t.Fatalf("status %d, want 200 at %s: %s", w.status, address, w.whereabouts())
	}
}

// wantConsent checks that Vipps MobilePay asks who the person is.
func (w *tab) wantConsent(d *demo) {
	w.t.Helper()
	w.must(`form[action="/_simulator/consent"] input[name=transaction]`)
	if at := eval[string](w, `location.origin`); at != d.vipps {
		w.t.Fatalf("the consent page is at %s, want %s", at, d.vipps)
	}
}

// approve says at Vipps MobilePay who the person is.
func (w *tab) approve(d *demo, phoneNumber string) {
	w.t.Helper()
	w.wantConsent(d)
	w.click(fmt.Sprintf(`input[name=user][value=%q]`, phoneNumber))
	w.follow(`button[name=answer][value=approve]`)
}

// wantFailure checks that one of the plugin's error pages is shown: a heading, and a reference for
// support.
func (w *tab) wantFailure(status int64) {
	w.t.Helper()
	w.must(`main .reference code`)
	if w.status != status || w.text(`main h1`) == "" || w.text(`main .reference code`) == "" {
		w.t.Fatalf("want an error page with status %d: %d %s", status, w.status, w.whereabouts())
	}
}

// demo is the demo that runs.
type demo struct{ shopA, shopB, till, vipps string }

// runDemo starts demo/Caddyfile for all tests in t.
func runDemo(t *testing.T) *demo {
	t.Helper()
	shops, vipps := startDemo(t)
	site := func(name string) string { return "http://" + name + ".localhost:" + shops }
	return &demo{shopA: site("shop-a"), shopB: site("shop-b"), till: site("till"), vipps: vipps}
}
