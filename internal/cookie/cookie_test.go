package cookie

import (
	"net/http"
	"strings"
	"testing"
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
