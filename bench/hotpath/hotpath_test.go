package hotpath_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// hotPath is a Caddy with two sites that answer alike, of which one has the directive, and the requests
// of somebody who is logged in there, with three addresses and ten headers.
type hotPath struct {
	server  *caddyhttp.Server
	cookies string
}

func newHotPath(t testing.TB) hotPath {
	w := harness.NewWorld(t)
	w.Vipps.Answer(harness.PathUserinfo, func(rw http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		w.Vipps.Sim.ServeHTTP(recorder, r)
		var claims map[string]any
		if err := json.Unmarshal(recorder.Body.Bytes(), &claims); err != nil {
			t.Error(err)
		}
		address := func(kind string) map[string]any {
			return map[string]any{"address_type": kind, "street_address": "Bjørnstjerne Bjørnsons plass 1, fra gården\nOppgang B, 4. etasje", "postal_code": "0154",
				"region": "Oslo", "country": "NO", "formatted": "Bjørnstjerne Bjørnsons plass 1, fra gården\nOppgang B, 4. etasje\n0154\nOslo\nNO"}
		}
		claims["address"] = address("home")
		claims["other_addresses"] = []any{address("work"), address("other")}
		encoded, _ := json.Marshal(claims)
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(encoded)
	})
	w.Load(`
http://shop-a.localhost:$HTTP {
	vipps_login 123456 {
		scope openid name phoneNumber email birthDate address
	}
	respond ok
}
http://bare.localhost:$HTTP {
	respond ok
}
http://redir.localhost:$HTTP {
	redir https://login.example/
}
`)
	b := harness.NewBrowser(t)
	b.Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	return hotPath{app.(*caddyhttp.App).Servers["srv0"], b.Cookies(w.Shop("shop-a.localhost") + "/")}
}

// discard is a response that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header { return d.header }

func (d discard) Write(b []byte) (int, error) { return len(b), nil }

func (d discard) WriteHeader(int) {}

// SetWriteDeadline is what Caddy calls at every write. Where it is missing Caddy writes a line to its log,
// which costs more than all the rest.
func (d discard) SetWriteDeadline(time.Time) error { return nil }

func (p hotPath) measure(host string) testing.BenchmarkResult {
	return testing.Benchmark(func(b *testing.B) { p.request(b, host) })
}

func (p hotPath) request(b *testing.B, host string) {
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodGet, "http://"+host+"/account/orders?page=2", nil)
		r.Header = http.Header{"Accept": {"text/html"}, "Accept-Language": {"nb-NO,nb;q=0.9"},
			"User-Agent": {"Mozilla/5.0"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}
		if p.cookies != "" {
			r.Header["Cookie"] = []string{p.cookies}
		}
		p.server.ServeHTTP(discard{http.Header{}}, r)
	}
}

// maxHotBytes is what being logged in may cost for each request; allocations are in TestAllocations.
const maxHotBytes = 4096

// TestHotPath: what being logged in costs for each request, beside the same Caddy without the directive.
func TestHotPath(t *testing.T) {
	p := newHotPath(t)
	with, without := p.measure("shop-a.localhost"), p.measure("bare.localhost")
	allocations, bytes := with.AllocsPerOp()-without.AllocsPerOp(), with.AllocedBytesPerOp()-without.AllocedBytesPerOp()
	t.Logf("%d allocations, %d bytes more, with cookies of %d bytes", allocations, bytes, len(p.cookies))
	if bytes > maxHotBytes || allocations < 1 {
		t.Errorf("%d allocations and %d bytes more than without the directive, want at most %d bytes", allocations, bytes, maxHotBytes)
	}
}

// BenchmarkRequest is what a request costs from Caddy's server on, without the connection: with a session
// and without the directive, and the redirect to a login beside the cheapest redirect there is.
func BenchmarkRequest(b *testing.B) {
	p := newHotPath(b)
	for _, c := range []struct{ name, host, cookies string }{
		{"session", "shop-a.localhost", p.cookies},
		{"bare", "bare.localhost", p.cookies},
		{"login", "shop-a.localhost", ""},
		{"redir", "redir.localhost", ""},
	} {
		p.cookies = c.cookies
		b.Run(c.name, func(b *testing.B) { p.request(b, c.host) })
	}
}
