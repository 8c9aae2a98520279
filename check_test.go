package vippslogin_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// These tests run the real command: this test binary is a `caddy` (TestMain).

// checkRun is what a run of `caddy vipps-login check` printed, and its exit status.
type checkRun struct {
	stdout, stderr string
	status         int
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

// check runs the command on a Caddyfile, and looks for secrets in all that it prints.
func (w *world) check(caddyfile string, args ...string) checkRun {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(w.vars.Replace(caddyfile)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	run := runCaddy(w.t, append([]string{"vipps-login", "check", "--config", file}, args...)...)
	w.wantNoSecret(run)
	return run
}

func runCaddy(t testing.TB, args ...string) checkRun {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), caddyCommand+"=1", "XDG_DATA_HOME="+cmd.Dir, "XDG_CONFIG_HOME="+cmd.Dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return checkRun{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// wantNoSecret: whatever was sent as a secret, or is configured as one, is not in the output.
func (w *world) wantNoSecret(run checkRun) {
	w.t.Helper()
	secrets := []string{partnerSecret, partnerKey, cookieSecret, apiKey, "shop-a-secret", "wrong-secret", "wrong-key"}
	w.vipps.mu.Lock()
	for _, r := range w.vipps.seen {
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
	w.vipps.mu.Unlock()
	for _, secret := range secrets {
		if strings.Contains(run.stdout+run.stderr, secret) {
			w.t.Errorf("the output has the secret %q: %s", secret, run.stdout+run.stderr)
		}
	}
}

// report reads what --json printed.
func (run checkRun) report(t *testing.T) checkReport {
	t.Helper()
	var report checkReport
	if err := json.Unmarshal([]byte(run.stdout), &report); err != nil {
		t.Fatalf("%v: %s %s", err, run.stdout, run.stderr)
	}
	if want := map[bool]int{true: 0, false: 1}[report.OK]; run.status != want {
		t.Errorf("exit status %d with ok %v", run.status, report.OK)
	}
	return report
}

// outcome is the report in short: "partner_keys ok, …", or "keys ok, …" of one host.
func (r checkReport) outcome(host string) string {
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

func (r checkReport) find(name string) checkFinding {
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

const (
	partnerGood = "partner_keys ok, discovery ok, signing_keys ok, clock ok"
	hostGood    = "keys ok, msn ok, redirect_uri ok"
)

// newCheckWorld has a third merchant, with keys of its own.
func newCheckWorld(t *testing.T) *world {
	return worldWith(t, func(w *world) []simulator.Merchant {
		return []simulator.Merchant{
			{MSN: "123456", RedirectURIs: []string{w.shop("shop-a.localhost") + "/vipps/callback", "https://shop-a.localhost/vipps/callback"}},
			{MSN: "234567", RedirectURIs: []string{w.shop("shop-b.localhost") + "/vipps/callback", w.shop("shop-b.localhost") + "/vipps/phone/callback",
				w.secureShop("shop-b.localhost") + "/vipps/callback"}},
			{MSN: "345678", ClientID: "shop-c", ClientSecret: "shop-a-secret", RedirectURIs: []string{w.shop("shop-c.localhost") + "/vipps/callback"}},
		}
	})
}

// ownKeys is a site with keys of its own.
const ownKeys = `
http://shop-c.localhost:$HTTP {
	vipps_login {
		merchant 345678 shop-c.localhost {
			client_id shop-c
			client_secret shop-a-secret
		}
	}
}
`

// TestCheck: what each mistake looks like, and what is said to fix it.
func TestCheck(t *testing.T) {
	w := newCheckWorld(t)
	globals := w.globals()
	for _, test := range []struct {
		name, caddyfile string
		args            []string
		partner         string            // default: all is good
		hosts           map[string]string // default: all is good
		fix             map[string]string // a check that is not ok, and a part of what to do about it
	}{
		{name: "all is good", caddyfile: globals + twoShops + ownKeys,
			hosts: map[string]string{"shop-c.localhost": "keys ok, redirect_uri ok"}},
		{name: "client_secret", caddyfile: strings.Replace(globals, partnerSecret, "wrong-secret", 1) + twoShops,
			partner: "partner_keys failed, discovery ok, signing_keys ok, clock ok",
			hosts: map[string]string{"shop-a.localhost": "keys not_checked, msn ok, redirect_uri ok",
				"shop-b.localhost": "keys not_checked, msn ok, redirect_uri ok"},
			fix: map[string]string{"partner_keys": "Compare client_id, client_secret and subscription_key"}},
		{name: "subscription_key", caddyfile: strings.Replace(globals, partnerKey, "wrong-key", 1) + ownKeys,
			partner: "partner_keys failed, discovery ok, signing_keys ok, clock ok",
			hosts:   map[string]string{"shop-c.localhost": "keys ok, redirect_uri ok"},
			fix:     map[string]string{"partner_keys": "Compare client_id, client_secret and subscription_key"}},
		{name: "redirect URI", caddyfile: globals + strings.Replace(twoShops, "vipps_login 123456", "vipps_login 123456 {\nbase_path /other\n}", 1),
			hosts: map[string]string{"shop-a.localhost": "keys ok, msn ok, redirect_uri failed"},
			fix: map[string]string{"redirect_uri": "In the business portal, sales unit 123456: register the redirect URI " +
				w.shop("shop-a.localhost") + "/other/callback"}},
		{name: "MSN", caddyfile: globals + strings.Replace(twoShops, "123456", "999999", 1),
			hosts: map[string]string{"shop-a.localhost": "keys failed, msn failed, redirect_uri not_checked"},
			fix:   map[string]string{"msn": "sales unit 999999 must exist", "keys": "sales unit 999999 is connected to the partner"}},
		{name: "own client_secret", caddyfile: globals + strings.Replace(ownKeys, "shop-a-secret", "wrong-secret", 1),
			hosts: map[string]string{"shop-c.localhost": "keys failed, redirect_uri ok"},
			fix:   map[string]string{"keys": "sales unit 345678: compare client_id and client_secret"}},
		{name: "own client_id", caddyfile: globals + strings.Replace(ownKeys, "client_id shop-c", "client_id shop-d", 1),
			hosts: map[string]string{"shop-c.localhost": "keys failed, redirect_uri failed"},
			fix:   map[string]string{"keys": "compare client_id and client_secret"}},
		{name: "one merchant", caddyfile: globals + strings.Replace(twoShops, "123456", "999999", 1), args: []string{"--merchant", "234567"},
			hosts: map[string]string{"shop-b.localhost": hostGood}},
		{name: "phone", caddyfile: globals + strings.ReplaceAll(twoShops, "vipps_login 123456", "vipps_login 123456 {\nphone {\napi_key "+apiKey+"\n}\n}"),
			hosts: map[string]string{"shop-a.localhost": hostGood + ", phone_redirect_uri warning"},
			fix:   map[string]string{"phone_redirect_uri": "For finish: browser only. In the business portal, sales unit 123456: register the redirect URI " + w.shop("shop-a.localhost") + "/vipps/phone/callback"}},
		{name: "phone registered", caddyfile: globals + strings.ReplaceAll(twoShops, "vipps_login /account/* 234567", "vipps_login /account/* 234567 {\nphone {\napi_key "+apiKey+"\n}\n}"),
			hosts: map[string]string{"shop-b.localhost": hostGood + ", phone_redirect_uri ok"}},
		{name: "placeholder and wildcard", caddyfile: globals + `
http://shop-a.localhost:$HTTP {
	vipps_login {vars.msn}
}
http://*.localhost:$HTTP {
	vipps_login 234567
}
`,
			hosts: map[string]string{"shop-a.localhost": "keys not_checked, msn not_checked, redirect_uri not_checked",
				"*.localhost": "keys ok, msn not_checked, redirect_uri not_checked"}},
		{name: "HTTPS, in a subroute, with a key that cannot be read", caddyfile: globals + `
https://shop-b.localhost:$HTTPS {
	tls /not/there.pem /not/there.key
	route {
		handle {
			vipps_login 234567
		}
	}
}
`},
		{name: "behind a proxy", caddyfile: strings.Replace(globals, "servers {", "servers {\ntrusted_proxies static private_ranges", 1) + twoShops,
			hosts: map[string]string{"shop-b.localhost": "keys ok, msn ok, redirect_uri failed"},
			fix:   map[string]string{"redirect_uri": "register the redirect URI https://shop-b.localhost/vipps/callback"}},
		{name: "no partner", caddyfile: strings.NewReplacer("client_id "+partnerID, "", "client_secret "+partnerSecret, "", "subscription_key "+partnerKey, "").Replace(globals) + ownKeys,
			partner: "partner_keys not_checked, discovery ok, signing_keys ok, clock ok",
			hosts:   map[string]string{"shop-c.localhost": "keys ok, redirect_uri ok"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			report := w.check(test.caddyfile, append(test.args, "--json")...).report(t)
			if got := report.outcome(""); got != cmp.Or(test.partner, partnerGood) {
				t.Errorf("partner: %s", got)
			}
			if len(report.Merchants) == 0 {
				t.Error("no merchants")
			}
			for _, merchant := range report.Merchants {
				if got := report.outcome(merchant.Host); got != cmp.Or(test.hosts[merchant.Host], hostGood) {
					t.Errorf("%s: %s", merchant.Host, got)
				}
			}
			for name, want := range test.fix {
				if found := report.find(name); !strings.Contains(found.Fix, want) {
					t.Errorf("%+v, want it to say %q", found, want)
				}
			}
		})
	}
}

// TestCheckWithoutVipps: nothing answers, or what answers is not Vipps MobilePay.
func TestCheckWithoutVipps(t *testing.T) {
	w := newCheckWorld(t)
	nothing := "keys not_checked, msn not_checked, redirect_uri not_checked"
	at := func(date time.Time) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Date", date.UTC().Format(http.TimeFormat))
			w.vipps.sim.ServeHTTP(rw, r)
		}
	}
	text := func(status int, body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(status)
			_, _ = io.WriteString(rw, body)
		}
	}
	busy := new(atomic.Int32)
	for _, test := range []struct {
		name, path  string
		answer      http.HandlerFunc
		partner     string
		host        string
		check, says string
	}{
		{"another issuer", pathDiscovery, text(200, `{"issuer":"https://evil.example/"}`),
			"partner_keys ok, discovery failed, signing_keys not_checked, clock not_checked", nothing, "discovery", "production, test or its base URL"},
		{"no keys", pathKeys, text(200, `{"keys":[]}`), "partner_keys ok, discovery ok, signing_keys failed, clock ok", hostGood,
			"signing_keys", "no login can be verified"},
		{"keys for encryption", pathKeys, text(200, `{"keys":[{"kty":"EC","use":"enc","kid":"a","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`),
			"partner_keys ok, discovery ok, signing_keys failed, clock ok", hostGood, "signing_keys", "no login can be verified"},
		{"a minute and a half behind", pathDiscovery, at(time.Now().Add(90 * time.Second)),
			"partner_keys ok, discovery ok, signing_keys ok, clock failed", hostGood, "clock", "NTP"},
		{"two minutes ahead", pathDiscovery, at(time.Now().Add(-2 * time.Minute)),
			"partner_keys ok, discovery ok, signing_keys ok, clock failed", hostGood, "clock", "NTP"},
		{"twenty seconds ahead", pathDiscovery, at(time.Now().Add(-20 * time.Second)),
			"partner_keys ok, discovery ok, signing_keys ok, clock warning", hostGood, "clock", "NTP"},
		{"from a cache", pathDiscovery, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Age", "300")
			at(time.Now().Add(-5*time.Minute))(rw, r)
		}, partnerGood, hostGood, "", ""},
		{"an error of the token endpoint", pathToken, text(400, `{"error":"invalid_request"}`), partnerGood, "keys warning, msn ok, redirect_uri ok",
			"keys", "tell Vipps MobilePay"},
		{"forbidden", pathToken, text(403, ``), partnerGood, "keys failed, msn ok, redirect_uri ok", "keys", "connected to the partner"},
		{"busy for a moment", pathAuth, func(rw http.ResponseWriter, r *http.Request) {
			if busy.Add(1) <= 2 {
				rw.Header().Set("Retry-After", "1")
				rw.WriteHeader(http.StatusTooManyRequests)
				return
			}
			w.vipps.sim.ServeHTTP(rw, r)
		}, partnerGood, hostGood, "", ""},
		{"busy for long", pathAuth, text(503, ""), partnerGood, "keys ok, msn failed, redirect_uri not_checked", "msn", "lower --parallel"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			w.vipps.answer(test.path, test.answer)
			defer w.vipps.answer(test.path, nil)
			report := w.check(w.globals()+twoShops, "--json", "--merchant", "123456").report(t)
			if got := report.outcome(""); got != test.partner {
				t.Errorf("partner: %s", got)
			}
			if got := report.outcome("shop-a.localhost"); got != test.host {
				t.Errorf("host: %s", got)
			}
			if found := report.find(test.check); !strings.Contains(found.Fix, test.says) {
				t.Errorf("%+v, want it to say %q", found, test.says)
			}
		})
	}
	t.Run("down", func(t *testing.T) {
		w.t = t
		w.vipps.Close()
		report := w.check(w.globals()+twoShops, "--json").report(t)
		if got := report.outcome(""); got != "partner_keys failed, discovery failed, signing_keys not_checked, clock not_checked" {
			t.Error(got)
		}
		if found := report.find("discovery"); !strings.Contains(found.Fix, "See that this machine reaches "+w.vipps.URL) {
			t.Errorf("%+v", found)
		}
	})
}

// TestCheckFollowsNoLogin: redirects are followed within Vipps MobilePay's login, and nowhere else.
func TestCheckFollowsNoLogin(t *testing.T) {
	w := newCheckWorld(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the check went to %s", r.URL) }))
	defer elsewhere.Close()
	w.load(`
http://shop-a.localhost:$HTTP {
	respond "the site was called" 500
	log
}
`) // in the place of the site: the check must not call it
	callback := w.shop("shop-a.localhost") + "/vipps/callback"
	for _, test := range []struct {
		name, to, want, says string
	}{
		{"a login page elsewhere", elsewhere.URL + "/login?login_challenge=x", hostGood, ""},
		{"an error page elsewhere", elsewhere.URL + "/error?error=invalid_request&error_description=x", "keys ok, msn ok, redirect_uri failed", "register the redirect URI " + callback},
		{"no login client", elsewhere.URL + "/error?error=invalid_client", "keys ok, msn ok, redirect_uri failed", "set up Login"},
		{"the scope is refused", callback + "?error=invalid_scope&state=x", "keys ok, msn ok, redirect_uri failed", "Compare scope"},
		{"a login out of nowhere", callback + "?code=x&state=x", "keys ok, msn ok, redirect_uri failed", "tell Vipps MobilePay"},
		{"without end", pathAuth + "?client_id=x", "keys ok, msn ok, redirect_uri failed", "tell Vipps MobilePay"},
		{"an evil error code", callback + "?error=" + partnerSecret, "keys ok, msn ok, redirect_uri failed", "Compare scope"},
		{"nowhere", "", "keys ok, msn ok, redirect_uri failed", "tell Vipps MobilePay"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			w.vipps.answer(pathAuth, func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Method != http.MethodGet {
					t.Errorf("%s %v", r.Method, r.Header)
				}
				if r.URL.Query().Has("msn") {
					w.vipps.sim.ServeHTTP(rw, r)
					return
				}
				rw.Header().Set("Location", test.to)
				rw.WriteHeader(http.StatusFound)
			})
			run := w.check(w.globals()+twoShops, "--json", "--merchant", "123456")
			report := run.report(t)
			if got := report.outcome("shop-a.localhost"); got != test.want {
				t.Errorf("%s: %s", got, run.stdout)
			}
			if found := report.find("redirect_uri"); !strings.Contains(found.Fix, test.says) {
				t.Errorf("%+v, want it to say %q", found, test.says)
			}
		})
	}
	if strings.Contains(w.logged(), "/vipps/callback") {
		t.Error("the site was called")
	}
	if consents := w.vipps.requests("/_simulator/consent"); len(consents) > 0 {
		t.Error("a consent page was answered")
	}
}

