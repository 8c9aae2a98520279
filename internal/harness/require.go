package harness

import (
	"net/http"
	"strings"
	"testing"
)

// AsScript are the headers of a script's request.
var AsScript = []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: application/json"}

// problem is the JSON of a refusal.
type problem struct {
	Status   int
	LoginURL string `json:"login_url"`
	Required *struct {
		MaxAge          int `json:"max_age"`
		Scope           []string
		AppConfirmation bool `json:"app_confirmation"`
	}
}

// ScopeAt returns the scopes that a redirect to Vipps MobilePay asks for.
func ScopeAt(t *testing.T, a Answer) string {
	t.Helper()
	a.WantStatus(t, http.StatusFound)
	if !strings.Contains(a.RedirectTo(), PathAuth) {
		t.Fatalf("not sent to Vipps MobilePay but to %s", a.RedirectTo())
	}
	return MustQuery(t, a.RedirectTo()).Get("scope")
}
