package demo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// locale is a language of the error pages, and the market it is looked at in.
type locale struct {
	language string // the file in internal/pages/, and the value of <html lang>
	accept   string // what a browser of that country sends
	brand    string // of the market, see testdata/pages.Caddyfile
	msn      string
}

var locales = []locale{
	{"en", "en-GB,en-US;q=0.9,en;q=0.8", "Vipps or MobilePay", "100001"},
	{"nb", "nb-NO,nb;q=0.9,no;q=0.8,nn;q=0.7,en-US;q=0.6,en;q=0.5", "Vipps", "100002"},
	{"da", "da-DK,da;q=0.9,en-US;q=0.8,en;q=0.7", "MobilePay", "100003"},
	{"fi", "fi-FI,fi;q=0.9,en-US;q=0.8,en;q=0.7", "MobilePay", "100004"},
	{"sv", "sv-SE,sv;q=0.9,en-US;q=0.8,en;q=0.7", "Vipps", "100005"},
}

// wanted is the page that the person was going to.
const wanted = "/account?order=7&note=a%20b"

// mishap is a way to see one error page.
type mishap struct {
	status int64
	link   string // where the button leads, as a path; "" for no button
	calm   bool   // nothing went wrong: there is no reference

	// One of these says how to get there. By default the person opens the page that they want.
	answer string                                   // what Vipps MobilePay sends the browser back with
	path   string                                   // another address of the site
	open   func(w *tab, v *failingVipps, l *locale) // anything else
}

var (
	again = "/vipps/login?return_to=" + url.QueryEscape(wanted)
	anew  = "/vipps/login?return_to=%2F" // nobody knows what the person wanted
)

// mishaps has every page of internal/pages/*.json, by its name there.
var mishaps = map[string]mishap{
	"login_required": {status: 401, link: again, calm: true},
	"form_not_sent":  {status: 401, link: anew, calm: true, open: sendForm},
	"more_required":  {status: 401, link: again + "&require=0"},
	"loop":           {status: 508, link: again, open: logInAround},
	"no_merchant":    {status: 421},

	"more_required_form": {status: 401, link: anew + "&require=0", open: sendFormForMore},
	"bad_link":           {status: 400, link: anew, path: "/vipps/callback?state=x&code=y&code=z"},
	"session_lost":       {status: 400, link: anew, path: "/vipps/callback?state=x&code=y"},
	"other_browser":      {status: 400, link: anew, answer: "code=y&state=another"},
	"too_late":           {status: 400, link: anew, path: "/vipps/phone/callback?code=expired_token"},
	"already_used":       {status: 400, link: again, answer: "code=invalid_grant"},
	"not_started_here":   {status: 400, link: anew, path: "/vipps/phone/callback?code=forged"},
	"cancelled":          {status: 403, link: again, answer: "error=access_denied"},
	"not_confirmed":      {status: 403, link: again, open: approveUnconfirmed},
	"outdated_app":       {status: 403, link: again, answer: "error=outdated_app_version"},
	"wrong_challenge":    {status: 403, link: again, answer: "error=wrong_challenge"},
	"refused":            {status: 403, link: again, answer: "error=some_undocumented_error"},
	"cross_site_logout":  {status: 403, link: wanted, open: logOutFromElsewhere},
	"other_number":       {status: 400, link: anew, open: answerForAnother},
	"misconfigured":      {status: 502, link: again, answer: "code=invalid_client"},
	"not_verified":       {status: 502, link: again, answer: "code=forged"},
	"provider_error":     {status: 502, link: again, answer: "error=server_error"},
	"busy":               {status: 503, link: again, answer: "error=temporarily_unavailable"},
	"no_answer":          {status: 504, link: again, answer: "code=hang_up"},
	"unavailable":        {status: 503, link: again, answer: "code=y"}, // there the storage is broken
}

// Every error page in every language: it is the right one in the right words, its button leads on, the
// keyboard reaches that, it asks for nothing and runs nothing, and it passes check.
func TestBrowserErrorPages(t *testing.T) {
	v := startPages(t, "2999-01-01")
	for i := range locales {
		l := &locales[i]
		t.Run(l.language, func(t *testing.T) {
			t.Parallel()
			texts := readTexts(t, l.language)
			w := newWindow(t)
			w.accept(l.accept)
			for kind := range texts {
				if _, ok := mishaps[kind]; !ok {
					t.Errorf("internal/pages/%s.json has %s, and no test shows it", l.language, kind)
				}
			}
			for kind, m := range mishaps {
				t.Run(kind, func(t *testing.T) {
					w.t = t
					testErrorPage(w, v, l, kind, m, texts[kind])
				})
			}
		})
	}
}

