package vippslogin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/session"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

func TestMaxAge(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": time.Hour, "max-age=3600": time.Hour, "public, MAX-AGE=60": time.Minute, "no-store": time.Second, "max-age=0": time.Second,
		"max-age=x": time.Hour, "max-age=99999999999": 24 * time.Hour, `max-age="60"`: time.Minute, "max-age=-5": time.Second,
	} {
		if got := vipps.MaxAge(http.Header{"Cache-Control": {header}}); got != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
}

func TestTokenLife(t *testing.T) {
	for seconds, want := range map[int64]time.Duration{
		86399: 86339 * time.Second, 3600: 59 * time.Minute, 10: 9 * time.Second, 0: time.Minute, -5: time.Minute, 1 << 40: 24*time.Hour - time.Minute,
	} {
		if got := vipps.TokenLife(seconds); got != want {
			t.Errorf("%d: got %s, want %s", seconds, got, want)
		}
	}
}

func TestUserinfoToClaims(t *testing.T) {
	for text, ok := range map[string]bool{
		`{}`: true, `{"a":1e400,"b":[{"c":null}]}`: true, `[]`: false, `null`: true, `{"a":}`: false, ``: false, `{"a":"\ud800"}`: true,
	} {
		claims, err := userinfo.Parse([]byte(text))
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		if err == nil && idtoken.CheckSub(claims, "") == nil {
			t.Errorf("%s has a sub", text)
		}
	}
}

func FuzzCallback(f *testing.F) {
	f.Add("code=a&state=b")
	f.Add("error=a&state=b&error=c")
	f.Add("code=a&state=b&error=c")
	f.Fuzz(func(t *testing.T, query string) {
		answer, err := parseCallback(query)
		if err == nil && (answer.state == "" || (answer.code == "") == (answer.errorCode == "")) {
			t.Errorf("%q: %+v", query, answer)
		}
	})
}

func FuzzCookies(f *testing.F) {
	f.Add("a=1; vipps_session=x; b=2")
	f.Add("__Host-vipps_login_AAAA=;;=;vipps_session_2=")
	f.Fuzz(func(t *testing.T, line string) {
		header := http.Header{"Cookie": {line}}
		cookie.RemoveOwn(header)
		for name := range cookie.All(header) {
			if cookie.IsOwn(name) {
				t.Errorf("%q leaves %q", line, header["Cookie"])
			}
		}
		if !strings.Contains(line, "vipps_") && (len(header["Cookie"]) != 1 || header["Cookie"][0] != line) {
			t.Errorf("%q became %q", line, header["Cookie"])
		}
	})
}

// TestSessionFromTheFuture is none: its lifetime would not be one.
func TestSessionFromTheFuture(t *testing.T) {
	now := time.Now()
	if session.New(nil, now.Add(time.Hour), 12*time.Hour).Alive(now, 12*time.Hour, 0) {
		t.Error("alive")
	}
	if !session.New(nil, now.Add(time.Minute), 12*time.Hour).Alive(now, 12*time.Hour, 0) {
		t.Error("the clocks of two instances may differ")
	}
}

// TestStateTells where the person was going, for an hour, and nothing that could complete the login.
func TestStateTells(t *testing.T) {
	keys := sealtest.Keys(t)
	l := login.New("/kurv?x=1", time.Now())
	told, ok := login.Open(keys.State, login.Seal(keys.State, l.WithoutSecrets(), "h", "123456", login.MaxState), "h", "123456")
	if !ok || told.ID != l.ID || told.ReturnTo != l.ReturnTo || told.Carried() || told.Nonce != "" || !l.Carried() {
		t.Errorf("told %+v", told)
	}
	h := new(Handler)
	for age, want := range map[time.Duration]struct {
		err error
		to  string
	}{0: {errOtherBrowser, "/kurv?x=1"}, login.Life: {errTooLate, "/kurv?x=1"}, login.ReturnsFor + time.Second: {errNoLogin, "/"}, -time.Hour: {errTooLate, "/kurv?x=1"}} {
		old := login.New(l.ReturnTo, time.Now().Add(-age))
		state := login.Seal(keys.State, old.WithoutSecrets(), "h", "123456", login.MaxState)
		v := &visit{Origin: incoming.Origin{Host: "h"}, msn: "123456", keys: keys}
		r, _ := http.NewRequest(http.MethodGet, "https://h/vipps/callback", nil)
		if got, err := h.findLogin(r, v, state, time.Now()); err != want.err || got.ReturnTo != want.to {
			t.Errorf("after %s: %v, back to %s", age, err, got.ReturnTo)
		}
	}
}
