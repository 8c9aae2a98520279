package stacks_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// patience is for whatever a page does.
const patience = 20 * time.Second

// window is one of a real browser, in which nobody is logged in anywhere.
type window struct {
	t   *testing.T
	ctx context.Context
}

func newWindow(t *testing.T) *window {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.DisableGPU, chromedp.Flag("no-proxy-server", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, closeWindow := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(closeWindow)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("Chromium does not start (run scripts/install-test-tools): %v", err)
	}
	return &window{t, ctx}
}

// open goes to an address, and returns the status of what is shown then.
func (w *window) open(address string) int64 {
	w.t.Helper()
	return w.load("open "+address, chromedp.Navigate(address))
}

// load does what leads to another page.
func (w *window) load(what string, actions ...chromedp.Action[chromedp.Void]) int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	response, err := chromedp.RunResponse(ctx, actions...)
	if err != nil || response == nil {
		w.t.Fatalf("%s: %v\n%s", what, err, w.shown())
	}
	return response.Status
}

// login opens an address that needs a login, and says at Vipps MobilePay who the person is.
func (w *window) login(address, number string) {
	w.t.Helper()
	w.open(address)
	w.asked()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(fmt.Sprintf(`input[name=user][value=%q]`, number)))); err != nil {
		w.t.Fatal(err)
	}
	w.load("approve", chromedp.Click(chromedp.CSS(`button[name=answer][value=approve]`)))
}

// send has every request from now on carry these headers, in place of those before.
func (w *window) send(headers network.Headers) {
	w.t.Helper()
	err := chromedp.Do(w.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: headers})
		return err
	}))
	if err != nil {
		w.t.Fatal(err)
	}
}

// asked checks that Vipps MobilePay asks who the person is.
func (w *window) asked() {
	w.t.Helper()
	if !eval[bool](w, `document.querySelector('form[action="/_simulator/consent"]') !== null`) {
		w.t.Fatalf("nobody asks who it is: %s", w.shown())
	}
}

func (w *window) shown() string {
	ctx, cancel := context.WithTimeout(w.ctx, time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.documentElement.outerHTML.slice(0, 5000)`))
	if err != nil {
		return "(no page: " + err.Error() + ")"
	}
	return text
}

// eval returns what an expression is on the page. It may be a promise.
func eval[T any](w *window, expression string) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", expression, err, w.shown())
	}
	return value
}
