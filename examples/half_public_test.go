package examples_test

import (
	"net/http"
	"strings"
	"testing"
)

const halfShop = "shop.example.no"

func startHalfPublic(t *testing.T, options string) *example {
	t.Helper()
	return start(t, setup{
		folder: "half-public", hosts: map[string]string{halfShop: "123456"}, options: options,
		swaps: map[string]string{"127.0.0.1:8000": python(t, "half-public/app.py")},
	})
}

func TestHalfPublic(t *testing.T) {
	e := startHalfPublic(t, "")
	b := e.browser()
	home, account, checkout := e.url(halfShop, "/"), e.url(halfShop, "/account"), e.url(halfShop, "/checkout/")

	b.open(home).want(t, http.StatusOK, home, "<h1>Welcome!</h1>")
	if cache := b.open(home).header.Get("Cache-Control"); !strings.HasPrefix(cache, "public") {
		t.Errorf("Cache-Control: %s", cache)
	}
	b.login(account, bjorn).want(t, http.StatusOK, account, "<h1>Account of Bjørn Ærlig-Åsen</h1>")
	b.open(home).want(t, http.StatusOK, home, "<h1>Welcome, Bjørn Ærlig-Åsen!</h1>")
	if cache := b.open(home).header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("a page that greets somebody: Cache-Control: %s", cache)
	}
	b.open(checkout).want(t, http.StatusOK, checkout, "<h1>Send it to bjørn@ærlig-åsen.example.no?</h1>")
	b.do(b.request(http.MethodPost, checkout)).want(t, http.StatusOK, checkout, "<h1>Thank you!</h1>")

	b.open(e.url(halfShop, "/vipps/logout?return_to=/")).want(t, http.StatusOK, home, "<h1>Welcome!</h1>")
	// A form that is sent without a session is not lost in a redirect.
	page := b.do(b.request(http.MethodPost, checkout))
	page.want(t, http.StatusUnauthorized, checkout)
	if !strings.Contains(page.body, "/vipps/login?return_to=") || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Errorf("no page with a way to log in: %s", page.body)
	}
	// The link on the public page leads to a login and back.
	b.login(e.url(halfShop, "/vipps/login?return_to=/"), kari).want(t, http.StatusOK, home, "<h1>Welcome, Kari Nordmann!</h1>")
}

// TestHalfPublicSpoofing: on the public pages, where everybody gets through, too.
func TestHalfPublicSpoofing(t *testing.T) {
	for name, options := range filters("X-Vipps-Sub", "X-Vipps-Name") {
		t.Run(name, func(t *testing.T) {
			e := startHalfPublic(t, options)
			b := e.browser()
			home := e.url(halfShop, "/")
			for i, field := range spellings("X-Vipps-Sub") {
				b.open(home, field+": evil", spellings("X-Vipps-Name")[i]+": evil").want(t, http.StatusOK, home, "<h1>Welcome!</h1>")
			}
		})
	}
}

// TestHalfPublicPaths: no spelling of a private page gets past the login to the shop's code for it.
func TestHalfPublicPaths(t *testing.T) {
	e := startHalfPublic(t, "")
	b := e.browser()
	for _, path := range append([]string{"/checkout", "/checkout/pay", "/Checkout", "/news/..;/account", "/..;/checkout"}, accountPaths...) {
		page := b.first(b.request(http.MethodGet, e.url(halfShop, path)))
		refused := page.status == http.StatusBadRequest && page.body == ""
		if !e.asksForLogin(page) && !refused {
			t.Errorf("%s needs no login: %d %s", path, page.status, page.body)
		}
	}
	for _, path := range []string{"/", "/news", "/news/a..b", "/.well-known/x", "/news;x", "/en/account"} {
		if page := b.first(b.request(http.MethodGet, e.url(halfShop, path))); page.status != http.StatusOK {
			t.Errorf("%s: %d, want 200", path, page.status)
		}
	}
}