// TestBrowserAfterBrandDay: the pages that name the brand say Vipps in every market and language, and nothing of MobilePay,
// once MobilePay has become Vipps.
func TestBrowserAfterBrandDay(t *testing.T) {
	v := startPages(t, "2020-01-01")
	for i := range locales {
		l := locales[i]
		l.brand = "Vipps"
		t.Run(l.language, func(t *testing.T) {
			texts := readTexts(t, l.language)
			w := newWindow(t)
			w.accept(l.accept)
			named := 0
			for _, kind := range []string{"cancelled", "login_required", "outdated_app", "provider_error", "busy", "no_answer"} {
				if !strings.Contains(fmt.Sprint(texts[kind]), "{brand}") {
					continue
				}
				named++
				testErrorPage(w, v, &l, kind, mishaps[kind], texts[kind])
				if page := w.text("body"); strings.Contains(page, "MobilePay") {
					t.Errorf("%s: %s", kind, page)
				}
			}
			if named == 0 {
				t.Error("no page names the brand")
			}
		})
	}
}

func testErrorPage(w *tab, v *failingVipps, l *locale, kind string, m mishap, want text) {
	w.t.Helper()
	site := v.site(kind, l)
	switch {
	case m.open != nil:
		m.open(w, v, l)
	case m.path != "":
		w.open(site + m.path)
	default:
		w.open(site + wanted)
	}
	if w.status != m.status {
		w.t.Fatalf("status %d, want %d: %s", w.status, m.status, w.whereabouts())
	}
	w.wantTexts(l.language, l.brand, want) // without a market, the language has the same brand
	w.wantLink(site, m.link)
	w.wantNothingLoaded()
	if !m.calm {
		reference := w.text("main .reference code")
		if !strings.Contains(v.log(w.t), strconv.Quote(reference)) {
			w.t.Errorf("the reference is not in the log: %s", reference)
		}
	}
	w.check("error-" + kind + "-" + l.language + "-" + strings.ReplaceAll(l.brand, " ", "-"))
	if m.link != "" {
		w.wantFocus()
	}
	w.wantNoScript() // the last: it makes the console complain
}

// text is what the page of one kind says in one language.
type text struct{ Title, Body, Button string }

func readTexts(t *testing.T, language string) map[string]text {
	t.Helper()
	content, err := os.ReadFile("internal/pages/" + language + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Pages map[string]text }
	if err := json.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	return file.Pages
}

// accept is what the browser says of languages from now on.
func (w *tab) accept(languages string) {
	w.t.Helper()
	w.do("languages", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
			Headers: network.Headers{"Accept-Language": languages},
		})
		return err
	}))
}

// wantTexts checks that the page is the right one, in the right language and with the market's brand.
func (w *tab) wantTexts(language, brand string, want text) {
	w.t.Helper()
	if got := eval[string](w, `document.documentElement.lang`); got != language {
		w.t.Errorf("the language is %q, want %q", got, language)
	}
	fill := func(s string) string { return strings.ReplaceAll(s, "{brand}", brand) }
	if got := w.text("h1"); got != fill(want.Title) {
		w.t.Errorf("the heading is %q, want %q", got, fill(want.Title))
	}
	if got := eval[string](w, `document.title`); got != fill(want.Title) {
		w.t.Errorf("the title is %q, want %q", got, fill(want.Title))
	}
	page := w.text("main")
	if !strings.Contains(page, fill(want.Body)) || !strings.Contains(page, fill(want.Button)) {
		w.t.Errorf("the page lacks %q or %q:\n%s", fill(want.Body), fill(want.Button), page)
	}
}

// wantLink checks where the one button leads, if there is to be one.
func (w *tab) wantLink(site, path string) {
	w.t.Helper()
	want := []string{}
	if path != "" {
		want = append(want, site+path)
	}
	if got := eval[[]string](w, `[...document.querySelectorAll("a, button, form, area")].map(e => String(e.href))`); !slices.Equal(got, want) {
		w.t.Errorf("the links are %q, want %q", got, want)
	}
}

// wantNothingLoaded checks that the page was the one request, and that nothing was stopped that it
// would have loaded or run.
func (w *tab) wantNothingLoaded() {
	w.t.Helper()
	requests, complaints := w.seen()
	if len(requests) != 1 {
		w.t.Errorf("the page is more than one request: %q", requests)
	}
	if len(complaints) > 0 {
		w.t.Errorf("the console says %q", complaints)
	}
	if n := eval[int](w, `performance.getEntriesByType("resource").length + document.scripts.length`); n != 0 {
		w.t.Errorf("the page has %d scripts and resources", n)
	}
}

// wantNoScript checks that a script would not run, even if somebody got one into the page.
func (w *tab) wantNoScript() {
	w.t.Helper()
	ran := eval[bool](w, `(() => {
		const script = document.createElement("script");
		script.textContent = "window.ran = true";
		document.body.append(script);
		document.body.insertAdjacentHTML("beforeend", "<button id=probe onclick='window.ran = true'></button>");
		document.querySelector("#probe").click();
		return window.ran === true;
	})()`)
	if ran {
		w.t.Error("the page lets a script run")
	}
}

