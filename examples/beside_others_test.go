package examples_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

const othersShop, othersClub = "shop.example.no", "club.example.no"

func TestBesideOthers(t *testing.T) {
	site, err := filepath.Abs("beside-others/site")
	if err != nil {
		t.Fatal(err)
	}
	e := start(t, setup{
		folder: "beside-others", hosts: map[string]string{othersShop: "123456", othersClub: "234567"},
		swaps: map[string]string{"/srv/shop": site},
	})
	b := e.browser()
	home, manifest, api := e.url(othersShop, "/"), e.url(othersShop, "/account/app.webmanifest"), e.url(othersShop, "/api/orders")
	preflight := []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Origin: https://app.example.no", "Access-Control-Request-Method: GET"}

	b.open(home).want(t, http.StatusOK, home, "By placeholder: </p>")
	b.do(b.request(http.MethodGet, manifest, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: manifest")).want(t, http.StatusUnauthorized, manifest)
	b.do(b.request(http.MethodOptions, api, preflight...)).want(t, http.StatusNoContent, api)
	b.do(b.request(http.MethodOptions, api, preflight[:3]...)).want(t, http.StatusUnauthorized, api) // no preflight
	b.do(b.request(http.MethodGet, api, preflight...)).want(t, http.StatusUnauthorized, api)

	account := e.url(othersShop, "/vipps/login?return_to=/")
	page := b.login(account, bjorn)
	page.want(t, http.StatusOK, home, "By placeholder: Bjørn Ærlig-Åsen", "<p>Included for Bjørn Ærlig-Åsen.</p>")
	if _, included, _ := strings.Cut(page.body, "By httpInclude: "); !strings.HasPrefix(included, "<p>Included for .</p>") {
		t.Errorf("httpInclude shows %s", included)
	}
	b.open(manifest).want(t, http.StatusOK, manifest, `"Shop"`)
	b.open(api).want(t, http.StatusOK, api, "The orders of Bjørn Ærlig-Åsen")

	staff := e.url(othersShop, "/staff")
	request := b.request(http.MethodGet, staff)
	request.SetBasicAuth("bob", "staff-password")
	page = b.do(request)
	page.want(t, http.StatusOK, staff, "bob serves ")
	if strings.HasSuffix(page.body, "serves ") || strings.HasSuffix(page.body, "serves bob") {
		t.Errorf("the user of Vipps MobilePay is not known: %s", page.body)
	}

	club := e.url(othersClub, "/")
	b.login(club, kari).want(t, http.StatusOK, club, "Member Kari Nordmann")
}
