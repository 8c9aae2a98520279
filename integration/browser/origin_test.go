package browser_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// redirectURIOf is the redirect URI of a login that starts with this request.
func redirectURIOf(t *testing.T, a harness.Answer) string {
	t.Helper()
	to, err := url.Parse(a.WantStatus(t, http.StatusFound).RedirectTo())
	if err != nil {
		t.Fatal(err)
	}
	return to.Query().Get("redirect_uri")
}

// TestForwardedOrigin: what a trusted proxy says of scheme and port, in each of the ways that proxies have.
func TestForwardedOrigin(t *testing.T) {
	w := harness.NewWorld(t)
	w.LoadWhole(strings.Replace(w.Globals(), "protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static 127.0.0.0/8", 1) + harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	for _, test := range []struct{ header, want string }{
		{"X-Forwarded-Proto: https|Host: shop-a.localhost", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: https|Host: shop-a.localhost:443", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: https|Host: shop-a.localhost:8443", "https://shop-a.localhost:8443"},
		{"X-Forwarded-Proto: https|X-Forwarded-Host: shop-a.localhost:8443", "https://shop-a.localhost:8443"},
		{"X-Forwarded-Proto: https|X-Forwarded-Host: shop-a.localhost", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: https|X-Forwarded-Host: shop-a.localhost|X-Forwarded-Port: 8443", "https://shop-a.localhost:8443"},
		{"X-Forwarded-Proto: https|X-Forwarded-Host: shop-a.localhost|X-Forwarded-Port: 443", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: https|Host: shop-a.localhost|X-Forwarded-Port: 8443", "https://shop-a.localhost:8443"},
		{"X-Forwarded-Proto: https|Host: shop-a.localhost|X-Forwarded-Port: 8443x", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: http|Host: shop-a.localhost|X-Forwarded-Port: 80", "http://shop-a.localhost"},
		{"X-Forwarded-Proto: https|Host: shop-a.localhost|X-Forwarded-Port: 80", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: https|Host: shop-a.localhost:80", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: https|X-Forwarded-Host: shop-a.localhost:80", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: https|X-Forwarded-Host: cdn.localhost, shop-a.localhost", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: https|X-Forwarded-Host: cdn.localhost:99, shop-a.localhost:8443", "https://shop-a.localhost:8443"},
		{"X-Forwarded-Proto: http|Host: shop-a.localhost|X-Forwarded-Port: 443", "http://shop-a.localhost"},
		{"X-Forwarded-Proto: https|Host: shop-a.localhost|X-Forwarded-Port: 8443, 80", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: https|Host: shop-a.localhost|X-Forwarded-Port: 08443", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: wss|Host: shop-a.localhost", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: WSS|Host: shop-a.localhost", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: ws|Host: shop-a.localhost", "http://shop-a.localhost"},
		{"X-Forwarded-Proto: http, wss|Host: shop-a.localhost", "https://shop-a.localhost"},
		{"X-Forwarded-Proto: gopher", shop},
	} {
		a := harness.NewBrowser(t).Get(shop+"/", strings.Split(test.header, "|")...)
		if got := redirectURIOf(t, a); got != test.want+"/vipps/callback" {
			t.Errorf("%s: got %s, want %s", test.header, got, test.want)
		}
		if secure := strings.Contains(a.Header.Get("Set-Cookie"), "__Host-"); secure != strings.HasPrefix(test.want, "https") {
			t.Errorf("%s: cookie %s", test.header, a.Header.Get("Set-Cookie"))
		}
	}
	harness.NewBrowser(t).Get(shop+"/", "X-Forwarded-Proto: gopher")
	if n := strings.Count(w.Logged(), "sends an X-Forwarded-Proto that is none of"); n != 1 {
		t.Errorf("an unknown scheme is told %d times", n)
	}
}

// TestPortOutside: with https_port in a container, 443 outside; the browser says which it sees.
func TestPortOutside(t *testing.T) {
	w := harness.NewWorld(t)
	w.LoadWhole(strings.Replace(w.Globals(), "admin off", fmt.Sprintf("admin off\n\thttp_port %d", w.HTTP), 1) + harness.TwoShops)
	for host, want := range map[string]string{
		"shop-a.localhost":                         "http://shop-a.localhost",
		fmt.Sprintf("shop-a.localhost:%d", w.HTTP): w.Shop("shop-a.localhost"),
	} {
		if got := redirectURIOf(t, harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/", "Host: "+host)); got != want+"/vipps/callback" {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
	w.Load(harness.TwoShops) // a port of its own, which no Host can leave out
	if got := redirectURIOf(t, harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/", "Host: shop-a.localhost")); got != w.Shop("shop-a.localhost")+"/vipps/callback" {
		t.Errorf("got %s", got)
	}
}

// TestPublicOrigin: where nobody can say what browsers see, the config does, whatever a request says.
func TestPublicOrigin(t *testing.T) {
	w := harness.WorldWith(t, func(w *harness.World) []simulator.Merchant {
		return []simulator.Merchant{{MSN: "123456", RedirectURIs: []string{"https://shop-a.localhost:8443/vipps/callback", "https://shop-b.localhost:8443/vipps/callback"}}}
	})
	trusting := strings.Replace(w.Globals(), "protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static 127.0.0.0/8", 1)
	site := func(hosts, public string) string {
		return hosts + " {\n\tvipps_login 123456 {\n\t\tpublic_origin " + public + "\n\t}\n\treverse_proxy $UPSTREAM\n}\n"
	}
	for name, config := range map[string]string{
		"fixed":       site("http://shop-a.localhost:$HTTP", "https://shop-a.localhost:8443"),
		"placeholder": site("http://shop-a.localhost:$HTTP, http://shop-b.localhost:$HTTP", "https://{host}:8443"),
		"long":        site("http://shop-a.localhost:$HTTP, http://shop-b.localhost:$HTTP", "https://{http.request.host}:8443"),
		"variable":    site("http://shop-a.localhost:$HTTP, http://shop-b.localhost:$HTTP", "{env.PUBLIC_SCHEME}://{host}:8443"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PUBLIC_SCHEME", "https")
			w.LoadWhole(trusting + config)
			shop := w.Shop("shop-a.localhost")
			for _, header := range []string{"X-Nothing: to see", "X-Forwarded-Proto: http", "X-Forwarded-Port: 1", "X-Forwarded-Host: shop-a.localhost:99", "Host: shop-a.localhost"} {
				b := harness.NewBrowser(t)
				a := b.Get(shop+"/wanted", header)
				if got := redirectURIOf(t, a); got != "https://shop-a.localhost:8443/vipps/callback" {
					t.Errorf("%s: redirect URI %s", header, got)
				}
				if !strings.HasPrefix(a.Header.Get("Set-Cookie"), "__Host-") || !strings.Contains(a.Header.Get("Set-Cookie"), "Secure") {
					t.Errorf("%s: cookie %s", header, a.Header.Get("Set-Cookie"))
				}
			}
			// The whole way, with cookies as browsers keep them for HTTPS.
			b := harness.NewBrowser(t)
			started := b.Get(shop + "/wanted")
			back := b.Consent(b.Follow(started), url.Values{"user": {harness.Kari}, "answer": {"approve"}}).RedirectTo()
			pair, _, _ := strings.Cut(started.Header.Get("Set-Cookie"), ";")
			a := harness.NewBrowser(t).Get(strings.Replace(back, "https://shop-a.localhost:8443", shop, 1), "Cookie: "+pair).WantStatus(t, http.StatusFound)
			if a.RedirectTo() != "https://shop-a.localhost:8443/wanted" {
				t.Errorf("led to %s", a.RedirectTo())
			}
			var session string
			for _, c := range a.Cookies() {
				if strings.HasSuffix(c.Name, "vipps_session") {
					session = c.Name + "=" + c.Value
				}
			}
			harness.NewBrowser(t).Get(shop+"/", "Cookie: "+session).WantStatus(t, http.StatusOK)
			// A POST from the public origin is ours, one from what the listener is called is not.
			for origin, want := range map[string]int{"https://shop-a.localhost:8443": http.StatusSeeOther, shop: http.StatusForbidden} {
				req := harness.NewRequest(t, http.MethodPost, shop+"/vipps/logout", nil, "Origin: "+origin, "Cookie: "+session)
				harness.NewBrowser(t).Do(req).WantStatus(t, want)
			}
		})
	}
}

// TestMisspeltHosts: a host in another spelling than its own goes there first, with path and query: browsers keep
// cookies for each spelling apart.
func TestMisspeltHosts(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(`
http://:$HTTP {
	vipps_login /account/* {
		merchant 123456 shop-a.localhost
		merchant 234567 shop-b.localhost
	}
	respond hello
}
`)
	for _, test := range []struct {
		method, shop, host, path string
		want                     int
	}{
		{"GET", "shop-a.localhost", "shop-a.localhost.", "/account/a?b=%20c", 308},
		{"HEAD", "shop-a.localhost", "shop-a.localhost.", "/", 308},
		{"GET", "shop-a.localhost", "SHOP-A.localhost", "/vipps/login?return_to=/x", 308},
		{"GET", "shop-b.localhost", "Shop-B.localhost.", "/public", 308},
		{"GET", "shop-b.localhost", "shop-b.localhost.", "//evil.example/", 308},
		{"POST", "shop-b.localhost", "shop-b.localhost.", "/public", 200},
		{"GET", "shop-b.localhost", "shop-b.localhost", "/public", 200},
		{"GET", "shop-a.localhost", "shop-x.localhost.", "/", 421},
	} {
		shop := w.Shop(test.shop)
		a := harness.NewBrowser(t).Do(harness.NewRequest(t, test.method, shop+test.path, nil, fmt.Sprintf("Host: %s:%d", test.host, w.HTTP)))
		if a.StatusCode != test.want {
			t.Errorf("%s %s%s: %d", test.method, test.host, test.path, a.StatusCode)
		}
		if test.want == 308 && a.RedirectTo() != shop+test.path {
			t.Errorf("%s%s leads to %s", test.host, test.path, a.RedirectTo())
		}
	}
}

// TestMisspeltPublicHosts: with public_origin, too, where what is asked for is the public host. A proxy that calls the
// site by another name may spell that as it likes: a redirect would come back to the same.
func TestMisspeltPublicHosts(t *testing.T) {
	w := harness.NewWorld(t)
	for public, hosts := range map[string]map[string]int{
		"https://{host}:8443":           {"shop-a.localhost.": 308, "SHOP-A.localhost": 308, "shop-a.localhost": 200},
		"https://shop-a.localhost:8443": {"shop-a.localhost.": 308, "SHOP-A.localhost": 308, "shop-a.localhost": 200},
		"https://shop.example:8443":     {"shop-a.localhost.": 200, "SHOP-A.localhost": 200, "shop-a.localhost": 200},
	} {
		w.Load("http://:$HTTP {\n\tvipps_login /account/* {\n\t\tmerchant 123456 shop-a.localhost\n\t\tpublic_origin " + public + "\n\t}\n\trespond hello\n}\n")
		for host, want := range hosts {
			a := harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/public?x", fmt.Sprintf("Host: %s:%d", host, w.HTTP)).WantStatus(t, want)
			if want == 308 && a.RedirectTo() != "https://shop-a.localhost:8443/public?x" {
				t.Errorf("%s at %s leads to %s", host, public, a.RedirectTo())
			}
		}
	}
}