// wantFocus checks, in light and in dark, that Tab reaches the button first and that a frame around it
// shows that, at a contrast of 3:1 to what is around it (WCAG 1.4.11 and 2.4.7).
func (w *tab) wantFocus() {
	w.t.Helper()
	w.do("Tab", chromedp.KeyEvent(kb.Tab))
	for _, scheme := range schemes {
		w.prefer(scheme)
		got := eval[struct {
			Focused  bool
			Width    float64
			Contrast float64
		}](w, focusState)
		if !got.Focused || got.Width < 2 || got.Contrast < 3 {
			w.t.Errorf("%s: the focus does not show on the button: %+v", scheme, got)
		}
	}
}

// focusState measures the frame around what has the focus. Luminance and contrast are WCAG's.
const focusState = `(() => {
	const luminance = color => color.match(/[\d.]+/g).slice(0, 3).map(c => c / 255)
		.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	const button = document.activeElement, style = getComputedStyle(button);
	const [dark, light] = [style.outlineColor, getComputedStyle(button.closest("main")).backgroundColor]
		.map(luminance).sort((a, b) => a - b);
	return {
		Focused: button.matches("main a.button:focus-visible"),
		Width: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
		Contrast: (light + 0.05) / (dark + 0.05),
	};
})()`

// failingVipps is a Vipps MobilePay where everything goes wrong that can, by the simulator where that is
// able to. It stands beside the Caddy that runs testdata/pages.Caddyfile.
type failingVipps struct {
	*simulator.Simulator
	server  *httptest.Server
	port    string // of the sites
	logFile string
}

