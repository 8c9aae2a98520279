package operations_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestPartnerCommandsAndTheSimulator: the commands and the simulator's APIs for partners know each other. A webhook that the
// command registers brings the ping to the site that has its secret.
func TestPartnerCommandsAndTheSimulator(t *testing.T) {
	w := harness.NewPhoneWorld(t)
	if run := w.Merchants(harness.PhoneShops); run.Status != 0 || !strings.Contains(run.Stdout, "123456  Merchant 123456  shop-a.localhost") {
		t.Errorf("merchants: %d %s%s", run.Status, run.Stdout, run.Stderr)
	}
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(w.Vars.Replace(w.Globals()+harness.PhoneShops)), 0o600); err != nil {
		t.Fatal(err)
	}
	webhook := func(args ...string) string {
		t.Helper()
		run := harness.RunCaddy(t, append(append([]string{"vipps-login", "webhook"}, args...), "--config", file)...)
		if run.Status != 0 {
			t.Fatalf("%v: %s%s", args, run.Stdout, run.Stderr)
		}
		return run.Stdout
	}
	if got := w.Check(w.Globals()+harness.PhoneShops, "--json").Report(t).Outcome("shop-a.localhost"); !strings.Contains(got, "webhook warning") {
		t.Errorf("before: %s", got)
	}
	registered := webhook("register", "--merchant", "123456")
	secret := regexp.MustCompile(`webhook_secret (\S+)`).FindStringSubmatch(registered)
	id := regexp.MustCompile(`as (\S+)\.`).FindStringSubmatch(registered)
	if secret == nil || id == nil {
		t.Fatalf("registered: %s", registered)
	}
	if list := webhook("list", "--merchant", "123456"); !strings.Contains(list, id[1]) || strings.Contains(list, secret[1]) || strings.Contains(webhook("list"), id[1]) {
		t.Errorf("list: %s", list)
	}
	if got := w.Check(w.Globals()+harness.PhoneShops, "--json").Report(t).Outcome("shop-a.localhost"); !strings.Contains(got, "webhook ok") {
		t.Errorf("after: %s", got)
	}

	w.Load(strings.Replace(harness.PhoneShops, "webhook_secret another-webhook-secret", "webhook_secret "+secret[1], 1))
	till := harness.NewTill(t, w.Shop("shop-a.localhost"))
	_, authReqID := till.Start(w, `{"phone_number":"+4712345678"}`)
	harness.MustAnswer(t, w, authReqID, true)
	if err := w.Vipps.Sim.PingPhone(authReqID); err != nil {
		t.Errorf("the ping: %v", err)
	}
	webhook("delete", id[1], "--merchant", "123456")
	if err := w.Vipps.Sim.PingPhone(authReqID); err == nil {
		t.Error("pinged after the registration was deleted")
	}
	if got := w.Check(w.Globals()+harness.PhoneShops, "--json").Report(t).Outcome("shop-b.localhost"); strings.Contains(got, "webhook") {
		t.Errorf("a site without a secret: %s", got)
	}
}