// TestCheckTable is what people read.
func TestCheckTable(t *testing.T) {
	w := newCheckWorld(t)
	run := w.check(w.globals() + strings.Replace(twoShops, "vipps_login 123456", "vipps_login 123456 {\nbase_path /other\n}", 1) + ownKeys)
	want := `Vipps MobilePay at $VIPPS

partner keys  ok  accepted, and a partner access token given
discovery     ok  read, with the issuer that it should have
signing keys  ok  read, 1 can be used
clock         ok  within 5s of Vipps MobilePay's

MSN     HOST              KEYS  MSN KNOWN  REDIRECT URI  PHONE REDIRECT URI
123456  shop-a.localhost  ok    ok         FAILED        -
234567  shop-b.localhost  ok    ok         ok            -
345678  shop-c.localhost  ok    -          ok            -

FAILED: 123456 shop-a.localhost: redirect URI
  auth: the login page was refused by Vipps MobilePay: status 400
  In the business portal, sales unit 123456: register the redirect URI http://shop-a.localhost:$HTTP/other/callback

11 ok, 1 failed, 0 warnings, 0 not checked
`
	if run.stdout != w.vars.Replace(want) || run.status != 1 {
		t.Errorf("exit status %d:\n%s", run.status, run.stdout)
	}
	if strings.Contains(run.stderr, "Error") || strings.Contains(run.stderr, "Asking") {
		t.Errorf("stderr: %s", run.stderr)
	}
}

