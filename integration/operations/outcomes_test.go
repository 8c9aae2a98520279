package operations_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestLogIsNotFilled by one who opens bad callbacks again and again; what is not in the log has no
// reference, and others have theirs.
func TestLogIsNotFilled(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	w.Reload(strings.Replace(w.Globals(), "protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static private_ranges", 1) + harness.PhoneShops + `
http://:$HTTP {
	vipps_login {
		merchant 123456 shop.example.no
		phone {
			api_key {env.TILL_API_KEY}
		}
	}
}
`)
	shop := w.Shop("shop-a.localhost")
	noisy := harness.NewBrowser(t)
	noisy.Header.Set("X-Forwarded-For", "192.0.2.1")
	references := 0
	unknown := []string{"Authorization: Bearer " + harness.APIKey}
	for range 200 {
		a := noisy.Get(shop+"/vipps/callback?state=x&code=y").WantStatus(t, http.StatusBadRequest)
		references += len(harness.ShownReference.FindAllString(a.Text, -1))
		state := harness.MustQuery(t, noisy.Get(shop+"/account/").RedirectTo()).Get("state")
		a = noisy.Get(shop+"/vipps/callback?error=made_up&state="+state).WantStatus(t, http.StatusForbidden)
		references += len(harness.ShownReference.FindAllString(a.Text, -1))
		noisy.Do(harness.NewRequest(t, "POST", w.Shop("nobody.localhost")+"/vipps/phone", nil, unknown...)).WantStatus(t, http.StatusMisdirectedRequest)
	}
	other := harness.NewBrowser(t).Refused(shop+"/account/", "access_denied").WantStatus(t, http.StatusForbidden)
	if reference := harness.ShownReference.FindStringSubmatch(other.Text); reference == nil || w.LogLine(reference[1])["reason"] != "cancelled" {
		t.Errorf("somebody else has no reference: %s", other.Text)
	}
	lines := 0
	for _, line := range w.PluginLines() {
		if !strings.HasPrefix(line, "debug") {
			lines++
		}
	}
	if references < 50 || references > 250 || lines < references || lines > 300 {
		t.Errorf("%d lines and %d references for 600 bad requests", lines, references)
	}
}

// TestLogLines: one for what becomes of each login, none for a request of somebody who is logged in, and
// DEBUG for what anybody can cause.
func TestLogLines(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	sub := w.Upstream.Last(t).Header.Get("X-Vipps-Sub")
	for range 20 {
		b.Get(shop+"/account/").WantStatus(t, http.StatusOK)
		b.Get(shop+"/").WantStatus(t, http.StatusOK)
	}
	harness.NewBrowser(t).Get(shop+"/account/").WantStatus(t, http.StatusFound)
	harness.NewBrowser(t).Refused(shop+"/account/", "access_denied")
	b.Get(shop+"/vipps/logout").WantStatus(t, http.StatusFound)
	b.Get(shop+"/vipps/logout").WantStatus(t, http.StatusFound)
	c := harness.NewTill(t, shop)
	id, request := c.Start(w, `{"phone_number": "`+harness.Kari+`"}`)
	harness.MustAnswer(t, w, request, true)
	c.Call("GET", "/phone/"+id+"?wait=20", "").WantStatus(t, http.StatusOK)
	want := []string{
		"debug login started browser", "info login completed browser",
		"debug login started browser",
		"debug login started browser", "info login failed browser cancelled",
		"info logged out",
		"debug login started phone", "info login completed phone",
	}
	if lines := w.PluginLines(); !slices.Equal(lines, want) {
		t.Errorf("logged: %q\nwant:   %q", lines, want)
	}
	line := w.LogLine(`"login completed"`, `"flow":"browser"`)
	if line["sub"] != sub || line["msn"] != "123456" || line["duration"] == nil || line["since_start"] == nil {
		t.Errorf("log: %v", line)
	}
	if line := w.LogLine("logged out"); line["sub"] != sub || line["msn"] != "123456" {
		t.Errorf("log: %v", line)
	}
}
