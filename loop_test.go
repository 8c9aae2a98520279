package vippslogin_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestLoop: a site that sends its people to /vipps/login for ever, since it does not see who they are, asks Vipps MobilePay
// three times for one browser. Then a page says what is going on, and the log does.
func TestLoop(t *testing.T) {
	w := newWorld(t)
	w.load(metricsSite + strings.Replace(twoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\ton_unauthenticated pass\n\t}\n", 1))
	shop := w.shop("shop-a.localhost")
	w.upstream.handler = func(rw http.ResponseWriter, r *http.Request) { // a site that looks at a header nobody sends
		if r.URL.Path == "/account" && r.Header.Get("Remote-User") == "" {
			http.Redirect(rw, r, "/vipps/login?return_to=/account", http.StatusFound)
		}
	}
	before := w.scrape()
	b := newBrowser(t)
	start := b.get(b.get(shop + "/account").location2(shop))
	for range 3 {
		callback := b.consent(b.follow(start), approve(kari)).location()
		start = b.get(b.get(b.get(callback).location()).location2(shop))
	}
	start.wantStatus(t, http.StatusLoopDetected)
	if start.Header.Get("Retry-After") == "" || !strings.Contains(start.body, "round in circles") || !strings.Contains(start.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%v\n%s", start.Header, start.body)
	}
	if nb := b.get(shop+"/vipps/login?return_to=/account", "Accept-Language: nb"); !strings.Contains(nb.body, "Du blir sendt i ring") {
		t.Errorf("in Norwegian: %s", nb.body)
	}
	line := lineWith(w.logged(), `"reason":"loop"`)
	if !strings.Contains(line, `"level":"warn"`) || !strings.Contains(line, "identity headers") || !strings.Contains(line, `"host":"shop-a.localhost"`) {
		t.Errorf("logged: %s", line)
	}
	wantMore(t, before, w.scrape(), map[string]float64{"logins_failed_total{flow=browser,reason=loop}": 2, "logins_completed_total{flow=browser}": 3, "logins_started_total{flow=browser}": 3})

	// It is about this host, this browser, and until a logout.
	scopeAt(t, b.get(w.shop("shop-b.localhost")+"/vipps/login"))
	scopeAt(t, newBrowser(t).get(shop+"/vipps/login"))
	b.get(shop+"/open").wantStatus(t, http.StatusOK)
	b.get(shop + "/vipps/logout?return_to=/open")
	scopeAt(t, b.get(shop+"/vipps/login"))
}

// location2 is location as an address of a site, whether it is absolute or not.
func (a answer) location2(shop string) string {
	if strings.HasPrefix(a.location(), "/") {
		return shop + a.location()
	}
	return a.location()
}

// TestLoopOfSeveral: it is the browser that counts, whoever logs in; a login for more does not count, and is no loop.
func TestLoopOfSeveral(t *testing.T) {
	w := newWorld(t)
	w.load(requireSite("require /a/* {\n\t\t\tscope birthDate\n\t\t}\n\t\trequire /b/* {\n\t\t\tscope email\n\t\t}\n\t\trequire /c/* {\n\t\t\tscope address\n\t\t}\n\t\trequire /d/* {\n\t\t\tapp_confirmation\n\t\t}\n\t\trequire /e/* {\n\t\t\tscope gender\n\t\t}"))
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	for _, path := range []string{"/account/", "/a/", "/b/", "/c/", "/d/", "/e/"} {
		b.login(shop+path, kari).wantStatus(t, http.StatusOK)
	}
	for _, user := range []string{bjorn, kari} {
		b.login(shop+"/vipps/login?return_to=/open", user).wantStatus(t, http.StatusOK)
	}
	b.get(shop+"/vipps/login?return_to=/open").wantStatus(t, http.StatusLoopDetected)
	// What is required is still to be had, by the page and by the address that a script is told.
	p := b.lacks(shop + "/b/")
	scopeAt(t, b.get(shop+"/b/"))
	b.login(shop+p.LoginURL, kari).wantStatus(t, http.StatusOK)
	b.get(shop+"/b/").wantStatus(t, http.StatusOK)
	b.get(shop+p.LoginURL).wantStatus(t, http.StatusLoopDetected) // it has been had
}