// TestCheckJSON is what machines read. Its shape is documented, and stays.
func TestCheckJSON(t *testing.T) {
	w := newCheckWorld(t)
	run := w.check(w.globals()+strings.Replace(twoShops, "vipps_login 123456", "vipps_login 123456 {\nbase_path /other\n}", 1), "--json", "-m", "123456")
	want := `{
  "ok": false,
  "environment": "$VIPPS",
  "partner": [
    {
      "name": "partner_keys",
      "status": "ok",
      "detail": "accepted, and a partner access token given"
    },
    {
      "name": "discovery",
      "status": "ok",
      "detail": "read, with the issuer that it should have"
    },
    {
      "name": "signing_keys",
      "status": "ok",
      "detail": "read, 1 can be used"
    },
    {
      "name": "clock",
      "status": "ok",
      "detail": "within 5s of Vipps MobilePay's"
    }
  ],
  "merchants": [
    {
      "msn": "123456",
      "host": "shop-a.localhost",
      "redirect_uri": "http://shop-a.localhost:$HTTP/other/callback",
      "checks": [
        {
          "name": "keys",
          "status": "ok",
          "detail": "accepted by the token endpoint"
        },
        {
          "name": "msn",
          "status": "ok",
          "detail": "known"
        },
        {
          "name": "redirect_uri",
          "status": "failed",
          "detail": "auth: the login page was refused by Vipps MobilePay: status 400",
          "fix": "In the business portal, sales unit 123456: register the redirect URI http://shop-a.localhost:$HTTP/other/callback"
        }
      ]
    }
  ]
}
`
	if run.stdout != w.vars.Replace(want) || run.status != 1 {
		t.Errorf("exit status %d:\n%s", run.status, run.stdout)
	}
}

