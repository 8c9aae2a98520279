package demo_test

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// The screens that every page is looked at on. 320 CSS pixels is what WCAG asks for (1.4.10): a window
// of 1280 at a zoom of 400%.
var screens = []struct {
	name          string
	width, height int64
	mobile        bool
}{
	{"narrow", 320, 568, true},
	{"phone", 375, 812, true},
	{"desktop", 1280, 800, false},
}

var schemes = []string{"light", "dark"}

// check looks at the page that is shown: on every screen nothing has to be scrolled sideways, and
// axe-core finds nothing, in light and in dark. name is the screenshots'.
func (w *tab) check(name string) {
	w.t.Helper()
	for _, screen := range screens {
		w.resize(screen.width, screen.height, screen.mobile)
		if wide := eval[[]string](w, tooWide); len(wide) > 0 {
			w.t.Errorf("%s is wider than a screen of %d: %s", name, screen.width, wide)
		}
		w.shoot(name, screen.name)
	}
	world := w.axeWorld()
	for _, scheme := range schemes {
		w.prefer(scheme)
		for _, found := range w.axe(world, scheme) {
			w.t.Errorf("%s, %s: axe-core: %s", name, scheme, found)
		}
	}
}

// tooWide names what sticks out of the screen, the page itself first.
const tooWide = `(() => {
	const width = document.documentElement.clientWidth;
	if (document.documentElement.scrollWidth <= width) return [];
	return ["the page: " + document.documentElement.scrollWidth].concat([...document.body.querySelectorAll("*")]
		.filter(e => e.getBoundingClientRect().right > width)
		.map(e => e.tagName + " " + e.textContent.trim().slice(0, 40)));
})()`

func (w *tab) resize(width, height int64, mobile bool) {
	w.t.Helper()
	w.resizeAt(1, width, height, mobile)
}

// resizeAt is resize where a CSS pixel has scale pixels.
func (w *tab) resizeAt(scale float64, width, height int64, mobile bool) {
	w.t.Helper()
	w.do("resize", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: width, Height: height, DeviceScaleFactor: scale, Mobile: mobile,
		})
		return err
	}))
	// innerWidth is larger where a phone zooms out to show a page that is too wide: tooWide's to report.
	w.until(fmt.Sprintf(`screen.width === %d || innerWidth === %d`, width, width))
}

// prefer chooses between light and dark.
func (w *tab) prefer(scheme string) {
	w.t.Helper()
	w.do("prefer "+scheme, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
	w.until(fmt.Sprintf(`matchMedia("(prefers-color-scheme: %s)").matches`, scheme))
}

// axeSource is the accessibility checker, as scripts/install-test-tools has installed it.
var axeSource = sync.OnceValues(func() (string, error) {
	if source, err := os.ReadFile("integration/demo/axe/node_modules/axe-core/axe.min.js"); err == nil {
		return string(source), nil
	}
	return "", fmt.Errorf("axe-core is missing: run scripts/install-test-tools, which installs it")
})

// axeWorld puts axe-core beside the page, where no Content-Security-Policy stops it and where the page
// does not see it.
func (w *tab) axeWorld() runtime.ExecutionContextID {
	w.t.Helper()
	source, err := axeSource()
	if err != nil {
		w.t.Fatal(err)
	}
	var world runtime.ExecutionContextID
	w.do("axe-core", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		tree, err := chromedp.Call(ctx, page.GetFrameTree, struct{}{})
		if err != nil {
			return err
		}
		made, err := chromedp.Call(ctx, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: tree.FrameTree.Frame.ID})
		if err != nil {
			return err
		}
		world = made.ExecutionContextID
		_, err = chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](source, in(world)))
		return err
	}))
	return world
}

func in(world runtime.ExecutionContextID) chromedp.EvaluateOption {
	return func(p *runtime.EvaluateParams) { p.ContextID = world }
}

// axeRules are what axe-core looks for: everything, and once more what depends on colours.
var axeRules = map[string]string{
	"light": `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`,
	"dark":  `{type: "rule", values: ["color-contrast", "link-in-text-block"]}`,
}

// axeRun returns what is wrong, and what axe-core could not find out.
const axeRun = `axe.run(document, {runOnly: %s, resultTypes: ["violations", "incomplete"]}).then(r => {
	if (r.passes.length === 0) return ["it found nothing to look at"];
	return r.violations.concat(r.incomplete).map(v =>
		v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map(n => n.html + " (" + n.failureSummary + ")").join(", "));
})`

// axe lets axe-core look at the page.
func (w *tab) axe(world runtime.ExecutionContextID, scheme string) []string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	script := fmt.Sprintf(axeRun, axeRules[scheme])
	found, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](script, in(world), chromedp.EvalAwaitPromise))
	if err != nil {
		w.t.Fatalf("axe-core: %v", err)
	}
	return found
}

// screenshots is the folder that SCREENSHOTS asks for, or "". One that is not absolute is below the top
// of the repository.
func screenshots() string {
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" || filepath.IsAbs(folder) {
		return folder
	}
	return filepath.Join(packageFolder, "..", folder)
}

var packageFolder, _ = os.Getwd() // before any test goes elsewhere

