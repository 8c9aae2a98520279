package operations_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// TestRegistrationMailSaysNothingWrong: a refusal for the moment, or of something else, is no redirect URI that is missing;
// nothing is called registered that could not be checked; the exit status is 1 if a check failed.
func TestRegistrationMailSaysNothingWrong(t *testing.T) {
	w := harness.NewWorld(t)
	answer := func(status int, body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(status)
			_, _ = io.WriteString(rw, body)
		}
	}
	for _, test := range []struct {
		name, path string
		answer     http.HandlerFunc
	}{
		{"keys refused", harness.PathAccessToken, answer(http.StatusUnauthorized, "")},
		{"discovery unavailable", harness.PathDiscovery, answer(http.StatusServiceUnavailable, "")},
		{"login page unavailable", harness.PathAuth, answer(http.StatusInternalServerError, "")},
		{"registered, and the scope refused", harness.PathAuth, func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, r.URL.Query().Get("redirect_uri")+"?error=invalid_scope", http.StatusFound)
		}},
		{"unavailable once the MSN is known", harness.PathAuth, func(rw http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			if query.Has("client_id") {
				rw.WriteHeader(http.StatusBadGateway)
				return
			}
			query.Set("client_id", "a-client")
			query.Del("msn")
			http.Redirect(rw, r, r.URL.Path+"?"+query.Encode(), http.StatusFound)
		}},
		{"another scope of keys", harness.PathToken, answer(http.StatusForbidden, `{"error":"access_denied"}`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.T = t
			w.Vipps.Answer(test.path, test.answer)
			defer w.Vipps.Answer(test.path, nil)
			run := w.Check(w.Globals()+harness.TwoShops, "--registration-mail")
			if run.Status != 1 || run.Stdout != "" || !strings.Contains(run.Stderr, "Checks failed") {
				t.Errorf("exit status %d: %s%s", run.Status, run.Stdout, run.Stderr)
			}
		})
	}
}

// TestRegistrationMailWithoutLogin: a sales unit without Login lacks its redirect URIs, those of all its hosts.
func TestRegistrationMailWithoutLogin(t *testing.T) {
	w := harness.WorldWith(t, func(w *harness.World) []simulator.Merchant {
		return []simulator.Merchant{{MSN: "123456", WithoutLogin: true, RedirectURIs: []string{w.Shop("shop-a.localhost") + "/vipps/callback"}}}
	})
	run := w.Check(w.Globals()+`http://shop-a.localhost:$HTTP, http://shop-b.localhost:$HTTP {
	vipps_login 123456 {
		phone {
			api_key `+harness.APIKey+`
		}
	}
}
`, "--registration-mail")
	const phone = "/vipps/phone/callback  (logins from a phone number that end in the browser)\n"
	a, b := "  "+w.Shop("shop-a.localhost"), "  "+w.Shop("shop-b.localhost")
	if want := "\nMSN 123456\n" + a + "/vipps/callback\n" + a + phone + b + "/vipps/callback\n" + b + phone; run.Status != 1 || !strings.Contains(run.Stdout, want) {
		t.Errorf("exit status %d: %s%s", run.Status, run.Stdout, run.Stderr)
	}
}

// TestCheckForbidden: a 403 of the token endpoint is about the sales unit, whatever its code.
func TestCheckForbidden(t *testing.T) {
	w := harness.NewWorld(t)
	w.Vipps.Answer(harness.PathToken, func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(rw, `{"error":"access_denied","error_description":"x"}`)
	})
	keys := w.Check(w.Globals()+harness.TwoShops, "--json").Report(t).Find("keys")
	if !strings.Contains(keys.Detail, "not connected to this partner") || !strings.Contains(keys.Fix, "is connected to the partner") {
		t.Errorf("%+v", keys)
	}
}

