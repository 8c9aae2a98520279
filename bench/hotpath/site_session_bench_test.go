package hotpath_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// BenchmarkSiteSession is what site_session adds to a request with a session: where it is not configured, where the request
// has no such cookie, where it has one that fits, and where the site sets one with each answer as well.
func BenchmarkSiteSession(b *testing.B) {
	const configured = "site_session PHPSESSID"
	for _, c := range []struct {
		name, lines         string
		hasCookie, setsEach bool
	}{
		{"none", "header_limit 8KiB", true, false},
		{"no cookie", configured, false, false},
		{"one cookie", configured, true, false},
		{"one cookie, set each time", configured, true, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := harness.NewWorld(b)
			site := func(sets bool) string {
				header := ""
				if sets {
					header = "\t\theader Set-Cookie \"PHPSESSID=7d78a726af92499eb857de263ef9a969; path=/; HttpOnly\"\n"
				}
				return "http://shop-a.localhost:$HTTP {\n\troute {\n\t\tvipps_login 123456 {\n\t\t\tscope openid name phoneNumber email birthDate address\n\t\t\t" + c.lines + "\n\t\t}\n" + header + "\t\trespond ok\n\t}\n}\n"
			}
			w.Load(site(true))
			visitor := harness.NewBrowser(b)
			shop := w.Shop("shop-a.localhost") + "/"
			visitor.Login(shop, harness.Kari).WantStatus(b, http.StatusOK)
			cookies := visitor.Cookies(shop)
			if !strings.Contains(cookies, "PHPSESSID") {
				b.Fatalf("cookies: %s", cookies)
			}
			if !c.hasCookie {
				var kept []string
				for pair := range strings.SplitSeq(cookies, "; ") {
					if !strings.HasPrefix(pair, "PHPSESSID") {
						kept = append(kept, pair)
					}
				}
				cookies = strings.Join(kept, "; ")
			}
			w.Load(site(c.setsEach))
			app, err := caddy.ActiveContext().App("http")
			if err != nil {
				b.Fatal(err)
			}
			hotPath{app.(*caddyhttp.App).Servers["srv0"], cookies}.request(b, "shop-a.localhost")
		})
	}
}
