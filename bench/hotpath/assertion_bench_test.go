package hotpath_test

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// assertionHotPath is a request with a session at a site with these lines in its directive.
func assertionHotPath(t testing.TB, lines string) hotPath {
	t.Helper()
	w := harness.NewWorld(t)
	w.Load("http://shop-a.localhost:$HTTP {\n\tvipps_login 123456 {\n\t\tscope openid name phoneNumber email birthDate address\n\t\t" + lines + "\n\t}\n\trespond ok\n}\n")
	visitor := harness.NewBrowser(t)
	visitor.Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	return hotPath{app.(*caddyhttp.App).Servers["srv0"], visitor.Cookies(w.Shop("shop-a.localhost") + "/")}
}

// BenchmarkAssertion is what assertion adds to a request with a session: nearly always the assertion is signed already.
func BenchmarkAssertion(b *testing.B) {
	for _, c := range []struct{ name, lines string }{{"none", "header_limit 8KiB"}, {"assertion", "assertion {\n\t\t\tlifetime 1h\n\t\t}"}} {
		b.Run(c.name, func(b *testing.B) { assertionHotPath(b, c.lines).request(b, "shop-a.localhost") })
	}
}

// maxAssertionAllocations is how many allocations an assertion may add to a request with a session.
const maxAssertionAllocations = 2

// TestAssertionHotPath: an assertion that is signed already costs little.
func TestAssertionHotPath(t *testing.T) {
	var allocations [2]int64
	for i, lines := range []string{"header_limit 8KiB", "assertion {\n\t\t\tlifetime 1h\n\t\t}"} {
		path := assertionHotPath(t, lines)
		allocations[i] = testing.Benchmark(func(b *testing.B) { path.request(b, "shop-a.localhost") }).AllocsPerOp()
	}
	if added := allocations[1] - allocations[0]; added > maxAssertionAllocations || added < 1 {
		t.Errorf("an assertion adds %d allocations", added)
	}
}
