package operations_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

const pathSalesUnits = "/management/v1/sales-units"

// TestMerchantsCommand: the partner's sales units beside the hosts of a config, in three forms.
func TestMerchantsCommand(t *testing.T) {
	w := harness.NewWorld(t)
	w.Vipps.Answer(pathSalesUnits, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Ocp-Apim-Subscription-Key") != harness.PartnerKey || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(rw, `[{"msn":123456,"name":"Shop A"},{"msn":234567,"name":"Shop B\u001b[31m\n# not a comment"},{"msn":"345678","name":"Shop, \"C\""}]`)
	})
	run := w.Merchants(harness.TwoShops)
	for _, want := range []string{"123456  Shop A", "shop-a.localhost", "345678  Shop, \"C\"", "(no host here)"} {
		if !strings.Contains(run.Stdout, want) {
			t.Errorf("the table lacks %q: %s", want, run.Stdout)
		}
	}
	if run.Status != 0 || strings.Contains(run.Stdout, "\x1b") {
		t.Errorf("exit status %d: %s %s", run.Status, run.Stdout, run.Stderr)
	}
	var units []struct {
		MSN, Name string
		Hosts     []string
		Reached   bool
	}
	run = w.Merchants(harness.TwoShops, "--json")
	if err := json.Unmarshal([]byte(run.Stdout), &units); err != nil || len(units) != 3 || units[0].MSN != "123456" || units[0].Name != "Shop A" || !units[0].Reached {
		t.Errorf("%v %s", err, run.Stdout)
	}
	run = w.Merchants(harness.TwoShops, "--csv")
	if run.Status != 0 || !strings.HasPrefix(run.Stdout, "host,msn\n") || !strings.Contains(run.Stdout, "\nshop-a.localhost,123456\n") || !strings.Contains(run.Stdout, "# 345678") {
		t.Errorf("%d %s", run.Status, run.Stdout)
	}
	file := filepath.Join(t.TempDir(), "merchants.csv")
	if err := os.WriteFile(file, []byte(run.Stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Load("http://shop-a.localhost:$HTTP, http://shop-b.localhost:$HTTP {\n\tvipps_login {\n\t\tmerchants " + file + "\n\t}\n}\n")

	// An MSN of the config that is none of the partner's.
	other := "http://shop-c.localhost:$HTTP {\n\tvipps_login 999999\n}\n"
	for _, args := range [][]string{nil, {"--json"}, {"--csv"}} {
		if run := w.Merchants(harness.TwoShops+other, args...); run.Status != 1 || !strings.Contains(run.Stdout, "999999") {
			t.Errorf("%v: exit status %d: %s", args, run.Status, run.Stdout)
		}
	}
	w.Vipps.Answer(pathSalesUnits, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusForbidden) })
	if run := w.Merchants(harness.TwoShops); run.Status != 1 || !strings.Contains(run.Stderr, "keys were refused") {
		t.Errorf("refused: %d %s", run.Status, run.Stderr)
	}
}

const pathWebhooks = "/webhooks/v1/webhooks"

// TestWebhookCommand: registrations are listed, made and deleted, for the partner or one sales unit. The secret is shown
// once.
func TestWebhookCommand(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	var asked []string
	var mu sync.Mutex
	note := func(call string) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, call)
	}
	w.Vipps.Answer(pathWebhooks, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		note(r.Method + " " + r.Header.Get("Merchant-Serial-Number") + " " + string(body))
		if r.Method == http.MethodPost {
			rw.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(rw, `{"id":"the-id","secret":"made-secret"}`)
			return
		}
		_, _ = io.WriteString(rw, `{"webhooks":[{"id":"the-id","url":"https://a.example.no/vipps/webhook","events":["login.merchant-initiated.ping.v1"]}]}`)
	})
	w.Vipps.Answer(pathWebhooks+"/the-id", func(rw http.ResponseWriter, r *http.Request) {
		note(r.Method + " " + r.Header.Get("Merchant-Serial-Number"))
		rw.WriteHeader(http.StatusNoContent)
	})
	w.Vipps.Answer(pathWebhooks+"/another", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotFound) })
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(w.Vars.Replace(w.Globals()+harness.PhoneShops)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args         []string
		status       int
		says, called string
	}{
		{[]string{"list"}, 0, "https://a.example.no/vipps/webhook", "GET  "},
		{[]string{"list", "--merchant", "123456"}, 0, "the-id", "GET 123456 "},
		{[]string{"list", "--json"}, 0, `"url": "https://a.example.no/vipps/webhook"`, "GET  "},
		{[]string{"register", "--merchant", "123456"}, 0, "webhook_secret made-secret", `POST 123456 {"events":["login.merchant-initiated.ping.v1"],"url":"` + w.Shop("shop-a.localhost") + `/vipps/webhook"}`},
		{[]string{"register", "--url", "https://b.example.no/vipps/webhook"}, 0, "made-secret", `POST  {"events":["login.merchant-initiated.ping.v1"],"url":"https://b.example.no/vipps/webhook"}`},
		{[]string{"register", "--url", "ftp://b.example.no/"}, 1, "is not an https URL", ""},
		{[]string{"register", "--merchant", "999999"}, 1, "0 hosts of the config have the ping", ""},
		{[]string{"delete", "the-id"}, 0, "", "DELETE "},
		{[]string{"delete", "another"}, 1, "there is no such registration", ""},
		{[]string{"delete"}, 1, "arg", ""},
	} {
		mu.Lock()
		asked = nil
		mu.Unlock()
		run := harness.RunCaddy(t, append(append([]string{"vipps-login", "webhook"}, test.args...), "--config", file)...)
		w.WantNoSecret(run)
		mu.Lock()
		called := strings.Join(asked, "\n")
		mu.Unlock()
		if run.Status != test.status || !strings.Contains(run.Stdout+run.Stderr, test.says) || called != test.called {
			t.Errorf("%v: exit status %d, called %q\n%s%s", test.args, run.Status, called, run.Stdout, run.Stderr)
		}
	}
}

// TestRegistrationMail: what a partner sends where redirect URIs are missing, alone on standard output.
func TestRegistrationMail(t *testing.T) {
	w := harness.NewWorld(t)
	moved := strings.Replace(harness.TwoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\tbase_path /other\n\t}\n", 1)
	run := w.Check(w.Globals()+moved, "--registration-mail")
	if run.Status != 1 || !strings.HasPrefix(run.Stdout, "To: partner@vippsmobilepay.com\n") || !strings.Contains(run.Stdout, "\nMSN 123456\n  "+w.Shop("shop-a.localhost")+"/other/callback\n") || strings.Contains(run.Stdout, "234567") {
		t.Errorf("exit status %d: %s%s", run.Status, run.Stdout, run.Stderr)
	}
	if run := w.Check(w.Globals()+harness.TwoShops, "--registration-mail"); run.Status != 0 || strings.Contains(run.Stdout, "To:") {
		t.Errorf("nothing is missing: exit status %d: %s%s", run.Status, run.Stdout, run.Stderr)
	}
}
