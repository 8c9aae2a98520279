package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The real command is run: the test binary is a `caddy` (Main).

// checkRun is what a run of `caddy vipps-login check` printed, and its exit status.
type checkRun struct {
	Stdout, Stderr string
	Status         int
}

// checkReport is what docs/operations.md says of --json.
type checkReport struct {
	OK          bool
	Environment string
	Partner     []checkFinding
	Merchants   []struct {
		MSN, Host   string
		RedirectURI string `json:"redirect_uri"`
		Checks      []checkFinding
	}
}

type checkFinding struct{ Name, Status, Detail, Fix string }

// Check runs the command on a Caddyfile, and looks for secrets in all that it prints.
func (w *World) Check(caddyfile string, args ...string) checkRun {
	w.T.Helper()
	file := filepath.Join(w.T.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(w.Vars.Replace(caddyfile)), 0o600); err != nil {
		w.T.Fatal(err)
	}
	run := RunCaddy(w.T, append([]string{"vipps-login", "check", "--config", file}, args...)...)
	w.WantNoSecret(run)
	return run
}

// RunCaddy runs the caddy command, which is this test binary, until it ends.
func RunCaddy(t testing.TB, args ...string) checkRun {
	t.Helper()
	cmd := exec.Command(testBinary(), args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), CaddyCommand+"=1", "XDG_DATA_HOME="+cmd.Dir, "XDG_CONFIG_HOME="+cmd.Dir, endsAtOnce())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return checkRun{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// WantNoSecret: whatever was sent as a secret, or is configured as one, is not in the output.
func (w *World) WantNoSecret(run checkRun) {
	w.T.Helper()
	secrets := []string{PartnerSecret, PartnerKey, CookieSecret, APIKey, "shop-a-secret", "wrong-secret", "wrong-key"}
	w.Vipps.Mutex.Lock()
	for _, r := range w.Vipps.Seen {
		for _, field := range []string{"Authorization", "Client_secret", "Ocp-Apim-Subscription-Key"} {
			for _, value := range r.Header[field] {
				_, credentials, ok := strings.Cut(value, " ")
				secrets = append(secrets, value)
				if ok {
					secrets = append(secrets, credentials)
				}
			}
		}
	}
	w.Vipps.Mutex.Unlock()
	for _, secret := range secrets {
		if strings.Contains(run.Stdout+run.Stderr, secret) {
			w.T.Errorf("the output has the secret %q: %s", secret, run.Stdout+run.Stderr)
		}
	}
}

// Report reads what --json printed.
func (run checkRun) Report(t *testing.T) checkReport {
	t.Helper()
	var report checkReport
	if err := json.Unmarshal([]byte(run.Stdout), &report); err != nil {
		t.Fatalf("%v: %s %s", err, run.Stdout, run.Stderr)
	}
	if want := map[bool]int{true: 0, false: 1}[report.OK]; run.Status != want {
		t.Errorf("exit status %d with ok %v", run.Status, report.OK)
	}
	return report
}

// Outcome is the report in short: "partner_keys ok, …", or "keys ok, …" of one host.
func (r checkReport) Outcome(host string) string {
	found := r.Partner
	for _, merchant := range r.Merchants {
		if merchant.Host == host {
			found = merchant.Checks
		}
	}
	var parts []string
	for _, f := range found {
		parts = append(parts, f.Name+" "+f.Status)
	}
	return strings.Join(parts, ", ")
}

func (r checkReport) Find(name string) checkFinding {
	found := slices.Clone(r.Partner)
	for _, merchant := range r.Merchants {
		found = append(found, merchant.Checks...)
	}
	i := slices.IndexFunc(found, func(f checkFinding) bool { return f.Name == name && f.Status != "ok" })
	if i < 0 {
		return checkFinding{}
	}
	return found[i]
}

// Merchants runs the command on a Caddyfile.
func (w *World) Merchants(sites string, args ...string) checkRun {
	w.T.Helper()
	file := filepath.Join(w.T.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(w.Vars.Replace(w.Globals()+sites)), 0o600); err != nil {
		w.T.Fatal(err)
	}
	run := RunCaddy(w.T, append([]string{"vipps-login", "merchants", "--config", file}, args...)...)
	w.WantNoSecret(run)
	return run
}