// TestCheckSaysWhatItCouldNotRead: neither list is needed for a login, and a refusal says less without the one of sales units.
func TestCheckSaysWhatItCouldNotRead(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	unreadable := func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "<html>") }
	w.Vipps.Answer(pathSalesUnits, unreadable)
	w.Vipps.Answer(pathWebhooks, unreadable)
	report := w.Check(w.Globals()+harness.PhoneShops, "--json").Report(t)
	for _, name := range []string{"sales_units", "webhook"} {
		if found := report.Find(name); found.Status != "not_checked" || !strings.Contains(found.Detail, "cannot be understood") {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// TestMerchantsOfALargePartner: a list of tens of thousands, with odd entries.
func TestMerchantsOfALargePartner(t *testing.T) {
	w := harness.NewWorld(t)
	w.Vipps.Answer(pathSalesUnits, func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, `[{"msn":"123456\u001b[31m\nevil.example.no,123456","name":"x"},{"name":"no MSN"},`+
			strings.Repeat(`{"msn":345678,"name":"`+strings.Repeat("x", 90)+`"},`, 20_000)+`{"msn":123456,"name":"Shop \u202eA"},{"msn":234567,"name":null}]`)
	})
	run := w.Merchants(harness.TwoShops, "--csv")
	if run.Status != 0 || !strings.HasPrefix(run.Stdout, "host,msn\n# 123456 Shop  A\nshop-a.localhost,123456\n# 234567 \nshop-b.localhost,234567\n# 345678 ") || strings.Contains(run.Stdout, "evil") {
		t.Errorf("exit status %d: %.300s%s", run.Status, run.Stdout, run.Stderr)
	}
}

// TestWebhookCommandAndOddAnswers: a secret that was given is printed, as the Caddyfile takes it; a refusal says what it is
// about; what cannot be an id is not sent.
func TestWebhookCommandAndOddAnswers(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(w.Vars.Replace(w.Globals()+harness.PhoneShops)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		status int
		body   string
		args   []string
		exit   int
		says   string
	}{
		{201, `{"secret":"made-secret"}`, []string{"register"}, 0, "webhook_secret made-secret\n"},
		{201, `{"id":"i","secret":"made \"secret"}`, []string{"register"}, 0, `webhook_secret "made \"secret"`},
		{201, `{"id":"i","secret":"made\u001bsecret"}`, []string{"register"}, 1, "cannot be printed"},
		{201, `{"id":"i"}`, []string{"register"}, 1, "without a secret"},
		{400, `{"title":"x"}`, []string{"register"}, 1, "or are there 25?"},
		{403, ``, []string{"list"}, 1, "keys were refused"},
		{403, ``, []string{"list", "--merchant", "123456"}, 1, "not connected to this partner"},
		{500, ``, []string{"delete", ""}, 1, "not the id of a registration"},
		{500, ``, []string{"delete", ".."}, 1, "not the id of a registration"},
		{500, ``, []string{"lists"}, 1, "unknown command"},
	} {
		w.Vipps.Answer(pathWebhooks, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(test.status)
			_, _ = io.WriteString(rw, test.body)
		})
		run := harness.RunCaddy(t, append(append([]string{"vipps-login", "webhook"}, test.args...), "--config", file)...)
		if run.Status != test.exit || !strings.Contains(run.Stdout+run.Stderr, test.says) || strings.Contains(run.Stdout+run.Stderr, "\x1b") {
			t.Errorf("%v: exit status %d: %s%s", test, run.Status, run.Stdout, run.Stderr)
		}
	}
	if run := harness.RunCaddy(t, "vipps-login", "chekc"); run.Status != 1 || !strings.Contains(run.Stderr, "unknown command") {
		t.Errorf("exit status %d: %s%s", run.Status, run.Stdout, run.Stderr)
	}
	if run := harness.RunCaddy(t, "vipps-login"); run.Status != 0 || !strings.Contains(run.Stdout, "Available Commands") {
		t.Errorf("exit status %d: %s%s", run.Status, run.Stdout, run.Stderr)
	}
}

// TestPartnerCommandsInTheTestEnvironment: they say that they work in production only, and call nothing.
func TestPartnerCommandsInTheTestEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte("{\n\tvipps_login {\n\t\tenvironment test\n\t\tclient_id a\n\t\tclient_secret b\n\t\tsubscription_key c\n\t}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"merchants"}, {"webhook", "list"}} {
		run := harness.RunCaddy(t, append(append([]string{"vipps-login"}, args...), "--config", file)...)
		if run.Status != 1 || !strings.Contains(run.Stderr, "in production only") {
			t.Errorf("%v: exit status %d: %s%s", args, run.Status, run.Stdout, run.Stderr)
		}
	}
}
