package operations_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

const clientOfA = "5754fdc9-83a2-88c9-bdab-26eab789c248" // the simulator's, for 123456

// TestCheckSalesUnits: a refusal says whether the partner reaches the sales unit, with its name, and what to do then.
func TestCheckSalesUnits(t *testing.T) {
	w := newCheckWorld(t)
	answer := func(status int, body string) {
		w.Vipps.Answer(pathSalesUnits, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(status)
			_, _ = io.WriteString(rw, body)
		})
	}
	unknown := strings.Replace(harness.TwoShops, "123456", "999999", 1)
	for _, test := range []struct {
		name       string
		status     int
		units      string
		msn, keys  string // parts of the details
		msnFix     string
		mail       string
		unitsNames bool
	}{
		{"not among them", http.StatusOK, `[{"msn":234567,"name":"Shop B"}]`, "inactive, or not connected to you", "inactive, or not connected to you", "it is not among your sales units", "", true},
		{"without Login", http.StatusOK, `[{"msn":234567,"name":"Shop B"},{"msn":999999,"name":"Nye\u001b[31m Kafé"}]`, `connected to you, as "Nye [31m Kafé"`, `connected to you, as "Nye [31m Kafé"`, "Login is not set up", "MSN 999999\n  " + w.Shop("shop-a.localhost") + "/vipps/callback\n", true},
		{"cannot be read", http.StatusForbidden, `{}`, "refused by Vipps MobilePay", "not connected to this partner", "sales unit 999999 must exist", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.T = t
			answer(test.status, test.units)
			report := w.Check(w.Globals()+unknown, "--json").Report(t)
			if got := report.Outcome("shop-a.localhost"); got != "keys failed, msn failed, redirect_uri not_checked" {
				t.Errorf("outcome: %s", got)
			}
			msn, keys := report.Find("msn"), report.Find("keys")
			if !strings.Contains(msn.Detail, test.msn) || !strings.Contains(keys.Detail, test.keys) || !strings.Contains(msn.Fix, test.msnFix) || keys.Fix == "" {
				t.Errorf("msn: %+v\nkeys: %+v", msn, keys)
			}
			run := w.Check(w.Globals() + unknown)
			if strings.Contains(run.Stdout, "SALES UNIT") != test.unitsNames || strings.Contains(run.Stdout, "Shop B") != test.unitsNames || strings.Contains(run.Stdout, "\x1b") {
				t.Errorf("table: %s", run.Stdout)
			}
			mail := w.Check(w.Globals()+unknown, "--registration-mail")
			if !strings.Contains(mail.Stdout, test.mail) || (test.mail == "") != (mail.Stdout == "") || mail.Status != 1 {
				t.Errorf("mail: %d %s", mail.Status, mail.Stdout)
			}
		})
	}
}

// TestCheckAudience: the client_id that Vipps MobilePay's redirect shows is printed, and compared with the pinned one.
func TestCheckAudience(t *testing.T) {
	w := newCheckWorld(t)
	run := w.Check(w.Globals() + harness.TwoShops)
	if run.Status != 0 || !strings.Contains(run.Stdout, clientOfA) {
		t.Errorf("not printed: %s", run.Stdout)
	}
	for pinned, want := range map[string]string{clientOfA: "ok", "another-client": "failed"} {
		report := w.Check(w.Globals()+strings.Replace(harness.TwoShops, "vipps_login 123456", "vipps_login 123456 {\naudience "+pinned+"\n}", 1), "--json").Report(t)
		if got := report.Outcome("shop-a.localhost"); got != hostGood+", audience "+want {
			t.Errorf("%s: %s", pinned, got)
		}
		if found := report.Find("audience"); want == "failed" && (!strings.Contains(found.Detail, clientOfA) || !strings.Contains(found.Fix, "sales unit 123456")) {
			t.Errorf("%+v", found)
		}
	}
}

// TestCheckWebhooks: whether the ping is registered for a host, at the partner or at the sales unit.
func TestCheckWebhooks(t *testing.T) {
	w := newCheckWorld(t)
	withPing := strings.Replace(harness.TwoShops, "vipps_login 123456", "vipps_login 123456 {\nphone {\napi_key "+harness.APIKey+"\nwebhook_secret "+harness.WebhookSecret+"\n}\n}", 1)
	bothPing := strings.Replace(withPing, "vipps_login /account/* 234567", "vipps_login /account/* 234567 {\nphone {\napi_key "+harness.APIKey+"\nwebhook_secret "+harness.WebhookSecret+"\n}\n}", 1)
	address := w.Shop("shop-a.localhost") + "/vipps/webhook"
	list := func(url, event string) string {
		return `{"webhooks":[{"id":"1","url":"` + url + `","events":["` + event + `"]}]}`
	}
	const ping, none = "login.merchant-initiated.ping.v1", `{"webhooks":[]}`
	for _, test := range []struct {
		name, partner, unit string
		caddyfile           string
		want                string // the webhook check of shop-a
		fix                 string
	}{
		{"the partner's", list(address, ping), none, withPing, ", webhook ok", ""},
		{"the sales unit's", none, list(address, ping), withPing, ", webhook ok", ""},
		{"none", none, none, withPing, ", webhook warning", "webhook register --url " + address},
		{"another address", list(address+"/old", ping), none, withPing, ", webhook warning", "webhook register"},
		{"another event", list(address, "epayments.payment.created.v1"), none, withPing, ", webhook warning", "webhook register"},
		{"one that nobody takes", list(address, ping), none, harness.TwoShops, ", webhook warning", "webhook_secret into the site's phone block"},
		{"neither", none, none, harness.TwoShops, "", ""},
		{"cannot be read", "", "", withPing, ", webhook not_checked", ""},
		{"the partner's, at another host that takes pings", list(w.Shop("shop-b.localhost")+"/vipps/webhook", ping), none, bothPing, ", webhook ok", ""},
		{"none, and two hosts take pings", none, none, bothPing, ", webhook warning", "or with --merchant 123456"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.T = t
			w.Vipps.Answer(pathWebhooks, func(rw http.ResponseWriter, r *http.Request) {
				body := test.partner
				if r.Header.Get("Merchant-Serial-Number") != "" {
					body = test.unit
				}
				if body == "" {
					rw.WriteHeader(http.StatusForbidden)
				}
				_, _ = io.WriteString(rw, body)
			})
			run := w.Check(w.Globals()+test.caddyfile, "--json")
			w.WantNoSecret(run)
			report := run.Report(t)
			got := strings.Replace(report.Outcome("shop-a.localhost"), ", phone_redirect_uri warning", "", 1)
			if got != hostGood+test.want || run.Status != 0 {
				t.Errorf("%s, exit status %d", got, run.Status)
			}
			if found := report.Find("webhook"); !strings.Contains(found.Fix, test.fix) {
				t.Errorf("%+v", found)
			}
		})
	}
}
