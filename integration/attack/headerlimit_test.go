package attack_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// identityBytes is how large the identity headers of a request are on the wire.
func identityBytes(r *http.Request, others ...string) (bytes int) {
	for field, values := range r.Header {
		if strings.HasPrefix(field, "X-Vipps-") || slices.Contains(others, field) {
			bytes += len(field) + len(": ") + len(values[0]) + len("\r\n")
		}
	}
	return bytes
}

// TestHeaderLimit: the largest claims that do not fit are left out at login, by the size that they have on the wire, and
// the log names them. sub and the MSN stay.
func TestHeaderLimit(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	claims := map[string]any{"a_small": strings.Repeat("s", 100), "b_large": strings.Repeat("l", 3000), "c_medium": strings.Repeat("m", 900), "d_odd": strings.Repeat("ø", 400)}
	w.Vipps.Sim.SetFaults(simulator.Faults{Userinfo: func(got map[string]any) {
		for name, value := range claims {
			got[name] = value
		}
	}})
	seen := func(lines string) *http.Request {
		t.Helper()
		w.Load(harness.SiteWith(lines))
		harness.NewBrowser(t).Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
		return w.Upstream.Last(t)
	}
	all := seen("header Remote-Large b_large\n\t\theader X-New-Login new_login")
	whole := identityBytes(all, "Remote-Large", "X-New-Login")
	if all.Header.Get("X-Vipps-B-Large") == "" || all.Header.Get("Remote-Large") == "" || strings.Contains(w.Logged(), "claims left out") {
		t.Fatalf("with the default: %d bytes, %v", whole, all.Header)
	}
	for name, test := range map[string]struct {
		lines string
		gone  []string
	}{
		"exactly":             {fmt.Sprintf("header_limit %d\n\t\theader Remote-Large b_large\n\t\theader X-New-Login new_login", whole), nil},
		"a byte less":         {fmt.Sprintf("header_limit %d\n\t\theader Remote-Large b_large\n\t\theader X-New-Login new_login", whole-1), []string{"B-Large"}},
		"2 KiB":               {"header_limit 2KiB", []string{"B-Large", "C-Medium"}},
		"percent":             {"header_limit 2KiB\n\t\theader_encoding percent", []string{"B-Large", "D-Odd"}},
		"a copy":              {"header_limit 4KiB\n\t\theader Remote-Medium c_medium\n\t\theader Remote-Odd d_odd", []string{"B-Large"}},
		"less than sub takes": {"header_limit 10", []string{"A-Small", "B-Large", "C-Medium", "D-Odd", "Name", "Given-Name", "Family-Name", "Sid"}},
		"a large one":         {"header_limit 1MiB", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := seen(test.lines)
			for claim := range claims {
				field := "X-Vipps-" + http.CanonicalHeaderKey(strings.ReplaceAll(claim, "_", "-"))
				copied := ""
				for other := range r.Header {
					if strings.HasPrefix(other, "Remote-") && strings.HasSuffix(strings.ToLower(claim), strings.ToLower(strings.TrimPrefix(other, "Remote"))[1:]) {
						copied = other
					}
				}
				gone := slices.Contains(test.gone, strings.TrimPrefix(field, "X-Vipps-"))
				if here := r.Header.Get(field) != "" || copied != ""; here == gone {
					t.Errorf("%s: there is %v", field, here)
				}
			}
			if r.Header.Get("X-Vipps-Sub") == "" || r.Header.Get("X-Vipps-Msn") == "" {
				t.Errorf("nobody: %v", r.Header)
			}
			line := harness.LineWith(w.Logged(), `"claims left out: their headers do not fit in header_limit"`)
			if (line == "") != (test.gone == nil) && !strings.Contains(w.Logged(), "claims left out") {
				t.Errorf("logged: %s", line)
			}
		})
	}
	if !strings.Contains(w.Logged(), `"claims":["b_large"]`) {
		t.Error("the log does not name what was left out")
	}
}

// TestHeaderLimitOfOldSessions: a session from before a change stays as it is.
func TestHeaderLimitOfOldSessions(t *testing.T) {
	w := harness.NewWorld(t)
	shop := w.Shop("shop-a.localhost")
	w.Load(harness.SiteWith("scope openid name email"))
	b := harness.NewBrowser(t)
	b.Login(shop+"/", harness.Kari).WantStatus(t, http.StatusOK)
	w.Load(harness.SiteWith("scope openid name email\n\t\theader_limit 100"))
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	if r := w.Upstream.Last(t); r.Header.Get("X-Vipps-Email") == "" {
		t.Error("an old session has lost a claim")
	}
	b.Login(shop+"/vipps/login?return_to=/", harness.Kari).WantStatus(t, http.StatusOK)
	if r := w.Upstream.Last(t); r.Header.Get("X-Vipps-Email") != "" || r.Header.Get("X-Vipps-Sub") == "" {
		t.Errorf("a new one has %v", r.Header)
	}
}
