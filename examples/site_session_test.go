package examples_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tomcat starts the booking on a Tomcat, and returns its address.
func tomcat(t *testing.T) string {
	t.Helper()
	all, err := filepath.Glob("/usr/share/java/tomcat10-*.jar")
	if err != nil {
		t.Fatal(err)
	}
	var jars []string
	versioned := regexp.MustCompile(`-\d[\d.]*\.jar$`) // the same once more
	for _, jar := range all {
		if !versioned.MatchString(jar) {
			jars = append(jars, jar)
		}
	}
	if len(jars) == 0 {
		t.Fatal("Tomcat is missing: run scripts/install-test-tools")
	}
	return run(t, listening, program(t, "java"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", strings.Join(jars, ":"), "site-session/java/Booking.java", "0", t.TempDir())[1]
}

// TestSiteSessionExample: a visitor's basket is theirs after the login, and whoever logs in next in the same browser begins
// anew; without site_session the application takes them for the last one.
func TestSiteSessionExample(t *testing.T) {
	const shop, gym = "shop.example.no", "gym.example.no"
	public, err := filepath.Abs("site-session/php/public")
	if err != nil {
		t.Fatal(err)
	}
	booking, sessions := tomcat(t), t.TempDir()
	php := startFPM(t, "php_admin_value[session.save_path] = "+sessions+"\n")
	for name, lines := range map[string]string{"with site_session": "site_session", "without": ""} {
		t.Run(name, func(t *testing.T) {
			swaps := map[string]string{"/srv/shop/public": public, "unix//run/php/php8.2-fpm.sock": "unix/" + php, "127.0.0.1:8080": booking}
			folder := "site-session"
			if lines == "" {
				folder = t.TempDir()
				withoutSiteSession(t, filepath.Join(folder, "Caddyfile"))
			}
			e := start(t, setup{folder: folder, hosts: map[string]string{shop: "123456", gym: "234567"}, swaps: swaps})
			for host, path := range map[string]string{shop: "/account", gym: "/booking"} {
				home, account := e.url(host, "/"), e.url(host, path)
				b := e.browser()
				b.open(home+"?put=book").want(t, http.StatusOK, home+"?put=book", "Logged in: nobody.", "Basket: book.")
				thief, at := e.browser(), b.request(http.MethodGet, home).URL
				thief.client.Jar.SetCookies(at, b.client.Jar.Cookies(at))
				b.login(account, kari).want(t, http.StatusOK, account, "Logged in: Kari Nordmann.", "Basket: book.")
				thief.open(home).want(t, http.StatusOK, home, "Logged in: nobody.", "Basket: .") // the id has changed
				b.open(home).want(t, http.StatusOK, home, "Logged in: Kari Nordmann.", "Basket: book.")
				if lines == "" {
					b.open(e.url(host, "/vipps/logout")).want(t, http.StatusOK, home, "Logged in: Kari Nordmann.")
					b.login(account, bjorn).want(t, http.StatusOK, account, "Logged in: Kari Nordmann.", "Basket: book.")
					continue
				}
				b.open(e.url(host, "/vipps/logout")).want(t, http.StatusOK, home, "Logged in: nobody.", "Basket: .")
				b.login(account, bjorn).want(t, http.StatusOK, account, "Logged in: Bjørn Ærlig-Åsen.", "Basket: .")
				b.open(home+"?put=pen").want(t, http.StatusOK, home+"?put=pen", "Logged in: Bjørn Ærlig-Åsen.", "Basket: pen.")
				// Kari comes in his place, without a logout; and a visitor, once he has logged out.
				consent := e.url(host, "/vipps/login?return_to="+path)
				b.login(consent, kari).want(t, http.StatusOK, account, "Logged in: Kari Nordmann.", "Basket: .")
				b.open(e.url(host, "/vipps/logout"))
				b.open(home).want(t, http.StatusOK, home, "Logged in: nobody.", "Basket: .")
			}
			files, err := filepath.Glob(filepath.Join(sessions, "sess_*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("%d sessions of PHP's, %v", len(files), err)
			}
			var addresses []string
			for _, file := range files {
				addresses = append(addresses, e.url(shop, "/?PHPSESSID="+strings.TrimPrefix(filepath.Base(file), "sess_")))
			}
			direct := e.browser().open("http://" + booking + "/?put=book") // past Caddy, to see the id
			_, id, _ := strings.Cut(strings.Join(direct.header["Set-Cookie"], ""), "JSESSIONID=")
			id, _, _ = strings.Cut(id, ";")
			wantNoIDsInAddresses(t, e, append(addresses, e.url(gym, "/;jsessionid="+id), e.url(gym, "/?JSESSIONID="+id))...)
		})
	}
}

// withoutSiteSession writes the example's Caddyfile without it.
func withoutSiteSession(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile("site-session/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s)\t\tsite_session \w+ \{\n.*?\n\t\t\}\n`)
	if n := len(blocks.FindAll(content, -1)); n != 2 {
		t.Fatalf("%d site_session", n)
	}
	if err := os.WriteFile(file, blocks.ReplaceAll(content, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantNoIDsInAddresses: the applications take no session's id from an address, where nothing is bound.
func wantNoIDsInAddresses(t *testing.T, e *example, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		if page := e.browser().open(address); page.status != http.StatusOK || !strings.Contains(page.body, "Logged in: nobody.") || !strings.Contains(page.body, "Basket: .") {
			t.Errorf("%s: %d %s", address, page.status, page.body)
		}
	}
}
