package vippslogin_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// pluginLines returns what the plugin has logged, level by level: "info login completed browser".
func (w *world) pluginLines() (lines []string) {
	w.t.Helper()
	for line := range strings.Lines(w.logged()) {
		var fields struct{ Level, Logger, Msg, Flow, Reason string }
		if json.Unmarshal([]byte(line), &fields) == nil && fields.Logger == "http.handlers.vipps_login" {
			lines = append(lines, strings.TrimSpace(strings.Join([]string{fields.Level, fields.Msg, fields.Flow, fields.Reason}, " ")))
		}
	}
	return lines
}

// TestLogIsNotFilled by one who opens bad callbacks again and again; what is not in the log has no
// reference, and others have theirs.
func TestLogIsNotFilled(t *testing.T) {
	w := newPhoneWorld(t)
	w.reload(strings.Replace(w.globals(), "protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static private_ranges", 1) + phoneShops + `
http://:$HTTP {
	vipps_login {
		merchant 123456 shop.example.no
		phone {
			api_key {env.TILL_API_KEY}
		}
	}
}
`)
	shop := w.shop("shop-a.localhost")
	noisy := newBrowser(t)
	noisy.header.Set("X-Forwarded-For", "192.0.2.1")
	references := 0
	unknown := []string{"Authorization: Bearer " + apiKey}
	for range 200 {
		a := noisy.get(shop+"/vipps/callback?state=x&code=y").wantStatus(t, http.StatusBadRequest)
		references += len(shownReference.FindAllString(a.body, -1))
		state := mustQuery(t, noisy.get(shop+"/account/").location()).Get("state")
		a = noisy.get(shop+"/vipps/callback?error=made_up&state="+state).wantStatus(t, http.StatusForbidden)
		references += len(shownReference.FindAllString(a.body, -1))
		noisy.do(newRequest(t, "POST", w.shop("nobody.localhost")+"/vipps/phone", nil, unknown...)).wantStatus(t, http.StatusMisdirectedRequest)
	}
	other := newBrowser(t).refused(shop+"/account/", "access_denied").wantStatus(t, http.StatusForbidden)
	if reference := shownReference.FindStringSubmatch(other.body); reference == nil || w.logLine(reference[1])["reason"] != "cancelled" {
		t.Errorf("somebody else has no reference: %s", other.body)
	}
	lines := 0
	for _, line := range w.pluginLines() {
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
	w := newPhoneWorld(t)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
	sub := w.upstream.last(t).Header.Get("X-Vipps-Sub")
	for range 20 {
		b.get(shop+"/account/").wantStatus(t, http.StatusOK)
		b.get(shop+"/").wantStatus(t, http.StatusOK)
	}
	newBrowser(t).get(shop+"/account/").wantStatus(t, http.StatusFound)
	newBrowser(t).refused(shop+"/account/", "access_denied")
	b.get(shop+"/vipps/logout").wantStatus(t, http.StatusFound)
	b.get(shop+"/vipps/logout").wantStatus(t, http.StatusFound)
	c := newTill(t, shop)
	id, request := c.start(w, `{"phone_number": "`+kari+`"}`)
	mustAnswer(t, w, request, true)
	c.call("GET", "/phone/"+id+"?wait=20", "").wantStatus(t, http.StatusOK)
	want := []string{
		"debug login started browser", "info login completed browser",
		"debug login started browser",
		"debug login started browser", "info login failed browser cancelled",
		"info logged out",
		"debug login started phone", "info login completed phone",
	}
	if lines := w.pluginLines(); !slices.Equal(lines, want) {
		t.Errorf("logged: %q\nwant:   %q", lines, want)
	}
	line := w.logLine(`"login completed"`, `"flow":"browser"`)
	if line["sub"] != sub || line["msn"] != "123456" || line["duration"] == nil || line["since_start"] == nil {
		t.Errorf("log: %v", line)
	}
	if line := w.logLine("logged out"); line["sub"] != sub || line["msn"] != "123456" {
		t.Errorf("log: %v", line)
	}
}
