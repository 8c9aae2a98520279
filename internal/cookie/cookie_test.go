package cookie

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func FuzzCookies(f *testing.F) {
	f.Add("a=1; vipps_session=x; b=2")
	f.Add("__Host-vipps_login_AAAA=;;=;vipps_session_2=")
	f.Fuzz(func(t *testing.T, line string) {
		header := http.Header{"Cookie": {line}}
		RemoveOwn(header)
		for name := range All(header) {
			if IsOwn(name) {
				t.Errorf("%q leaves %q", line, header["Cookie"])
			}
		}
		if !strings.Contains(line, "vipps_") && (len(header["Cookie"]) != 1 || header["Cookie"][0] != line) {
			t.Errorf("%q became %q", line, header["Cookie"])
		}
	})
}

// TestSetIsWhatNetHTTPWrites: our Set-Cookie lines, written without http.Cookie (BenchmarkRequest), are the same as with it.
func TestSetIsWhatNetHTTPWrites(t *testing.T) {
	for _, secure := range []bool{true, false} {
		for maxAge, want := range map[time.Duration]int{
			12 * time.Hour: 43200, time.Second: 1, time.Second + 1: 2, 1: 1, 0: -1, -time.Hour: -1, UntilClosed: 0,
		} {
			w := httptest.NewRecorder()
			Set(w, "vipps_session", "earlier", secure, time.Hour)
			Set(w, "vipps_session_1", "other", secure, time.Hour)
			Set(w, "vipps_session", "AbC-_0", secure, maxAge)
			same := &http.Cookie{Name: Name("vipps_session", secure), Value: "AbC-_0", Path: "/", MaxAge: want,
				Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
			lines := w.Header()["Set-Cookie"]
			if len(lines) != 2 || lines[1] != same.String() {
				t.Errorf("%v, %v: %q, want the other cookie and %q", secure, maxAge, lines, same)
			}
		}
	}
}
