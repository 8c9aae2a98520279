package vippslogin_test

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
)

// TestCodeNeverLogged: whatever is asked of the callback's address, its code is in no log.
func TestCodeNeverLogged(t *testing.T) {
	for _, pages := range []string{"on", "off"} {
		w := newPhoneWorld(t)
		w.load(`
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
					b := newBrowser(t)
					b.do(newRequest(t, method, w.shop(host)+path, nil))
				}
			}
		}
		if log := w.logged(); strings.Contains(log, "SECRET") {
			i := strings.Index(log, "SECRET")
			t.Errorf("error_pages %s: %s", pages, log[max(0, i-300):i+6])
		}
	}
}

// TestMatcherWithPlaceholders sees the request as it was sent, too.
func TestMatcherWithPlaceholders(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	w := newWorld(t)
	for _, before := range []string{"", "tracing"} { // which hands on a copy of the request
		for _, matcher := range []string{"expression {path}.startsWith('/account')", "vars {path} /account/x", "path /account/*", "path_regexp ^/account"} {
			w.load(`
http://shop-a.localhost:$HTTP {
	` + before + `
	@private ` + matcher + `
	vipps_login @private 123456
	rewrite * /index.php
	respond "{path}"
}
`)
			for _, path := range []string{"/account/x", "/./account/x", "/y/../account/x", "/%2e/account/x", "/y/%2e%2e/account/x", "/%2faccount/x", "/;y/account/x", "//account/x", "/%2561ccount/x"} {
				if status := rawGetWith(t, w.http, path, ""); status != http.StatusFound {
					t.Errorf("%s %s: %s: got %d", before, matcher, path, status)
				}
			}
			if a := newBrowser(t).get(w.shop("shop-a.localhost")+"/public").wantStatus(t, http.StatusOK); a.body != "/index.php" {
				t.Errorf("%s %s: the request stayed changed: %s", before, matcher, a.body)
			}
		}
	}
}

// TestDirectiveTwice fails closed; in handle_errors the first one's visit counts.
func TestDirectiveTwice(t *testing.T) {
	w := newWorld(t)
	w.load(`
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
	newBrowser(t).get(w.shop("shop-a.localhost")+"/a/x").wantStatus(t, http.StatusFound)
	newBrowser(t).get(w.shop("shop-a.localhost")+"/c/x").wantStatus(t, http.StatusInternalServerError)
	if w.upstream.count() != 0 || !strings.Contains(w.logged(), "write it once in a site") {
		t.Error("the site was reached, or the log says nothing")
	}
	b := newBrowser(t)
	b.login(w.shop("shop-b.localhost")+"/", kari).wantStatus(t, http.StatusOK)
	b.get(w.shop("shop-b.localhost")+"/missing", "X-Vipps-Name: evil")
	if r := w.upstream.last(t); r.URL.Path != "/missing" || r.Header.Get("X-Vipps-Name") != "Kari Nordmann" || r.Header.Get("Cookie") != "" {
		t.Errorf("the error page got %v", r.Header)
	}
	// What fails before us, before a merchant is known, or at an endpoint, has its error page too, and no login.
	w.vipps.answer(pathDiscovery, status(500, ""))
	for _, address := range []string{
		w.shop("unknown.localhost") + "/vipps/login", w.shop("unknown.localhost") + "/vipps/callback",
		w.shop("known.localhost") + "/vipps/callback", w.shop("shop-c.localhost") + "/early",
	} {
		newBrowser(t).get(address, "X-Vipps-Name: evil").wantStatus(t, http.StatusOK)
		if r := w.upstream.last(t); r.Header.Get("X-Vipps-Name") != "" {
			t.Errorf("%s: the error page got %v", address, r.Header)
		}
	}
	if strings.Contains(w.logged(), "panic") {
		t.Error("a panic")
	}
}

// TestSiteForEveryHost is refused whatever order Caddy provisions its servers in.
func TestSiteForEveryHost(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		for _, other := range []string{"123456", "234567"} {
			err := w.tryLoad(w.globals() + "http://shop-b.localhost:$HTTP {\n\tvipps_login " + other + "\n}\nhttp://:$HTTPS {\n\tvipps_login 123456\n}\n")
			if err == nil || !strings.Contains(err.Error(), "the site has no host names") {
				t.Fatalf("beside a site of MSN %s: %v", other, err)
			}
		}
		w.load("http://shop-b.localhost:$HTTP {\n\tvipps_login 123456\n}\nhttp://:$HTTPS {\n\tvipps_login {\n\t\tmerchant 123456 x.localhost\n\t}\n}\n")
	}
}

