package operations_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestLogsAreLookedAt: the look at the end of each test sees what a login hands out, and would see it in a log.
func TestLogsAreLookedAt(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	b.Login(shop+"/account/", harness.Kari).WantStatus(t, http.StatusOK)
	c := harness.NewTill(t, shop)
	c.Start(w, `{"phone_number":"`+harness.Bjorn+`"}`)
	secrets := harness.Collected.All()
	kinds := map[string]string{}
	for secret, kind := range secrets {
		kinds[kind] = secret
	}
	for _, kind := range []string{"cookie", "code", "access_token", "id_token", "claim", "auth_req_id"} {
		if kinds[kind] == "" {
			t.Errorf("no %s was collected", kind)
		}
	}
	for secret, kind := range harness.KnownSecrets() {
		kinds[kind] = secret
		secrets[secret] = kind
	}
	for kind, secret := range kinds {
		line, _ := json.Marshal(map[string]string{"logger": "http.handlers.vipps_login", "msg": "x " + secret + " y"})
		if found, lines := harness.Leaks(string(line), secrets); len(found) == 0 || lines != 1 {
			t.Errorf("a %s in the log is not seen", kind)
		}
	}
	found, lines := harness.Leaks(w.Logged(), secrets)
	if len(found) > 0 || lines < 4 {
		t.Errorf("%d lines looked at: %s", lines, fmt.Sprint(found))
	}
}