// TestCheckConfig: a config that cannot be checked says why, and the exit status is 1.
func TestCheckConfig(t *testing.T) {
	w := newCheckWorld(t)
	for _, test := range []struct {
		name, caddyfile string
		args            []string
		says            string
	}{
		{"without us", "localhost {\nrespond hello\n}\n", nil, "there is no vipps_login in this config"},
		{"does not adapt", w.globals() + "http://shop-a.localhost:$HTTP {\n\tvipps_logout 123456\n}\n", nil, "Caddyfile:24: unrecognized directive: vipps_logout"},
		{"two secrets in one line", strings.Replace(w.globals(), "client_secret ", "client_secret wrong-secret ", 1) + twoShops, nil, "Caddyfile:18"},
		{"does not validate", w.globals() + strings.Replace(twoShops, "123456", "12", 1), nil, "4 to 10 digits"},
		{"unset", strings.Replace(w.globals(), partnerSecret, "{env.NOT_SET_ANYWHERE}", 1) + twoShops, nil, "NOT_SET_ANYWHERE"},
		{"no such merchant", w.globals() + twoShops, []string{"--merchant", "345678"}, `--merchant "345678"`},
		{"too many at a time", w.globals() + twoShops, []string{"--parallel", "1000"}, "--parallel is 1 to 50"},
		{"no such adapter", w.globals() + twoShops, []string{"--adapter", "nginx"}, "unrecognized config adapter: nginx"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			run := w.check(test.caddyfile, test.args...)
			if run.status != 1 || !strings.Contains(run.stderr, test.says) || run.stdout != "" {
				t.Errorf("exit status %d, %s %s", run.status, run.stdout, run.stderr)
			}
		})
	}
	t.Run("no config", func(t *testing.T) {
		if run := runCaddy(t, "vipps-login", "check"); run.status != 1 || !strings.Contains(run.stderr, "no config") {
			t.Errorf("exit status %d, %s", run.status, run.stderr)
		}
	})
}