// TestPlaceholderOfAnotherHost: an MSN that a placeholder finds by the Host is not used for the host that
// a trusted proxy names.
func TestPlaceholderOfAnotherHost(t *testing.T) {
	w := newWorld(t)
	w.loadWhole(strings.Replace(w.globals(), "protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static 127.0.0.0/8", 1) + `
http://shop-a.localhost:$HTTP, http://shop-b.localhost:$HTTP {
	map {host} {msn} {
		shop-a.localhost 123456
		shop-b.localhost 234567
	}
	vipps_login {msn}
	reverse_proxy $UPSTREAM
}
`)
	shop := w.shop("shop-a.localhost") + "/"
	newBrowser(t).get(shop, "X-Forwarded-Host: shop-b.localhost", "X-Forwarded-Proto: https").wantStatus(t, http.StatusMisdirectedRequest)
	for proto, want := range map[string]string{"https": "https://shop-a.localhost/", "HTTPS": "https://shop-a.localhost/", "http, https": "https://shop-a.localhost/", "https, http": "http://shop-a.localhost/", "gopher": w.shop("shop-a.localhost") + "/"} {
		a := newBrowser(t).get(shop, "X-Forwarded-Host: shop-a.localhost", "X-Forwarded-Proto: "+proto).wantStatus(t, http.StatusFound)
		if got := mustQuery(t, a.location()).Get("redirect_uri"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", proto, got)
		}
	}
}

// TestSpentThroughReloads: another config knows which logins were spent.
func TestSpentThroughReloads(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	callback := b.approved(shop+"/", kari).location()
	kept := b.cookies(shop + "/")
	b.get(withQuery(t, callback, "code=wrong")).wantStatus(t, http.StatusBadRequest)
	w.loadWhole(strings.Replace(w.globals(), "client_id", "system other\n\t\tclient_id", 1) + twoShops)
	b.get(callback, "Cookie: "+kept).wantStatus(t, http.StatusBadRequest)
}

// TestStartBesideADeadInstance: the lock that it left is not waited for where the secret is there.
func TestStartBesideADeadInstance(t *testing.T) {
	w := newWorld(t)
	globals := strings.Replace(w.globals(), "cookie_secret "+cookieSecret, "", 1)
	w.loadWhole(globals + twoShops)
	locks := filepath.Join(w.storage, "locks")
	now := time.Now().Format(time.RFC3339Nano)
	if err := os.WriteFile(filepath.Join(locks, "vipps_login_cookie_secret.lock"), fmt.Appendf(nil, `{"created":%q,"updated":%q}`, now, now), 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	w.loadWhole(globals + twoShops)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the start took %s", took)
	}
}

// TestImpatientPerson leaves while the code is exchanged, comes back, and is logged in.
func TestImpatientPerson(t *testing.T) {
	w := newWorld(t)
	w.load(twoShops)
	shop := w.shop("shop-a.localhost")
	arrived, goOn := make(chan struct{}), make(chan struct{})
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-goOn
		w.vipps.sim.ServeHTTP(rw, r)
	})
	b := newBrowser(t)
	req := newRequest(t, http.MethodGet, b.approved(shop+"/", kari).location(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	var gone sync.WaitGroup
	gone.Go(func() {
		if _, err := b.client.Do(req.WithContext(ctx)); err == nil {
			t.Error("the person did not leave")
		}
	})
	<-arrived
	cancel()
	gone.Wait()
	close(goOn)
	waitFor(t, func() bool { return strings.Contains(w.logged(), "login completed") })
	if strings.Contains(w.logged(), "no_answer") {
		t.Error("a person who leaves is logged as an error of Vipps")
	}
}

// TestRedirectsAreNotFollowed: our keys go nowhere but to Vipps.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, path := range []string{pathAccessToken, pathToken, pathUserinfo, pathKeys, pathDiscovery} {
		w := newWorld(t)
		w.load(twoShops)
		followed := path + "/elsewhere"
		w.vipps.answer(path, http.RedirectHandler(followed, http.StatusTemporaryRedirect).ServeHTTP)
		w.vipps.answer(followed, func(rw http.ResponseWriter, r *http.Request) {
			r.URL.Path = path
			w.vipps.sim.ServeHTTP(rw, r)
		})
		b := newBrowser(t)
		a := b.get(w.shop("shop-a.localhost") + "/")
		if a.StatusCode == http.StatusFound {
			a = b.login(w.shop("shop-a.localhost")+"/", kari)
		}
		a.wantStatus(t, http.StatusBadGateway)
		if n := len(w.vipps.requests(followed)); n > 0 {
			t.Errorf("%s: the redirect was followed", path)
		}
	}
}
