package browser_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestCodeNeverLogged: whatever is asked of the callback's address, its code is in no log.
func TestCodeNeverLogged(t *testing.T) {
	for _, pages := range []string{"on", "off"} {
		w := harness.NewPhoneWorld(t)
		w.Load(`
http://:$HTTP {
	log
	vipps_login {
		merchant 123456 shop-a.localhost
		error_pages ` + pages + `
		phone {
			api_key {env.TILL_API_KEY}
		}
	}
	reverse_proxy $UPSTREAM
	handle_errors {
		respond "site says {http.error.status_code}"
	}
}
`)
		for _, path := range []string{"/vipps/callback?state=s&code=SECRET", "/vipps/phone/callback?code=SECRET"} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT"} {
				for _, host := range []string{"shop-a.localhost", "unknown.localhost"} {
					b := harness.NewBrowser(t)
					b.Do(harness.NewRequest(t, method, w.Shop(host)+path, nil))
				}
			}
		}
		if log := w.Logged(); strings.Contains(log, "SECRET") {
			i := strings.Index(log, "SECRET")
			t.Errorf("error_pages %s: %s", pages, log[max(0, i-300):i+6])
		}
	}
}

// TestMatcherWithPlaceholders sees the request as it was sent, too.
func TestMatcherWithPlaceholders(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	w := harness.NewWorld(t)
	for _, before := range []string{"", "tracing"} { // which hands on a copy of the request
		for _, matcher := range []string{"expression {path}.startsWith('/account')", "vars {path} /account/x", "path /account/*", "path_regexp ^/account"} {
			w.Load(`
http://shop-a.localhost:$HTTP {
	` + before + `
	@private ` + matcher + `
	vipps_login @private 123456
	rewrite * /index.php
	respond "{path}"
}
`)
			for _, path := range []string{"/account/x", "/./account/x", "/y/../account/x", "/%2e/account/x", "/y/%2e%2e/account/x", "/%2faccount/x", "/;y/account/x", "//account/x", "/%2561ccount/x"} {
				if status := harness.RawGetWith(t, w.HTTP, path, ""); status != http.StatusFound {
					t.Errorf("%s %s: %s: got %d", before, matcher, path, status)
				}
			}
			if a := harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/public").WantStatus(t, http.StatusOK); a.Text != "/index.php" {
				t.Errorf("%s %s: the request stayed changed: %s", before, matcher, a.Text)
			}
		}
	}
}