// startPages runs testdata/pages.Caddyfile against a failingVipps. From the day until on, the pages say Vipps everywhere.
func startPages(t *testing.T, until string) *failingVipps {
	t.Helper()
	v := &failingVipps{port: strconv.Itoa(freeport.New(t)), logFile: filepath.Join(t.TempDir(), "log")}
	v.serve(t)
	storage := t.TempDir()
	// A file where the folder of used logins is to be: the storage fails for return_in_any_browser.
	if err := os.MkdirAll(filepath.Join(storage, "vipps_login"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(storage, "vipps_login", "redeemed"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, vippsPort, _ := net.SplitHostPort(v.server.Listener.Addr().String())
	for name, value := range map[string]string{
		"PAGES_STORAGE": storage, "PAGES_LOG": v.logFile, "PAGES_VIPPS_PORT": vippsPort, "PAGES_PORT": v.port, "PAGES_UNTIL": until,
	} {
		t.Setenv(name, value)
	}
	input, err := os.ReadFile("integration/demo/testdata/pages.Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(input, map[string]any{"filename": "pages.Caddyfile"})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// site is the address of the site where a login fails in one way.
func (v *failingVipps) site(kind string, l *locale) string {
	return "http://" + strings.ReplaceAll(kind, "_", "-") + "." + l.language + ".localhost:" + v.port
}

func (v *failingVipps) log(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(v.logFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// customerOf is the phone number of somebody in the locale's market. One each: a number can be asked
// five times in ten minutes.
func customerOf(l *locale) string { return "47400" + l.msn[1:] }

// someoneElse is whose number userinfo gives for every customer.
const someoneElse = "4799999999"

func (v *failingVipps) serve(t *testing.T) {
	t.Helper()
	config := simulator.Config{
		Partner: simulator.Partner{ClientID: "partner-id", ClientSecret: "partner-secret", SubscriptionKey: "subscription-key"},
	}
	for i := range locales {
		l := &locales[i]
		config.Merchants = append(config.Merchants, simulator.Merchant{
			MSN: l.msn, RedirectURIs: []string{v.site("other_number", l) + "/vipps/phone/callback", v.site("not_confirmed", l) + "/vipps/callback", v.site("loop", l) + "/vipps/callback"},
		})
		config.Users = append(config.Users, simulator.User{Name: "Customer", PhoneNumber: customerOf(l)})
	}
	var err error
	if v.Simulator, err = simulator.New(config); err != nil {
		t.Fatal(err)
	}
	v.SetFaults(simulator.Faults{
		Userinfo: func(claims map[string]any) { claims["phone_number"] = someoneElse },
		IDToken:  func(_, claims map[string]any) { delete(claims, "acr") },
	})

	paths := http.NewServeMux()
	paths.Handle("/", v.Simulator)
	paths.HandleFunc("GET /access-management-1.0/access/oauth2/auth", v.authorize)
	paths.HandleFunc("POST /access-management-1.0/access/oauth2/token", v.token)
	paths.HandleFunc("GET /elsewhere", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<link rel="icon" href="data:,"><a href="%s">Log out</a>`, r.URL.Query().Get("to"))
	})
	paths.HandleFunc("GET /form", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<link rel="icon" href="data:,"><form method="post" action="%s"><button>Send</button></form>`, r.URL.Query().Get("to"))
	})
	v.server = httptest.NewServer(paths)
	t.Cleanup(v.server.Close)
}

// authorize sends the browser back at once, with what the host's mishap says.
func (v *failingVipps) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	back, err := url.Parse(query.Get("redirect_uri"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	kind, _, _ := strings.Cut(back.Host, ".")
	if kind == "not-confirmed" || kind == "loop" {
		v.Simulator.ServeHTTP(w, r)
		return
	}
	answer, err := url.ParseQuery(mishaps[strings.ReplaceAll(kind, "-", "_")].answer)
	if err != nil || len(answer) == 0 {
		http.Error(w, "no mishap for "+kind, http.StatusBadRequest)
		return
	}
	if answer.Get("state") == "another" {
		answer.Set("state", stateOfAnotherBrowser(back.Host))
	} else {
		answer.Set("state", query.Get("state"))
	}
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+answer.Encode(), http.StatusFound)
}

// stateOfAnotherBrowser starts a login at a site, for its front page.
func stateOfAnotherBrowser(host string) string {
	_, port, _ := net.SplitHostPort(host)
	request, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+port+"/vipps/login?return_to=/", nil)
	if err != nil {
		return err.Error()
	}
	request.Host = host
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return err.Error()
	}
	response.Body.Close()
	address, err := response.Location()
	if err != nil {
		return err.Error()
	}
	return address.Query().Get("state")
}

// token answers what the code says.
func (v *failingVipps) token(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch code := form.Get("code"); code {
	case "hang_up":
		if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
			connection.Close()
		}
	case "invalid_grant", "invalid_client", "expired_token":
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error": %q}`, code)
	case "forged":
		fmt.Fprint(w, `{"access_token": "token", "id_token": "e30.e30.e30", "token_type": "bearer"}`)
	default:
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		v.Simulator.ServeHTTP(w, r)
	}
}

// logOutFromElsewhere clicks on a link of another site.
func logOutFromElsewhere(w *tab, v *failingVipps, l *locale) {
	w.t.Helper()
	logout := v.site("cross_site_logout", l) + "/vipps/logout?return_to=" + url.QueryEscape(wanted)
	w.open(v.server.URL + "/elsewhere?to=" + url.QueryEscape(logout))
	w.follow("a")
}

// approveUnconfirmed logs in at a Vipps MobilePay that does not have it confirmed in the app.
func approveUnconfirmed(w *tab, v *failingVipps, l *locale) {
	w.t.Helper()
	w.open(v.site("not_confirmed", l) + wanted)
	w.follow(`button[name=answer][value=approve]`)
}

// sendForm sends a form, when the session is over.
func sendForm(w *tab, v *failingVipps, l *locale) { sendFormTo(w, v, v.site("form_not_sent", l)) }

// sendFormForMore sends a form where more is required than there is.
func sendFormForMore(w *tab, v *failingVipps, l *locale) {
	sendFormTo(w, v, v.site("more_required_form", l))
}

func sendFormTo(w *tab, v *failingVipps, site string) {
	w.t.Helper()
	w.open(v.server.URL + "/form?to=" + url.QueryEscape(site+"/send"))
	w.follow("button")
}

// logInAround logs in three times, and begins a fourth login.
func logInAround(w *tab, v *failingVipps, l *locale) {
	w.t.Helper()
	for range 3 {
		w.open(v.site("loop", l) + again)
		w.follow(`button[name=answer][value=approve]`)
	}
	w.open(v.site("loop", l) + again)
}

// answerForAnother opens what the phone opens when its owner has approved a login, and Vipps MobilePay
// then names another person.
func answerForAnother(w *tab, v *failingVipps, l *locale) {
	w.t.Helper()
	site, err := url.Parse(v.site("other_number", l))
	if err != nil {
		w.t.Fatal(err)
	}
	body := fmt.Sprintf(`{"phone_number": "+%s", "finish": "browser"}`, customerOf(l))
	request, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:"+v.port+"/vipps/phone", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Host = site.Host
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer api-key-of-32-characters-and-more-0123456789")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		w.t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		w.t.Fatalf("the login does not start: %s", response.Status)
	}
	for _, login := range v.PhoneLogins() {
		if login.PhoneNumber == customerOf(l) {
			callback, err := v.AnswerPhone(login.AuthReqID, true)
			if err != nil {
				w.t.Fatal(err)
			}
			w.open(callback)
			return
		}
	}
	w.t.Fatal("the phone does not ring")
}
