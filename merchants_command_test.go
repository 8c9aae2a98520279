package vippslogin_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const pathSalesUnits = "/management/v1/sales-units"

// merchants runs the command on a Caddyfile.
func (w *world) merchants(sites string, args ...string) checkRun {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(w.vars.Replace(w.globals()+sites)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	run := runCaddy(w.t, append([]string{"vipps-login", "merchants", "--config", file}, args...)...)
	w.wantNoSecret(run)
	return run
}

// TestMerchantsCommand: the partner's sales units beside the hosts of a config, in three forms.
func TestMerchantsCommand(t *testing.T) {
	w := newWorld(t)
	w.vipps.answer(pathSalesUnits, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Ocp-Apim-Subscription-Key") != partnerKey || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(rw, `[{"msn":123456,"name":"Shop A"},{"msn":234567,"name":"Shop B\u001b[31m\n# not a comment"},{"msn":"345678","name":"Shop, \"C\""}]`)
	})
	run := w.merchants(twoShops)
	for _, want := range []string{"123456  Shop A", "shop-a.localhost", "345678  Shop, \"C\"", "(no host here)"} {
		if !strings.Contains(run.stdout, want) {
			t.Errorf("the table lacks %q: %s", want, run.stdout)
		}
	}
	if run.status != 0 || strings.Contains(run.stdout, "\x1b") {
		t.Errorf("exit status %d: %s %s", run.status, run.stdout, run.stderr)
	}
	var units []struct {
		MSN, Name string
		Hosts     []string
		Reached   bool
	}
	run = w.merchants(twoShops, "--json")
	if err := json.Unmarshal([]byte(run.stdout), &units); err != nil || len(units) != 3 || units[0].MSN != "123456" || units[0].Name != "Shop A" || !units[0].Reached {
		t.Errorf("%v %s", err, run.stdout)
	}
	run = w.merchants(twoShops, "--csv")
	if run.status != 0 || !strings.HasPrefix(run.stdout, "host,msn\n") || !strings.Contains(run.stdout, "\nshop-a.localhost,123456\n") || !strings.Contains(run.stdout, "# 345678") {
		t.Errorf("%d %s", run.status, run.stdout)
	}
	file := filepath.Join(t.TempDir(), "merchants.csv")
	if err := os.WriteFile(file, []byte(run.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	w.load("http://shop-a.localhost:$HTTP, http://shop-b.localhost:$HTTP {\n\tvipps_login {\n\t\tmerchants " + file + "\n\t}\n}\n")

	// An MSN of the config that is none of the partner's.
	other := "http://shop-c.localhost:$HTTP {\n\tvipps_login 999999\n}\n"
	for _, args := range [][]string{nil, {"--json"}, {"--csv"}} {
		if run := w.merchants(twoShops+other, args...); run.status != 1 || !strings.Contains(run.stdout, "999999") {
			t.Errorf("%v: exit status %d: %s", args, run.status, run.stdout)
		}
	}
	w.vipps.answer(pathSalesUnits, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusForbidden) })
	if run := w.merchants(twoShops); run.status != 1 || !strings.Contains(run.stderr, "keys were refused") {
		t.Errorf("refused: %d %s", run.status, run.stderr)
	}
}

const pathWebhooks = "/webhooks/v1/webhooks"

// TestWebhookCommand: registrations are listed, made and deleted, for the partner or one sales unit. The secret is shown
// once.
func TestWebhookCommand(t *testing.T) {
	w := newPhoneWorld(t)
	var asked []string
	var mu sync.Mutex
	note := func(call string) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, call)
	}
	w.vipps.answer(pathWebhooks, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		note(r.Method + " " + r.Header.Get("Merchant-Serial-Number") + " " + string(body))
		if r.Method == http.MethodPost {
			rw.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(rw, `{"id":"the-id","secret":"made-secret"}`)
			return
		}
		_, _ = io.WriteString(rw, `{"webhooks":[{"id":"the-id","url":"https://a.example.no/vipps/webhook","events":["login.merchant-initiated.ping.v1"]}]}`)
	})
	w.vipps.answer(pathWebhooks+"/the-id", func(rw http.ResponseWriter, r *http.Request) {
		note(r.Method + " " + r.Header.Get("Merchant-Serial-Number"))
		rw.WriteHeader(http.StatusNoContent)
	})
	w.vipps.answer(pathWebhooks+"/another", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotFound) })
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(w.vars.Replace(w.globals()+phoneShops)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args         []string
		status       int
		says, called string
	}{
		{[]string{"list"}, 0, "https://a.example.no/vipps/webhook", "GET  "},
		{[]string{"list", "--merchant", "123456"}, 0, "the-id", "GET 123456 "},
		{[]string{"register", "--merchant", "123456"}, 0, "webhook_secret made-secret", `POST 123456 {"events":["login.merchant-initiated.ping.v1"],"url":"` + w.shop("shop-a.localhost") + `/vipps/webhook"}`},
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
		run := runCaddy(t, append(append([]string{"vipps-login", "webhook"}, test.args...), "--config", file)...)
		w.wantNoSecret(run)
		mu.Lock()
		called := strings.Join(asked, "\n")
		mu.Unlock()
		if run.status != test.status || !strings.Contains(run.stdout+run.stderr, test.says) || called != test.called {
			t.Errorf("%v: exit status %d, called %q\n%s%s", test.args, run.status, called, run.stdout, run.stderr)
		}
	}
}

// TestRegistrationMail: what a partner sends where redirect URIs are missing, alone on standard output.
func TestRegistrationMail(t *testing.T) {
	w := newWorld(t)
	moved := strings.Replace(twoShops, "vipps_login 123456\n", "vipps_login 123456 {\n\t\tbase_path /other\n\t}\n", 1)
	run := w.check(w.globals()+moved, "--registration-mail")
	if run.status != 1 || !strings.HasPrefix(run.stdout, "To: partner@vippsmobilepay.com\n") || !strings.Contains(run.stdout, "\nMSN 123456\n  "+w.shop("shop-a.localhost")+"/other/callback\n") || strings.Contains(run.stdout, "234567") {
		t.Errorf("exit status %d: %s%s", run.status, run.stdout, run.stderr)
	}
	if run := w.check(w.globals()+twoShops, "--registration-mail"); run.status != 0 || strings.Contains(run.stdout, "To:") {
		t.Errorf("nothing is missing: exit status %d: %s%s", run.status, run.stdout, run.stderr)
	}
}
