package docs_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestSiteSessionInDocumentation: the documented Caddyfile does as the page says.
func TestSiteSessionInDocumentation(t *testing.T) {
	w := documentedSite(t, "docs/directive.md", "site_session PHPSESSID {")
	shop := w.Shop("shop-a.localhost")
	legacy := harness.NewLegacy(w)
	legacy.Cookie, legacy.Renews = "PHPSESSID", true
	b := harness.NewBrowser(t)
	for _, step := range []struct{ user, path, want string }{
		{"", "/?put=book", "user= basket=book"},
		{harness.Kari, "/account/", "user=Kari Nordmann basket=book"},
		{"", "/", "user=Kari Nordmann basket=book"},
		{"", "/vipps/logout", "user= basket="},
		{harness.Bjorn, "/account/", "user=Bjørn Ærlig-Åsen basket="},
	} {
		a := b.Follow(b.Get(shop + step.path))
		if step.user != "" {
			a = b.Follow(b.Consent(a, harness.Approve(step.user)))
		}
		if a.WantStatus(t, http.StatusOK).Text != step.want {
			t.Errorf("%s at %s: %s", step.user, step.path, a.Text)
		}
	}
	if value := b.Cookies(shop); strings.Count(value, "PHPSESSID=") != 1 {
		t.Errorf("cookies: %s", value)
	}
}
