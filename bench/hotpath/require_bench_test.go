package hotpath_test

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// BenchmarkRequire is what requirements add to a request with a session: none, two that another path has, and two that
// this one has, which the session meets.
func BenchmarkRequire(b *testing.B) {
	for _, c := range []struct{ name, lines string }{
		{"none", "header_limit 8KiB"},
		{"two of other paths", "require /checkout/* {\n\t\t\tmax_age 10h\n\t\t}\n\t\trequire /wine/* {\n\t\t\tscope birthDate\n\t\t}"},
		{"two of this path", "require /account/* {\n\t\t\tmax_age 10h\n\t\t}\n\t\trequire /account/* {\n\t\t\tscope birthDate\n\t\t}"},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := harness.NewWorld(b)
			w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login 123456 {\n\t\tscope openid name phoneNumber email birthDate address\n\t\t" + c.lines + "\n\t}\n\trespond ok\n}\n")
			visitor := harness.NewBrowser(b)
			visitor.Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(b, http.StatusOK)
			app, err := caddy.ActiveContext().App("http")
			if err != nil {
				b.Fatal(err)
			}
			hotPath{app.(*caddyhttp.App).Servers["srv0"], visitor.Cookies(w.Shop("shop-a.localhost") + "/")}.request(b, "shop-a.localhost")
		})
	}
}