// TestDirectiveTwice fails closed; in handle_errors the first one's visit counts.
func TestDirectiveTwice(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(`
http://shop-a.localhost:$HTTP {
	@known_later not header X-None *
	route {
		route @known_later {
			vipps_login /a/* 123456
		}
		vipps_login /b/* 123456
	}
	reverse_proxy $UPSTREAM
}
http://shop-b.localhost:$HTTP {
	vipps_login 234567
	error /missing 404
	reverse_proxy $UPSTREAM
	handle_errors {
		vipps_login 234567
		reverse_proxy $UPSTREAM
	}
}
http://shop-c.localhost:$HTTP {
	route {
		error /early 404
		vipps_login /account/* {
			merchant 123456 shop-c.localhost
		}
	}
	handle_errors {
		vipps_login /account/* {
			merchant 123456 shop-c.localhost
		}
		reverse_proxy $UPSTREAM
	}
}
http://:$HTTP {
	vipps_login {
		merchant 123456 known.localhost
		error_pages off
	}
	handle_errors {
		vipps_login {
			merchant 123456 known.localhost
		}
		reverse_proxy $UPSTREAM
	}
}
`)
	harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/a/x").WantStatus(t, http.StatusFound)
	harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/c/x").WantStatus(t, http.StatusInternalServerError)
	if w.Upstream.Count() != 0 || !strings.Contains(w.Logged(), "write it once in a site") {
		t.Error("the site was reached, or the log says nothing")
	}
	b := harness.NewBrowser(t)
	b.Login(w.Shop("shop-b.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
	b.Get(w.Shop("shop-b.localhost")+"/missing", "X-Vipps-Name: evil")
	if r := w.Upstream.Last(t); r.URL.Path != "/missing" || r.Header.Get("X-Vipps-Name") != "Kari Nordmann" || r.Header.Get("Cookie") != "" {
		t.Errorf("the error page got %v", r.Header)
	}
	// What fails before us, before a merchant is known, or at an endpoint, has its error page too, and no login.
	w.Vipps.Answer(harness.PathDiscovery, harness.WithStatus(500, ""))
	for _, address := range []string{
		w.Shop("unknown.localhost") + "/vipps/login", w.Shop("unknown.localhost") + "/vipps/callback",
		w.Shop("known.localhost") + "/vipps/callback", w.Shop("shop-c.localhost") + "/early",
	} {
		harness.NewBrowser(t).Get(address, "X-Vipps-Name: evil").WantStatus(t, http.StatusOK)
		if r := w.Upstream.Last(t); r.Header.Get("X-Vipps-Name") != "" {
			t.Errorf("%s: the error page got %v", address, r.Header)
		}
	}
	if strings.Contains(w.Logged(), "panic") {
		t.Error("a panic")
	}
}

// TestSiteForEveryHost is refused whatever order Caddy provisions its servers in.
func TestSiteForEveryHost(t *testing.T) {
	w := harness.NewWorld(t)
	for range 20 {
		for _, other := range []string{"123456", "234567"} {
			err := w.TryLoad(w.Globals() + "http://shop-b.localhost:$HTTP {\n\tvipps_login " + other + "\n}\nhttp://:$HTTPS {\n\tvipps_login 123456\n}\n")
			if err == nil || !strings.Contains(err.Error(), "the site has no host names") {
				t.Fatalf("beside a site of MSN %s: %v", other, err)
			}
		}
		w.Load("http://shop-b.localhost:$HTTP {\n\tvipps_login 123456\n}\nhttp://:$HTTPS {\n\tvipps_login {\n\t\tmerchant 123456 x.localhost\n\t}\n}\n")
	}
}

// TestPlaceholderOfAnotherHost: an MSN that a placeholder finds by the Host is not used for the host that
// a trusted proxy names.
func TestPlaceholderOfAnotherHost(t *testing.T) {
	w := harness.NewWorld(t)
	w.LoadWhole(strings.Replace(w.Globals(), "protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static 127.0.0.0/8", 1) + `
http://shop-a.localhost:$HTTP, http://shop-b.localhost:$HTTP {
	map {host} {msn} {
		shop-a.localhost 123456
		shop-b.localhost 234567
	}
	vipps_login {msn}
	reverse_proxy $UPSTREAM
}
`)
	shop := w.Shop("shop-a.localhost") + "/"
	harness.NewBrowser(t).Get(shop, "X-Forwarded-Host: shop-b.localhost", "X-Forwarded-Proto: https").WantStatus(t, http.StatusMisdirectedRequest)
	for proto, want := range map[string]string{"https": "https://shop-a.localhost/", "HTTPS": "https://shop-a.localhost/", "http, https": "https://shop-a.localhost/", "https, http": "http://shop-a.localhost/", "gopher": w.Shop("shop-a.localhost") + "/"} {
		a := harness.NewBrowser(t).Get(shop, "X-Forwarded-Host: shop-a.localhost", "X-Forwarded-Proto: "+proto).WantStatus(t, http.StatusFound)
		if got := harness.MustQuery(t, a.RedirectTo()).Get("redirect_uri"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", proto, got)
		}
	}
}

// TestSpentThroughReloads: another config knows which logins were spent.
func TestSpentThroughReloads(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	callback := b.Approved(shop+"/", harness.Kari).RedirectTo()
	kept := b.Cookies(shop + "/")
	b.Get(harness.WithQuery(t, callback, "code=wrong")).WantStatus(t, http.StatusBadRequest)
	w.LoadWhole(strings.Replace(w.Globals(), "client_id", "system other\n\t\tclient_id", 1) + harness.TwoShops)
	b.Get(callback, "Cookie: "+kept).WantStatus(t, http.StatusBadRequest)
}

// TestStartBesideADeadInstance: the lock that it left is not waited for where the secret is there.
func TestStartBesideADeadInstance(t *testing.T) {
	w := harness.NewWorld(t)
	globals := strings.Replace(w.Globals(), "cookie_secret "+harness.CookieSecret, "", 1)
	w.LoadWhole(globals + harness.TwoShops)
	locks := filepath.Join(w.Storage, "locks")
	now := time.Now().Format(time.RFC3339Nano)
	if err := os.WriteFile(filepath.Join(locks, "vipps_login_cookie_secret.lock"), fmt.Appendf(nil, `{"created":%q,"updated":%q}`, now, now), 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	w.LoadWhole(globals + harness.TwoShops)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the start took %s", took)
	}
}

// TestImpatientPerson leaves while the code is exchanged, comes back, and is logged in.
func TestImpatientPerson(t *testing.T) {
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	shop := w.Shop("shop-a.localhost")
	arrived, goOn := make(chan struct{}), make(chan struct{})
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-goOn
		w.Vipps.Sim.ServeHTTP(rw, r)
	})
	b := harness.NewBrowser(t)
	req := harness.NewRequest(t, http.MethodGet, b.Approved(shop+"/", harness.Kari).RedirectTo(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	var gone sync.WaitGroup
	gone.Go(func() {
		if _, err := b.Client.Do(req.WithContext(ctx)); err == nil {
			t.Error("the person did not leave")
		}
	})
	<-arrived
	cancel()
	gone.Wait()
	close(goOn)
	harness.WaitFor(t, func() bool { return strings.Contains(w.Logged(), "login completed") })
	if strings.Contains(w.Logged(), "no_answer") {
		t.Error("a person who leaves is logged as an error of Vipps")
	}
}

// TestRedirectsAreNotFollowed: our keys go nowhere but to Vipps.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, path := range []string{harness.PathAccessToken, harness.PathToken, harness.PathUserinfo, harness.PathKeys, harness.PathDiscovery} {
		w := harness.NewWorld(t)
		w.Load(harness.TwoShops)
		followed := path + "/elsewhere"
		w.Vipps.Answer(path, http.RedirectHandler(followed, http.StatusTemporaryRedirect).ServeHTTP)
		w.Vipps.Answer(followed, func(rw http.ResponseWriter, r *http.Request) {
			r.URL.Path = path
			w.Vipps.Sim.ServeHTTP(rw, r)
		})
		b := harness.NewBrowser(t)
		a := b.Get(w.Shop("shop-a.localhost") + "/")
		if a.StatusCode == http.StatusFound {
			a = b.Login(w.Shop("shop-a.localhost")+"/", harness.Kari)
		}
		a.WantStatus(t, http.StatusBadGateway)
		if n := len(w.Vipps.Requests(followed)); n > 0 {
			t.Errorf("%s: the redirect was followed", path)
		}
	}
}
