package examples_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const phpShop = "shop.example.no"

// startFPM starts a php-fpm with these lines in its pool, and returns its socket.
func startFPM(t *testing.T, lines string) (socket string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "fpm") // short: the path of a socket has 107 characters at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	socket, config := filepath.Join(folder, "fpm.sock"), filepath.Join(folder, "fpm.conf")
	text := fmt.Sprintf("[global]\ndaemonize = no\n[www]\nlisten = %s\npm = static\npm.max_children = 2\n%s", socket, lines)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob("/usr/sbin/php-fpm*")
	if err != nil {
		t.Fatal(err)
	}
	// -n: without the machine's php.ini; -R: also where the tests run as root.
	run(t, regexp.MustCompile("ready to handle connections"), program(t, append(found, "php-fpm")...), "-n", "-F", "-O", "-R", "-y", config)
	return socket
}

// startPHP runs the Caddyfile of a folder with a php-fpm of its own.
func startPHP(t *testing.T, caddyfileFolder, options string) *example {
	t.Helper()
	socket := startFPM(t, "")
	public, err := filepath.Abs("php/public")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, setup{
		folder: caddyfileFolder, hosts: map[string]string{phpShop: "123456"}, options: options,
		swaps: map[string]string{"/srv/shop/public": public, "unix//run/php/php8.2-fpm.sock": "unix/" + socket},
	})
}

func TestPHP(t *testing.T) {
	e := startPHP(t, "php", "")
	b := e.browser()
	home, account := e.url(phpShop, "/"), e.url(phpShop, "/account?from=mail")
	b.open(home).want(t, http.StatusOK, home, "<h1>Welcome</h1>", "REMOTE_USER=\n")
	page := b.login(account, bjorn)
	page.want(t, http.StatusOK, account, "<h1>Account of Bjørn Ærlig-Åsen</h1>", "HTTP_X_VIPPS_MSN=123456\n",
		"HTTP_X_VIPPS_NAME=Bjørn Ærlig-Åsen\n", "HTTP_X_VIPPS_EMAIL=bjørn@ærlig-åsen.example.no\n")
	sub := regexp.MustCompile(`HTTP_X_VIPPS_SUB=(\S+)\n`).FindStringSubmatch(page.body)
	if sub == nil || !strings.Contains(page.body, "REMOTE_USER="+sub[1]+"\n") {
		t.Errorf("no sub, or another one as REMOTE_USER: %s", page.body)
	}
	b.open(home).want(t, http.StatusOK, home, "<h1>Welcome, Bjørn Ærlig-Åsen</h1>")
	b.open(e.url(phpShop, "/vipps/logout?return_to=/")).want(t, http.StatusOK, home, "<h1>Welcome</h1>")
	if !e.asksForLogin(b.first(b.request(http.MethodGet, account))) {
		t.Error("after the logout, the account needs no login")
	}
}

// TestPHPSpoofing: no spelling of a header makes a $_SERVER['HTTP_X_VIPPS_…'], which PHP makes of "_" and
// "." as well.
func TestPHPSpoofing(t *testing.T) {
	for name, options := range filters("X-Vipps-Sub", "X-Vipps-Anything") {
		t.Run(name, func(t *testing.T) {
			e := startPHP(t, "php", options)
			nobody, user := e.browser(), e.browser()
			user.login(e.url(phpShop, "/account"), kari).want(t, http.StatusOK, e.url(phpShop, "/account"))
			for _, field := range append(spellings("X-Vipps-Sub"), spellings("X-Vipps-Anything")...) {
				for who, b := range map[string]*browser{"nobody": nobody, "a user": user} {
					page := b.first(b.request(http.MethodGet, e.url(phpShop, "/"), field+": evil"))
					if page.status != http.StatusOK || strings.Contains(page.body, "evil") {
						t.Errorf("%s of %s reached PHP: %d %s", field, who, page.status, page.body)
					}
				}
				page := nobody.first(nobody.request(http.MethodGet, e.url(phpShop, "/account"), field+": evil"))
				if !e.asksForLogin(page) {
					t.Errorf("%s at the account: %d %s", field, page.status, page.body)
				}
			}
		})
	}
}

// accountPaths are ways to write an address that a site may take for its account.
var accountPaths = []string{
	"/account", "/account/", "/account/orders", "/Account", "/ACCOUNT/orders", "//account", "/%61ccount", "/%2Faccount", "/account%2Forders",
	"/account;x", "/account?x=/", "/./account", "/x/../account", "/x/%2e%2e/account", "/%2e/account",
	"/account/..", "/account/../", "/account/../news", "/account/%2e%2e/news", "/account/%2E%2E", "/account/x/../..", "/account/./../news",
	"/account%2F..%2Fnews", "/account%2f..", "/account//../../news",
}

// TestPHPPaths: php_fastcgi rewrites addresses after vipps_login, and no spelling gets past the login.
func TestPHPPaths(t *testing.T) {
	e := startPHP(t, "php", "")
	e.wantNoWayIn()
	e.wantStatuses(map[string]int{"/": http.StatusOK, "/news": http.StatusNotFound, "/.well-known/x": http.StatusNotFound, "/a..b": http.StatusNotFound})
}

// TestPHPPathsTurnedRound: nor with the other way that the README shows, where all but some pages need a login.
func TestPHPPathsTurnedRound(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "Caddyfile"), []byte(keys+sitesIn(t, "php/README.md")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	e := startPHP(t, folder, "")
	e.wantNoWayIn()
	e.wantStatuses(map[string]int{"/": http.StatusFound, "/news": http.StatusNotFound, "/assets/logo.png": http.StatusNotFound, "/newsletter": http.StatusFound})
}

// wantNoWayIn tries every address that the front controller could take for the account, and more.
func (e *example) wantNoWayIn() {
	e.t.Helper()
	b := e.browser()
	for _, path := range append([]string{
		"/index.php/account", "/index.php/account/orders", "/index.php//account", "/index.PHP/account", "/INDEX.PHP/account",
		"/index.phpaccount", "/index.php%2Faccount", "/index%2Ephp/account", "/index.php/x/../account", "/index.php/../account",
		"/index.php/account/../..", "/index.php/account/../../news", "/x/../index.php/account", "//index.php/account",
		"/%69ndex.php/account", "/nothing.php/account", "/account/index.php", "/index.php;/account", "/index.php%20/account",
	}, accountPaths...) {
		page := b.first(b.request(http.MethodGet, e.url(phpShop, path)))
		refused := page.status == http.StatusBadRequest && page.body == ""
		if !e.asksForLogin(page) && !refused {
			e.t.Errorf("%s needs no login: %d %s", path, page.status, page.body)
		}
	}
}

func (e *example) wantStatuses(statuses map[string]int) {
	e.t.Helper()
	b := e.browser()
	for path, status := range statuses {
		if page := b.first(b.request(http.MethodGet, e.url(phpShop, path))); page.status != status {
			e.t.Errorf("%s: %d, want %d", path, page.status, status)
		}
	}
}
