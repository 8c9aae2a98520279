package examples_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestWSGI: names and addresses that are not ASCII arrive, and nobody gets in without a login.
func TestWSGI(t *testing.T) {
	const host = "members.example.no"
	for name, options := range filters("X-Vipps-Sub", "X-Vipps-Name") {
		t.Run(name, func(t *testing.T) {
			e := start(t, setup{
				folder: "wsgi", hosts: map[string]string{host: "123456"}, options: options,
				swaps: map[string]string{"127.0.0.1:8000": python(t, "wsgi/app.py")},
			})
			b := e.browser()
			home := e.url(host, "/")
			want := []string{
				"Hello Bjørn Ærlig-Åsen<br>", "Phone: +4740000001<br>", "Street: Øvre Blåbærstien 7\nBolig H0203<br>",
				"As it came: Bj%C3%B8rn %C3%86rlig-%C3%85sen\n",
			}
			b.login(home, bjorn).want(t, http.StatusOK, home, want...)
			for _, field := range spellings("X-Vipps-Name") {
				page := b.open(home, field+": evil")
				page.want(t, http.StatusOK, home, want...)
				if strings.Contains(page.body, "evil") {
					t.Errorf("%s reached the application: %s", field, page.body)
				}
			}
			nobody := e.browser()
			for _, field := range spellings("X-Vipps-Sub") {
				if page := nobody.first(nobody.request(http.MethodGet, home, field+": evil")); !e.asksForLogin(page) {
					t.Errorf("%s lets somebody in: %d %s", field, page.status, page.body)
				}
			}
			if page := b.open(e.url(host, "/vipps/logout?return_to=/")); !strings.HasPrefix(page.url, e.vipps) {
				t.Errorf("logged out, at %s: %s", page.url, page.body)
			}
		})
	}
}
