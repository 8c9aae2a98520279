package examples_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
)

// startOnDemand runs the Caddyfile of the example with the merchants of a folder.
func startOnDemand(t *testing.T, folder string, hosts map[string]string) (e *example, ask string) {
	t.Helper()
	legacy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s at %s", r.Header.Get("X-Vipps-Name"), r.Header.Get("X-Vipps-Msn"))
	}))
	t.Cleanup(legacy.Close)
	merchants, err := filepath.Abs(filepath.Join(folder, "merchants"))
	if err != nil {
		t.Fatal(err)
	}
	ask = fmt.Sprintf("http://127.0.0.1:%d", freeport.New(t))
	return start(t, setup{
		folder: folder, hosts: hosts,
		swaps: map[string]string{
			"\task http://127.0.0.1:9123": "\task " + ask,
			"\nhttp://127.0.0.1:9123 {":   "\n" + ask + " {",
			"/etc/caddy/merchants":        merchants,
			"127.0.0.1:8000":              strings.TrimPrefix(legacy.URL, "http://"),
		},
	}), ask
}

// certificates are the names that Caddy has certificates for.
func (e *example) certificates() map[string]bool {
	e.t.Helper()
	files, err := filepath.Glob(filepath.Join(e.storage, "certificates", "*", "*", "*.crt"))
	if err != nil {
		e.t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, file := range files {
		names[strings.TrimSuffix(filepath.Base(file), ".crt")] = true
	}
	return names
}

// TestOnDemandTLS: a merchant's host has a certificate at its first visit, and a login with its MSN; other
// names have nothing.
func TestOnDemandTLS(t *testing.T) {
	e, ask := startOnDemand(t, "on-demand-tls", map[string]string{"kafe.example": "123456", "www.kafe.example": "123456", "sauna.example": "345678"})
	if names := e.certificates(); len(names) > 0 {
		t.Errorf("certificates before anybody came: %v", names)
	}
	for _, host := range []string{"unknown.example", "kafe.example.evil.example", "example", "shop.sauna.example", "..", "*.example", "*", "127.0.0.1", ""} {
		if err := e.handshake(host); err == nil {
			t.Errorf("%q has a certificate", host)
		}
	}
	if names := e.certificates(); len(names) > 0 {
		t.Errorf("certificates for strangers: %v", names)
	}
	for host, want := range map[string]string{"kafe.example": "Bjørn Ærlig-Åsen at 123456", "sauna.example": "Bjørn Ærlig-Åsen at 345678"} {
		b := e.browser()
		home := e.url(host, "/")
		location, err := url.Parse(b.first(b.request(http.MethodGet, home)).header.Get("Location"))
		if err != nil || location.Query().Get("redirect_uri") != e.url(host, "/vipps/callback") {
			t.Errorf("%s leads to %s: %v", host, location, err)
		}
		b.login(home, bjorn).want(t, http.StatusOK, home, want)
		if page := b.open(e.url(host, "/vipps/logout")); !strings.HasPrefix(page.url, e.vipps) {
			t.Errorf("logged out, at %s", page.url)
		}
	}
	if names := e.certificates(); len(names) != 2 || !names["kafe.example"] || !names["sauna.example"] {
		t.Errorf("certificates: %v", names)
	}
	// Who has a certificate and asks for another name gets nowhere.
	b := e.browser()
	request := b.request(http.MethodGet, e.url("kafe.example", "/"))
	request.Host = "unknown.example"
	if page := b.first(request); page.status != http.StatusMisdirectedRequest {
		t.Errorf("another Host than the certificate's: %d %s", page.status, page.body)
	}
	testAsk(t, ask)
}

// testAsk asks as Caddy does before it gets a certificate.
func testAsk(t *testing.T, ask string) {
	for domain, want := range map[string]int{
		"kafe.example": http.StatusOK, "www.kafe.example": http.StatusOK, "sauna.example": http.StatusOK,
		"unknown.example": http.StatusNotFound, "": http.StatusNotFound, "*": http.StatusNotFound, "*.example": http.StatusNotFound, "kafe?example": http.StatusNotFound,
		"../merchants/kafe.example": http.StatusNotFound, "[k]afe.example": http.StatusNotFound, "{env.HOME}": http.StatusNotFound, "../Caddyfile": http.StatusNotFound,
	} {
		response, err := http.Get(ask + "/?domain=" + url.QueryEscape(domain))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("ask for %q: %d, want %d", domain, response.StatusCode, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestThousandsOfMerchants: as many as the example is for.
func TestThousandsOfMerchants(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "merchants"), 0o700); err != nil {
		t.Fatal(err)
	}
	caddyfile, err := os.ReadFile("on-demand-tls/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "Caddyfile"), caddyfile, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		host := fmt.Sprintf("shop%d.example", i)
		line := fmt.Sprintf("merchant %d %s\n", 100000+i, host)
		if err := os.WriteFile(filepath.Join(folder, "merchants", host+".conf"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, _ := startOnDemand(t, folder, map[string]string{"shop4321.example": "104321"})
	home := e.url("shop4321.example", "/")
	e.browser().login(home, kari).want(t, http.StatusOK, home, "Kari Nordmann at 104321")
}
