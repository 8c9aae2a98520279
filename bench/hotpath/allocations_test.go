//go:build !race

// The race detector makes sync.Pool drop what it is given now and then, so these counts are for builds without it.

package hotpath_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// sites answer alike, so that the difference is the directive's.
const sites = `
http://shop-a.localhost:$HTTP {
	vipps_login /account/* 123456 {
		scope openid name phoneNumber email birthDate address
	}
	respond ok
}
http://shop-b.localhost:$HTTP {
	vipps_login /account/* 234567 {
		scope openid name
	}
	respond ok
}
http://bare.localhost:$HTTP {
	respond ok
}
http://redir.localhost:$HTTP {
	redir https://login.example/
}
`

// allocations returns how many allocations a request takes.
func allocations(server *caddyhttp.Server, target, cookies string, status int) float64 {
	got := status
	n := testing.AllocsPerRun(500, func() {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.RequestURI = r.URL.RequestURI() // as a browser sends it
		r.Header = http.Header{"Accept": {"text/html"}, "Accept-Language": {"nb-NO,nb;q=0.9"},
			"User-Agent": {"Mozilla/5.0"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}
		if cookies != "" {
			r.Header["Cookie"] = []string{cookies}
		}
		answer := answered{discard{http.Header{}}, &got}
		server.ServeHTTP(answer, r)
	})
	if got != status {
		return -1
	}
	return n
}

// answered keeps the status.
type answered struct {
	discard
	status *int
}

func (a answered) WriteHeader(status int) { *a.status = status }

// TestAllocations: how many allocations each kind of request takes over a bare Caddy that answers alike. A count that grows
// fails: whoever needs more says here why.
func TestAllocations(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(sites)
	cookies := map[string]string{}
	for _, host := range []string{"shop-a.localhost", "shop-b.localhost"} {
		b := harness.NewBrowser(t)
		b.Login(w.Shop(host)+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
		cookies[host] = b.Cookies(w.Shop(host) + "/")
	}
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	server := app.(*caddyhttp.App).Servers["srv0"]
	const others = "PHPSESSID=0123456789abcdef; theme=dark"
	for _, c := range []struct {
		name, host, path, cookies string
		status                    int
		bare                      string
		most                      float64
	}{
		{"session with all headers", "shop-a.localhost", "/account/orders?page=2", cookies["shop-a.localhost"], http.StatusOK, "bare.localhost", 4},
		{"session with 6 headers", "shop-b.localhost", "/account/orders?page=2", cookies["shop-b.localhost"], http.StatusOK, "bare.localhost", 4},
		{"public page with a session", "shop-b.localhost", "/public?page=2", cookies["shop-b.localhost"], http.StatusOK, "bare.localhost", 4},
		{"public page with other cookies", "shop-b.localhost", "/public?page=2", others, http.StatusOK, "bare.localhost", 4},
		{"public page without cookies", "shop-b.localhost", "/public?page=2", "", http.StatusOK, "bare.localhost", 3},
		{"redirect", "shop-b.localhost", "/account/orders?page=2", "", http.StatusFound, "redir.localhost", 16},
		{"userinfo", "shop-a.localhost", "/vipps/userinfo", cookies["shop-a.localhost"], http.StatusOK, "bare.localhost", 48},
	} {
		with := allocations(server, "http://"+c.host+c.path, c.cookies, c.status)
		bare := allocations(server, "http://"+c.bare+c.path, c.cookies, c.status)
		t.Logf("%s: %.0f, bare %.0f", c.name, with, bare)
		if with < 0 || bare < 0 {
			t.Errorf("%s: another status than %d", c.name, c.status)
		} else if with-bare > c.most {
			t.Errorf("%s: %.0f allocations over the bare Caddy, want at most %.0f", c.name, with-bare, c.most)
		}
	}
}
