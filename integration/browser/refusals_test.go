package browser_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestRefusalsThatPeopleRead: who reads a refusal decides what it is, not the method.
func TestRefusalsThatPeopleRead(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	const page, problem = "text/html; charset=utf-8", "application/problem+json"
	form := []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Referer: " + shop + "/basket?x=1"}
	frame := []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Referer: " + shop + "/basket?x=1"}
	script := []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: */*", "Referer: " + shop + "/basket?x=1"}
	for name, test := range map[string]struct {
		method, path string
		header       []string
		status       int
		kind         string
	}{
		"a form":                  {"POST", "/send", form, 401, page},
		"a form, older browser":   {"POST", "/send", []string{"Sec-Fetch-Mode: ", "Sec-Fetch-Dest: ", "Accept: text/html,*/*;q=0.8", "Referer: " + shop + "/basket?x=1"}, 401, page},
		"a frame":                 {"GET", "/inside", frame, 401, page},
		"a frame's form":          {"POST", "/inside", frame, 401, page},
		"fetch":                   {"POST", "/send", script, 401, problem},
		"XHR":                     {"POST", "/send", []string{"X-Requested-With: XMLHttpRequest", "Referer: " + shop + "/basket?x=1"}, 401, problem},
		"PUT":                     {"PUT", "/send", form, 401, problem},
		"userinfo in a window":    {"GET", "/vipps/userinfo", form, 401, problem},
		"userinfo":                {"GET", "/vipps/userinfo", script, 401, problem},
		"a form, wrong method":    {"POST", "/vipps/login", form, 405, page},
		"a script, wrong method":  {"POST", "/vipps/login", script, 405, problem},
		"a frame that logs out":   {"GET", "/vipps/logout", frame, 403, page},
		"an upgrade that is none": {"GET", "/", append([]string{"Upgrade: h2c"}, form...), 302, ""},
		"a websocket":             {"GET", "/", append([]string{"Upgrade: websocket", "Connection: Upgrade"}, form...), 401, problem},
	} {
		t.Run(name, func(t *testing.T) {
			a := harness.NewBrowser(t).Do(harness.NewRequest(t, test.method, shop+test.path, nil, test.header...)).WantStatus(t, test.status)
			if got := a.Header.Get("Content-Type"); got != test.kind {
				t.Errorf("got %s, want %s", got, test.kind)
			}
			if test.status != http.StatusUnauthorized {
				return
			}
			if a.Header.Get("WWW-Authenticate") == "" || a.Header.Get("Cache-Control") != "no-store" || len(a.Cookies()) > 0 {
				t.Errorf("header: %v", a.Header)
			}
			if !strings.Contains(a.Text, "/vipps/login?return_to="+url.QueryEscape("/basket?x=1")) {
				t.Errorf("no way back to the form: %s", a.Text)
			}
			inFrame := test.kind == page && strings.Contains(name, "frame")
			if strings.Contains(a.Text, `target="_top"`) != inFrame || inFrame != strings.Contains(a.Header.Get("Content-Security-Policy"), "frame-ancestors 'self'") ||
				inFrame != (a.Header.Get("X-Frame-Options") == "SAMEORIGIN") {
				t.Errorf("in a frame: %v\n%s", a.Header, a.Text)
			}
		})
	}
	// The way back, whole.
	b := harness.NewBrowser(t)
	a := b.Do(harness.NewRequest(t, http.MethodPost, shop+"/send", nil, append(form, "Accept-Language: nb")...))
	if !strings.Contains(a.Text, "Logg inn og send på nytt") {
		t.Errorf("page: %s", a.Text)
	}
	if a := b.Get(b.Approved(shop+"/vipps/login?return_to="+url.QueryEscape("/basket?x=1"), harness.Kari).RedirectTo()); a.RedirectTo() != shop+"/basket?x=1" {
		t.Errorf("led to %s", a.RedirectTo())
	}
}

// TestHealthProbes: what asks by address, and is no page view, is no failed login: no line, and no count that raises
// an alert.
func TestHealthProbes(t *testing.T) {
	w := harness.NewWorld(t)
	w.LoadWhole(strings.Replace(w.Globals(), "admin off", "admin off\n\tmetrics", 1) + `
http://:$HTTP {
	vipps_login {
		merchant 123456 shop-a.localhost
	}
	respond hello
}
`)
	probe := harness.NewBrowser(t)
	probe.Header = nil
	for _, header := range []string{"User-Agent: kube-probe/1.31", "User-Agent: ELB-HealthChecker/2.0", "Accept: */*"} {
		probe.Get(w.Shop("127.0.0.1")+"/", header).WantStatus(t, http.StatusMisdirectedRequest)
	}
	if line := harness.LineWith(w.Logged(), "login failed"); line != "" {
		t.Errorf("log: %s", line)
	}
	harness.NewBrowser(t).Get(w.Shop("127.0.0.1")+"/").WantStatus(t, http.StatusMisdirectedRequest)
	if line := harness.LineWith(w.Logged(), "login failed"); !strings.Contains(line, "no_merchant") {
		t.Error("a person who is refused leaves no line")
	}
}
