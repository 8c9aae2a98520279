package examples_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestHeaderLogin: each application logs in who has logged in at Vipps MobilePay, and nobody can be somebody
// else, whatever headers they send.
func TestHeaderLogin(t *testing.T) {
	for host, prefix := range map[string]string{"grafana.example.no": "X-WEBAUTH-", "wiki.example.no": "Remote-"} {
		for name, options := range filters(fieldsOf(prefix)...) {
			t.Run(host+" "+name, func(t *testing.T) { testHeaderLogin(t, host, prefix, options) })
		}
	}
}

// fieldsOf are the headers that one application or another would take to be true.
func fieldsOf(prefix string) []string {
	return []string{prefix + "User", prefix + "Name", prefix + "Email", prefix + "Role", prefix + "Groups"}
}

func testHeaderLogin(t *testing.T, host, prefix, options string) {
	e := start(t, setup{
		folder: "header-login", hosts: map[string]string{"grafana.example.no": "123456", "wiki.example.no": "234567"}, options: options,
		swaps: map[string]string{
			"127.0.0.1:3000": python(t, "header-login/app.py", withRole(t, "grafana.ini", "X-WEBAUTH-EMAIL")),
			"127.0.0.1:8000": python(t, "header-login/app.py", withRole(t, "wiki.ini", "Remote-Email")),
		},
	})
	b := e.browser()
	home := e.url(host, "/dashboards?tab=1")
	page := b.login(home, bjorn)
	page.want(t, http.StatusOK, home, "Name: Bjørn Ærlig-Åsen\n", "Email: bjørn@ærlig-åsen.example.no\n", "Role: Viewer\n")
	login := regexp.MustCompile(`Login: \S{8,}\n`).FindString(page.body)
	if login == "" {
		t.Fatalf("nobody is logged in: %s", page.body)
	}
	nobody := e.browser()
	for _, attribute := range fieldsOf(prefix) {
		for _, field := range spellings(attribute) {
			page := b.open(home, field+": Admin")
			page.want(t, http.StatusOK, home, login, "Role: Viewer\n")
			if strings.Contains(page.body, "Admin") {
				t.Errorf("%s reached the application: %s", field, page.body)
			}
			if page := nobody.first(nobody.request(http.MethodGet, home, field+": Admin")); !e.asksForLogin(page) {
				t.Errorf("%s lets somebody in: %d %s", field, page.status, page.body)
			}
		}
	}
	// The client cannot have the headers taken away either.
	b.open(home, "Connection: "+prefix+"User, "+prefix+"Name").want(t, http.StatusOK, home, login, "Name: Bjørn Ærlig-Åsen\n")
	if page := b.open(e.url(host, "/vipps/logout")); !strings.HasPrefix(page.url, e.vipps) {
		t.Errorf("logged out, at %s: %s", page.url, page.body)
	}
}

// withRole adds to an .ini what would be worth most to an attacker: a header that says who is an administrator.
func withRole(t *testing.T, ini, after string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("header-login", ini))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(content), after+"\n") != 1 {
		t.Fatalf("%s: where is %s?", ini, after)
	}
	role := " Role:" + after[:strings.LastIndexByte(after, '-')+1] + "ROLE\n"
	file := filepath.Join(t.TempDir(), ini)
	if err := os.WriteFile(file, []byte(strings.Replace(string(content), after+"\n", after+role, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestHeaderLoginRefuses: the stand-in does what Grafana does, or the test above says little.
func TestHeaderLoginRefuses(t *testing.T) {
	address := "http://" + python(t, "header-login/app.py", "header-login/grafana.ini") + "/"
	for field, want := range map[string]int{"X-Webauth-User": http.StatusOK, "X_webauth_user": http.StatusOK, "Remote-User": http.StatusUnauthorized} {
		request, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header[field] = []string{"evil"}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("straight to the application with %s: %d, want %d", field, response.StatusCode, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
