package docs_test

import (
	"net/http"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestRequireInDocumentation: the documented Caddyfile does as the page says.
func TestRequireInDocumentation(t *testing.T) {
	shop := documentedSite(t, "docs/directive.md", "require @adults").Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Get(shop+"/").WantStatus(t, http.StatusOK)
	if got := harness.ScopeAt(t, b.Get(shop+"/account/")); got != "openid name" {
		t.Errorf("asked for %s", got)
	}
	b.Login(shop+"/wine/", harness.Kari).WantStatus(t, http.StatusOK)
	a := b.Get(shop + "/checkout/")
	if got := harness.ScopeAt(t, a); got != "openid name birthDate" || harness.MustQuery(t, a.RedirectTo()).Get("acr_values") == "" {
		t.Errorf("asked for %s", a.RedirectTo())
	}
	p := b.Lacks(shop + "/checkout/")
	if p.Required.MaxAge != 0 || !p.Required.AppConfirmation || len(p.Required.Scope) != 0 {
		t.Errorf("required: %+v", *p.Required)
	}
	b.Login(shop+"/checkout/", harness.Kari).WantStatus(t, http.StatusOK)
	b.Get(shop+"/wine/").WantStatus(t, http.StatusOK)
}