// TestCheckLeavesNothing: no cookie secret is made, no log is written, and the Caddy that runs with the
// same config goes on.
func TestCheckLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	w := newCheckWorld(t)
	w.load(twoShops)
	logFile := filepath.Join(t.TempDir(), "check.log")
	// localhost on HTTPS would have a certificate authority made as well.
	globals := strings.Replace(w.globals(), "cookie_secret "+cookieSecret, "", 1)
	globals = strings.NewReplacer(w.storage, filepath.Join(w.storage, "check"), w.log, logFile).Replace(globals)
	if run := w.check(globals + twoShops + "shop-b.localhost:$HTTPS {\nlog\nvipps_login 234567\n}\n"); run.status != 0 {
		t.Errorf("%s %s", run.stdout, run.stderr)
	}
	for _, file := range []string{filepath.Join(w.storage, "check"), logFile} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something was written: %s, %v", file, err)
		}
	}
	if a := newBrowser(t).get(w.shop("shop-a.localhost") + "/"); a.StatusCode != http.StatusFound {
		t.Errorf("the Caddy that runs answers %d", a.StatusCode)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "vipps-login-check-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCheckManyMerchants: a thousand, in less than a minute, with ten calls at the same time at most.
func TestCheckManyMerchants(t *testing.T) {
	const n = 1000
	w := worldWith(t, func(w *world) []simulator.Merchant {
		var merchants []simulator.Merchant
		for i := range n {
			merchants = append(merchants, simulator.Merchant{MSN: fmt.Sprint(100000 + i),
				RedirectURIs: []string{w.shop(fmt.Sprintf("shop-%d.localhost", i)) + "/vipps/callback"}})
		}
		return merchants
	})
	var calls, running, most atomic.Int32
	slow := func(rw http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		now := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		time.Sleep(20 * time.Millisecond) // Vipps MobilePay is not on this machine
		w.vipps.sim.ServeHTTP(rw, r)
	}
	w.vipps.answer(pathAuth, slow)
	w.vipps.answer(pathToken, slow)
	sites := "http://*.localhost:$HTTP {\n\tvipps_login {\n"
	for i := range n {
		sites += fmt.Sprintf("\t\tmerchant %d shop-%d.localhost\n", 100000+i, i)
	}
	started := time.Now()
	run := w.check(w.globals() + sites + "\t}\n}\n")
	took := time.Since(started)
	t.Logf("%d merchants, %d calls of 20 ms and more, %d at the same time, in %s", n, calls.Load(), most.Load(), took)
	if run.status != 0 || !strings.HasSuffix(run.stdout, fmt.Sprintf("\n%d ok, 0 failed, 0 warnings, 0 not checked\n", 3*n+4)) {
		t.Errorf("exit status %d, %s", run.status, run.stdout[max(0, len(run.stdout)-500):])
	}
	if took > time.Minute || most.Load() > 10 || calls.Load() != 3*n {
		t.Errorf("%d calls, %d at the same time, in %s", calls.Load(), most.Load(), took)
	}
	if tokens := len(w.vipps.requests(pathAccessToken)); tokens != 1 {
		t.Errorf("%d partner access tokens", tokens)
	}
}