// shoot keeps pictures of the whole page, where SCREENSHOTS asks for them.
func (w *tab) shoot(name, screen string) {
	w.t.Helper()
	folder := screenshots()
	if folder == "" || screen == "narrow" {
		return
	}
	w.bringToFront()
	for _, scheme := range schemes {
		w.prefer(scheme)
		w.capture(filepath.Join(folder, strings.Join([]string{name, screen, scheme, "png"}, ".")), chromedp.FullScreenshot(100))
	}
}

// illustrate keeps a small picture of the page for the README, from an element on, where SCREENSHOTS asks for pictures.
func (w *tab) illustrate(name, from string) {
	w.t.Helper()
	if screenshots() == "" {
		return
	}
	w.bringToFront()
	w.prefer("light")
	w.resizeAt(.6, 900, 720, false)
	w.do("scroll", chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector(%q).scrollIntoView()`, from)))
	w.capture("docs/pictures/"+name+".png", chromedp.CaptureScreenshot())
}

// bringToFront shows the tab: one behind another one of its window has no picture.
func (w *tab) bringToFront() {
	w.t.Helper()
	w.do("bring to front", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.BringToFront, struct{}{})
		return err
	}))
}

// capture writes a picture into a file.
func (w *tab) capture(file string, take chromedp.Action[[]byte]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, take)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(file, picture, 0o644)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

var contactSheet = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Screenshots</title>
<style>body { font: 1rem system-ui, sans-serif } img { border: 1px solid gray; max-height: 24rem; max-width: 40rem; vertical-align: top }</style>
{{range $name, $files := .}}<h2>{{$name}}</h2>{{range $files}}<a href="{{.}}"><img src="{{.}}" alt="{{.}}" loading="lazy"></a> {{end}}
{{end}}`))

// writeContactSheet makes index.html, which shows all screenshots of the folder.
func writeContactSheet() error {
	folder := screenshots()
	if folder == "" {
		return nil
	}
	pictures, err := filepath.Glob(filepath.Join(folder, "*.png"))
	if err != nil || len(pictures) == 0 {
		return err
	}
	pages := make(map[string][]string)
	for _, picture := range pictures {
		file := filepath.Base(picture)
		parts := strings.Split(file, ".")
		name := strings.Join(parts[:max(len(parts)-3, 1)], ".")
		pages[name] = append(pages[name], file)
	}
	sheet, err := os.Create(filepath.Join(folder, "index.html"))
	if err != nil {
		return err
	}
	return cmp.Or(contactSheet.Execute(sheet, pages), sheet.Close())
}

// Every page of the demo and of the simulator, on every screen.
func testDemoPages(t *testing.T, d *demo) {
	shop, till := newWindow(t), newWindow(t)
	shop.open(d.shopB + "/")
	shop.check("demo-shop-open")
	shop.illustrate("4-shop-b", "body")
	shop.open(d.shopA + "/")
	shop.wantConsent(d)
	shop.check("simulator-consent")
	shop.illustrate("1-consent", "body")
	shop.follow(`button[value=cancel]`)
	shop.illustrate("3-cancelled", "body")
	shop.open(d.shopA + "/")
	shop.approve(d, bjorn)
	shop.check("demo-shop-logged-in")
	shop.illustrate("2-shop-a", "body")
	shop.follow(`a[href^="/vipps/logout"]`)
	shop.check("demo-bye")
	shop.open(d.shopB + "/account/")
	shop.approve(d, kari)
	shop.check("demo-account")
	shop.open(d.shopB + "/")
	shop.check("demo-shop-open-logged-in")

	till.open(d.till + "/")
	till.check("demo-till")
	phone := askAtTill(till, "4520000001")
	till.check("demo-till-waiting")
	phone.check("simulator-phone-waiting")
	phone.follow(`button[value=approve]`)
	phone.check("simulator-phone-answered")
	till.until(`!document.querySelector("#profile").hidden`)
	till.check("demo-till-profile")
	till.illustrate("5-till", "body")

	simulator := newWindow(t)
	simulator.open(d.vipps + "/_simulator/")
	simulator.check("simulator-front")
	simulator.open(d.vipps + "/access-management-1.0/access/oauth2/auth?msn=999999")
	if simulator.status != 400 {
		t.Errorf("the simulator's error page has status %d", simulator.status)
	}
	simulator.check("simulator-error")
}

// A page that is wrong in every way that check looks for is found out: it would be quiet about nothing
// else.
func TestCheckFindsMistakes(t *testing.T) {
	w := newWindow(t)
	w.open(`data:text/html,<title>x</title><main><h1>x</h1><p style="color:%23ccc">pale</p><div style="width:1200px">wide</div><img src="data:,"></main>`)
	w.resize(320, 568, true)
	if len(eval[[]string](w, tooWide)) == 0 {
		t.Error("1200 pixels fit on a screen of 320")
	}
	found := strings.Join(w.axe(w.axeWorld(), "light"), "\n")
	for _, rule := range []string{"color-contrast", "html-has-lang", "image-alt"} {
		if !slices.ContainsFunc(strings.Split(found, "\n"), func(line string) bool { return strings.HasPrefix(line, rule+": ") }) {
			t.Errorf("axe-core does not see %s:\n%s", rule, found)
		}
	}
}
