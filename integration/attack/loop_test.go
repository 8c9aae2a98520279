package attack_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/integration/scrape"
	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestLoop: a site that sends its people to /vipps/login for ever, since it does not see who they are, asks Vipps MobilePay
// three times for one browser. Then a page says what is going on, and the log does.
func TestLoop(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(scrape.Site + strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\ton_unauthenticated pass\n\t}\n", 1))
	shop := w.Shop("shop-a.localhost")
	w.Upstream.Handler = func(rw http.ResponseWriter, r *http.Request) { // a site that looks at a header nobody sends
		if r.URL.Path == "/account" && r.Header.Get("Remote-User") == "" {
			http.Redirect(rw, r, "/vipps/login?return_to=/account", http.StatusFound)
		}
	}
	before := scrape.Metrics(w)
	b := harness.NewBrowser(t)
	start := b.Get(b.Get(shop + "/account").RedirectAt(shop))
	for range 3 {
		callback := b.Consent(b.Follow(start), harness.Approve(harness.Kari)).RedirectTo()
		start = b.Get(b.Get(b.Get(callback).RedirectTo()).RedirectAt(shop))
	}
	start.WantStatus(t, http.StatusLoopDetected)
	if start.Header.Get("Retry-After") == "" || !strings.Contains(start.Text, "round in circles") || !strings.Contains(start.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%v\n%s", start.Header, start.Text)
	}
	if nb := b.Get(shop+"/vipps/login?return_to=/account", "Accept-Language: nb"); !strings.Contains(nb.Text, "Du blir sendt i ring") {
		t.Errorf("in Norwegian: %s", nb.Text)
	}
	line := harness.LineWith(w.Logged(), `"reason":"loop"`)
	if !strings.Contains(line, `"level":"warn"`) || !strings.Contains(line, "identity headers") || !strings.Contains(line, `"host":"shop-a.localhost"`) {
		t.Errorf("logged: %s", line)
	}
	scrape.WantMore(t, before, scrape.Metrics(w), map[string]float64{"logins_failed_total{flow=browser,reason=loop}": 2, "logins_completed_total{flow=browser}": 3, "logins_started_total{flow=browser}": 3})

	// It is about this host, this browser, and until a logout.
	harness.ScopeAt(t, b.Get(w.Shop("shop-b.localhost")+"/vipps/login"))
	harness.ScopeAt(t, harness.NewBrowser(t).Get(shop+"/vipps/login"))
	b.Get(shop+"/open").WantStatus(t, http.StatusOK)
	b.Get(shop + "/vipps/logout?return_to=/open")
	harness.ScopeAt(t, b.Get(shop+"/vipps/login"))
}

// TestLoopOfSeveral: it is the browser that counts, whoever logs in; a login for more does not count, and is no loop.
func TestLoopOfSeveral(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(requireSite("require /a/* {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /b/* {\n\t\t\tscope email\n\t\t}\n\t\trequire /c/* {\n\t\t\tscope address\n\t\t}\n\t\trequire /d/* {\n\t\t\tapp_confirmation\n\t\t}\n\t\trequire /e/* {\n\t\t\tscope gender\n\t\t}"))
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	for _, path := range []string{"/account/", "/a/", "/b/", "/c/", "/d/", "/e/"} {
		b.Login(shop+path, harness.Kari).WantStatus(t, http.StatusOK)
	}
	for _, user := range []string{harness.Bjorn, harness.Kari} {
		b.Login(shop+"/vipps/login?return_to=/open", user).WantStatus(t, http.StatusOK)
	}
	b.Get(shop+"/vipps/login?return_to=/open").WantStatus(t, http.StatusLoopDetected)
	// What is required is still to be had, by the page and by the address that a script is told.
	p := b.Lacks(shop + "/b/")
	harness.ScopeAt(t, b.Get(shop+"/b/"))
	b.Login(shop+p.LoginURL, harness.Kari).WantStatus(t, http.StatusOK)
	b.Get(shop+"/b/").WantStatus(t, http.StatusOK)
	b.Get(shop+p.LoginURL).WantStatus(t, http.StatusLoopDetected) // it has been had
}
