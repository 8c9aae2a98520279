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

// TestLogIsNotFilled by somebody who opens bad callbacks again and again; what is not in the log has no
// reference.
func TestLogIsNotFilled(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	b := newBrowser(t)
	references := 0
	for range 500 {
		a := b.get(w.shop("shop-a.localhost")+"/vipps/callback?state=x&code=y").wantStatus(t, http.StatusBadRequest)
		references += len(shownReference.FindAllString(a.body, -1))
	}
	if lines := len(w.pluginLines()); lines != references || lines < 100 || lines > 400 {
		t.Errorf("%d lines and %d references for 500 bad callbacks", lines, references)
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
