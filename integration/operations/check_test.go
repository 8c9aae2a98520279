package operations_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

const (
	partnerGood = "partner_keys ok, discovery ok, signing_keys ok, clock ok"
	hostGood    = "keys ok, msn ok, redirect_uri ok"
)

// newCheckWorld has a third merchant, with keys of its own.
func newCheckWorld(t *testing.T) *harness.World {
	return harness.WorldWith(t, func(w *harness.World) []simulator.Merchant {
		return []simulator.Merchant{
			{MSN: "123456", RedirectURIs: []string{w.Shop("shop-a.localhost") + "/vipps/callback", "https://shop-a.localhost/vipps/callback"}},
			{MSN: "234567", RedirectURIs: []string{w.Shop("shop-b.localhost") + "/vipps/callback", w.Shop("shop-b.localhost") + "/vipps/phone/callback",
				w.SecureShop("shop-b.localhost") + "/vipps/callback"}},
			{MSN: "345678", ClientID: "shop-c", ClientSecret: "shop-a-secret", RedirectURIs: []string{w.Shop("shop-c.localhost") + "/vipps/callback"}},
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
	globals := w.Globals()
	for _, test := range []struct {
		name, caddyfile string
		args            []string
		partner         string            // default: all is good
		hosts           map[string]string // default: all is good
		fix             map[string]string // a check that is not ok, and a part of what to do about it
	}{
		{name: "all is good", caddyfile: globals + harness.TwoShops + ownKeys,
			hosts: map[string]string{"shop-c.localhost": "keys ok, redirect_uri ok"}},
		{name: "client_secret", caddyfile: strings.Replace(globals, harness.PartnerSecret, "wrong-secret", 1) + harness.TwoShops,
			partner: "partner_keys failed, discovery ok, signing_keys ok, clock ok",
			hosts: map[string]string{"shop-a.localhost": "keys not_checked, msn ok, redirect_uri ok",
				"shop-b.localhost": "keys not_checked, msn ok, redirect_uri ok"},
			fix: map[string]string{"partner_keys": "Compare client_id, client_secret and subscription_key"}},
		{name: "subscription_key", caddyfile: strings.Replace(globals, harness.PartnerKey, "wrong-key", 1) + ownKeys,
			partner: "partner_keys failed, discovery ok, signing_keys ok, clock ok",
			hosts:   map[string]string{"shop-c.localhost": "keys ok, redirect_uri ok"},
			fix:     map[string]string{"partner_keys": "Compare client_id, client_secret and subscription_key"}},
		{name: "redirect URI", caddyfile: globals + strings.Replace(harness.TwoShops, "vipps_login 123456", "vipps_login 123456 {\nbase_path /other\n}", 1),
			hosts: map[string]string{"shop-a.localhost": "keys ok, msn ok, redirect_uri failed"},
			fix: map[string]string{"redirect_uri": "In the business portal, sales unit 123456: register the redirect URI " +
				w.Shop("shop-a.localhost") + "/other/callback"}},
		{name: "MSN", caddyfile: globals + strings.Replace(harness.TwoShops, "123456", "999999", 1),
			hosts: map[string]string{"shop-a.localhost": "keys failed, msn failed, redirect_uri not_checked"},
			fix:   map[string]string{"msn": "sales unit 999999 must exist", "keys": "sales unit 999999 is connected to the partner"}},
		{name: "own client_secret", caddyfile: globals + strings.Replace(ownKeys, "shop-a-secret", "wrong-secret", 1),
			hosts: map[string]string{"shop-c.localhost": "keys failed, redirect_uri ok"},
			fix:   map[string]string{"keys": "sales unit 345678: compare client_id and client_secret"}},
		{name: "own client_id", caddyfile: globals + strings.Replace(ownKeys, "client_id shop-c", "client_id shop-d", 1),
			hosts: map[string]string{"shop-c.localhost": "keys failed, redirect_uri failed"},
			fix:   map[string]string{"keys": "compare client_id and client_secret"}},
		{name: "one merchant", caddyfile: globals + strings.Replace(harness.TwoShops, "123456", "999999", 1), args: []string{"--merchant", "234567"},
			hosts: map[string]string{"shop-b.localhost": hostGood}},
		{name: "phone", caddyfile: globals + strings.ReplaceAll(harness.TwoShops, "vipps_login 123456", "vipps_login 123456 {\nphone {\napi_key "+harness.APIKey+"\n}\n}"),
			hosts: map[string]string{"shop-a.localhost": hostGood + ", phone_redirect_uri warning"},
			fix:   map[string]string{"phone_redirect_uri": "For finish: browser only. In the business portal, sales unit 123456: register the redirect URI " + w.Shop("shop-a.localhost") + "/vipps/phone/callback"}},
		{name: "phone registered", caddyfile: globals + strings.ReplaceAll(harness.TwoShops, "vipps_login /account/* 234567", "vipps_login /account/* 234567 {\nphone {\napi_key "+harness.APIKey+"\n}\n}"),
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
		{name: "behind a proxy", caddyfile: strings.Replace(globals, "servers {", "servers {\ntrusted_proxies static private_ranges", 1) + harness.TwoShops,
			hosts: map[string]string{"shop-b.localhost": "keys ok, msn ok, redirect_uri failed"},
			fix:   map[string]string{"redirect_uri": "register the redirect URI https://shop-b.localhost/vipps/callback"}},
		{name: "no partner", caddyfile: strings.NewReplacer("client_id "+harness.PartnerID, "", "client_secret "+harness.PartnerSecret, "", "subscription_key "+harness.PartnerKey, "").Replace(globals) + ownKeys,
			partner: "partner_keys not_checked, discovery ok, signing_keys ok, clock ok",
			hosts:   map[string]string{"shop-c.localhost": "keys ok, redirect_uri ok"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.T = t
			report := w.Check(test.caddyfile, append(test.args, "--json")...).Report(t)
			if got := report.Outcome(""); got != cmp.Or(test.partner, partnerGood) {
				t.Errorf("partner: %s", got)
			}
			if len(report.Merchants) == 0 {
				t.Error("no merchants")
			}
			for _, merchant := range report.Merchants {
				if got := report.Outcome(merchant.Host); got != cmp.Or(test.hosts[merchant.Host], hostGood) {
					t.Errorf("%s: %s", merchant.Host, got)
				}
			}
			for name, want := range test.fix {
				if found := report.Find(name); !strings.Contains(found.Fix, want) {
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
			w.Vipps.Sim.ServeHTTP(rw, r)
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
		{"another issuer", harness.PathDiscovery, text(200, `{"issuer":"https://evil.example/"}`),
			"partner_keys ok, discovery failed, signing_keys not_checked, clock not_checked", nothing, "discovery", "production, test or its base URL"},
		{"no keys", harness.PathKeys, text(200, `{"keys":[]}`), "partner_keys ok, discovery ok, signing_keys failed, clock ok", hostGood,
			"signing_keys", "no login can be verified"},
		{"keys for encryption", harness.PathKeys, text(200, `{"keys":[{"kty":"EC","use":"enc","kid":"a","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`),
			"partner_keys ok, discovery ok, signing_keys failed, clock ok", hostGood, "signing_keys", "no login can be verified"},
		{"a minute and a half behind", harness.PathDiscovery, at(time.Now().Add(90 * time.Second)),
			"partner_keys ok, discovery ok, signing_keys ok, clock failed", hostGood, "clock", "NTP"},
		{"two minutes ahead", harness.PathDiscovery, at(time.Now().Add(-2 * time.Minute)),
			"partner_keys ok, discovery ok, signing_keys ok, clock failed", hostGood, "clock", "NTP"},
		{"twenty seconds ahead", harness.PathDiscovery, at(time.Now().Add(-20 * time.Second)),
			"partner_keys ok, discovery ok, signing_keys ok, clock warning", hostGood, "clock", "NTP"},
		{"from a cache", harness.PathDiscovery, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Age", "300")
			at(time.Now().Add(-5*time.Minute))(rw, r)
		}, partnerGood, hostGood, "", ""},
		{"an error of the token endpoint", harness.PathToken, text(400, `{"error":"invalid_request"}`), partnerGood, "keys warning, msn ok, redirect_uri ok",
			"keys", "tell Vipps MobilePay"},
		{"forbidden", harness.PathToken, text(403, ``), partnerGood, "keys failed, msn ok, redirect_uri ok", "keys", "connected to the partner"},
		{"busy for a moment", harness.PathAuth, func(rw http.ResponseWriter, r *http.Request) {
			if busy.Add(1) <= 2 {
				rw.Header().Set("Retry-After", "1")
				rw.WriteHeader(http.StatusTooManyRequests)
				return
			}
			w.Vipps.Sim.ServeHTTP(rw, r)
		}, partnerGood, hostGood, "", ""},
		{"busy for long", harness.PathAuth, text(503, ""), partnerGood, "keys ok, msn failed, redirect_uri not_checked", "msn", "lower --parallel"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.T = t
			w.Vipps.Answer(test.path, test.answer)
			defer w.Vipps.Answer(test.path, nil)
			report := w.Check(w.Globals()+harness.TwoShops, "--json", "--merchant", "123456").Report(t)
			if got := report.Outcome(""); got != test.partner {
				t.Errorf("partner: %s", got)
			}
			if got := report.Outcome("shop-a.localhost"); got != test.host {
				t.Errorf("host: %s", got)
			}
			if found := report.Find(test.check); !strings.Contains(found.Fix, test.says) {
				t.Errorf("%+v, want it to say %q", found, test.says)
			}
		})
	}
	t.Run("down", func(t *testing.T) {
		w.T = t
		w.Vipps.Close()
		report := w.Check(w.Globals()+harness.TwoShops, "--json").Report(t)
		if got := report.Outcome(""); got != "partner_keys failed, discovery failed, signing_keys not_checked, clock not_checked" {
			t.Error(got)
		}
		if found := report.Find("discovery"); !strings.Contains(found.Fix, "See that this machine reaches "+w.Vipps.URL) {
			t.Errorf("%+v", found)
		}
	})
}

// TestCheckFollowsNoLogin: redirects are followed within Vipps MobilePay's login, and nowhere else.
func TestCheckFollowsNoLogin(t *testing.T) {
	w := newCheckWorld(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the check went to %s", r.URL) }))
	defer elsewhere.Close()
	w.Load(`
http://shop-a.localhost:$HTTP {
	respond "the site was called" 500
	log
}
`) // in the place of the site: the check must not call it
	callback := w.Shop("shop-a.localhost") + "/vipps/callback"
	for _, test := range []struct {
		name, to, want, says string
	}{
		{"a login page elsewhere", elsewhere.URL + "/login?login_challenge=x", hostGood, ""},
		{"an error page elsewhere", elsewhere.URL + "/error?error=invalid_request&error_description=x", "keys ok, msn ok, redirect_uri failed", "register the redirect URI " + callback},
		{"no login client", elsewhere.URL + "/error?error=invalid_client", "keys ok, msn ok, redirect_uri failed", "set up Login"},
		{"the scope is refused", callback + "?error=invalid_scope&state=x", "keys ok, msn ok, redirect_uri failed", "Compare scope"},
		{"a login out of nowhere", callback + "?code=x&state=x", "keys ok, msn ok, redirect_uri failed", "tell Vipps MobilePay"},
		{"without end", harness.PathAuth + "?client_id=x", "keys ok, msn ok, redirect_uri failed", "tell Vipps MobilePay"},
		{"an evil error code", callback + "?error=" + harness.PartnerSecret, "keys ok, msn ok, redirect_uri failed", "Compare scope"},
		{"nowhere", "", "keys ok, msn ok, redirect_uri failed", "tell Vipps MobilePay"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.T = t
			w.Vipps.Answer(harness.PathAuth, func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Method != http.MethodGet {
					t.Errorf("%s %v", r.Method, r.Header)
				}
				if r.URL.Query().Has("msn") {
					w.Vipps.Sim.ServeHTTP(rw, r)
					return
				}
				rw.Header().Set("Location", test.to)
				rw.WriteHeader(http.StatusFound)
			})
			run := w.Check(w.Globals()+harness.TwoShops, "--json", "--merchant", "123456")
			report := run.Report(t)
			if got := report.Outcome("shop-a.localhost"); got != test.want {
				t.Errorf("%s: %s", got, run.Stdout)
			}
			if found := report.Find("redirect_uri"); !strings.Contains(found.Fix, test.says) {
				t.Errorf("%+v, want it to say %q", found, test.says)
			}
		})
	}
	if strings.Contains(w.Logged(), "/vipps/callback") {
		t.Error("the site was called")
	}
	if consents := w.Vipps.Requests("/_simulator/consent"); len(consents) > 0 {
		t.Error("a consent page was answered")
	}
}

// TestCheckTable is what people read.
func TestCheckTable(t *testing.T) {
	w := newCheckWorld(t)
	run := w.Check(w.Globals() + strings.Replace(harness.TwoShops, "vipps_login 123456", "vipps_login 123456 {\nbase_path /other\n}", 1) + ownKeys)
	want := `Vipps MobilePay at $VIPPS

partner keys  ok  accepted, and a partner access token given
discovery     ok  read, with the issuer that it should have
signing keys  ok  read, 1 can be used
clock         ok  within 5s of Vipps MobilePay's

MSN     HOST              KEYS  MSN KNOWN  REDIRECT URI  PHONE REDIRECT URI  CLIENT ID                             SALES UNIT
123456  shop-a.localhost  ok    ok         FAILED        -                   5754fdc9-83a2-88c9-bdab-26eab789c248  Merchant 123456
234567  shop-b.localhost  ok    ok         ok            -                   0eab1aab-5498-80e3-9683-06fad509bff8  Merchant 234567
345678  shop-c.localhost  ok    -          ok            -                   -                                     Merchant 345678

FAILED: 123456 shop-a.localhost: redirect URI
  auth: the login page was refused by Vipps MobilePay: status 400
  In the business portal, sales unit 123456: register the redirect URI http://shop-a.localhost:$HTTP/other/callback

11 ok, 1 failed, 0 warnings, 0 not checked
`
	if run.Stdout != w.Vars.Replace(want) || run.Status != 1 {
		t.Errorf("exit status %d:\n%s", run.Status, run.Stdout)
	}
	if strings.Contains(run.Stderr, "Error") || strings.Contains(run.Stderr, "Asking") {
		t.Errorf("stderr: %s", run.Stderr)
	}
}

// TestCheckJSON is what machines read. Its shape is documented, and stays.
func TestCheckJSON(t *testing.T) {
	w := newCheckWorld(t)
	run := w.Check(w.Globals()+strings.Replace(harness.TwoShops, "vipps_login 123456", "vipps_login 123456 {\nbase_path /other\n}", 1), "--json", "-m", "123456")
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
      "sales_unit": "Merchant 123456",
      "client_id": "5754fdc9-83a2-88c9-bdab-26eab789c248",
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
	if run.Stdout != w.Vars.Replace(want) || run.Status != 1 {
		t.Errorf("exit status %d:\n%s", run.Status, run.Stdout)
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
		{"does not adapt", w.Globals() + "http://shop-a.localhost:$HTTP {\n\tvipps_logout 123456\n}\n", nil, "Caddyfile:24: unrecognized directive: vipps_logout"},
		{"two secrets in one line", strings.Replace(w.Globals(), "client_secret ", "client_secret wrong-secret ", 1) + harness.TwoShops, nil, "Caddyfile:18"},
		{"does not validate", w.Globals() + strings.Replace(harness.TwoShops, "123456", "12", 1), nil, "4 to 10 digits"},
		{"unset", strings.Replace(w.Globals(), harness.PartnerSecret, "{env.NOT_SET_ANYWHERE}", 1) + harness.TwoShops, nil, "NOT_SET_ANYWHERE"},
		{"no such merchant", w.Globals() + harness.TwoShops, []string{"--merchant", "345678"}, `--merchant "345678"`},
		{"too many at a time", w.Globals() + harness.TwoShops, []string{"--parallel", "1000"}, "--parallel is 1 to 50"},
		{"no such adapter", w.Globals() + harness.TwoShops, []string{"--adapter", "nginx"}, "unrecognized config adapter: nginx"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.T = t
			run := w.Check(test.caddyfile, test.args...)
			if run.Status != 1 || !strings.Contains(run.Stderr, test.says) || run.Stdout != "" {
				t.Errorf("exit status %d, %s %s", run.Status, run.Stdout, run.Stderr)
			}
		})
	}
	t.Run("no config", func(t *testing.T) {
		if run := harness.RunCaddy(t, "vipps-login", "check"); run.Status != 1 || !strings.Contains(run.Stderr, "no config") {
			t.Errorf("exit status %d, %s", run.Status, run.Stderr)
		}
	})
}

// TestCheckLeavesNothing: no cookie secret is made, no log is written, and the Caddy that runs with the
// same config goes on.
func TestCheckLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	w := newCheckWorld(t)
	w.Load(harness.TwoShops)
	logFile := filepath.Join(t.TempDir(), "check.log")
	// localhost on HTTPS would have a certificate authority made as well.
	globals := strings.Replace(w.Globals(), "cookie_secret "+harness.CookieSecret, "", 1)
	globals = strings.NewReplacer(w.Storage, filepath.Join(w.Storage, "check"), w.LogFile, logFile).Replace(globals)
	if run := w.Check(globals + harness.TwoShops + "shop-b.localhost:$HTTPS {\nlog\nvipps_login 234567\n}\n"); run.Status != 0 {
		t.Errorf("%s %s", run.Stdout, run.Stderr)
	}
	for _, file := range []string{filepath.Join(w.Storage, "check"), logFile} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something was written: %s, %v", file, err)
		}
	}
	if a := harness.NewBrowser(t).Get(w.Shop("shop-a.localhost") + "/"); a.StatusCode != http.StatusFound {
		t.Errorf("the Caddy that runs answers %d", a.StatusCode)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "vipps-login-check-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCheckManyMerchants: a thousand, in less than a minute, with ten calls at the same time at most.
func TestCheckManyMerchants(t *testing.T) {
	const n = 1000
	w := harness.WorldWith(t, func(w *harness.World) []simulator.Merchant {
		var merchants []simulator.Merchant
		for i := range n {
			merchants = append(merchants, simulator.Merchant{MSN: fmt.Sprint(100000 + i),
				RedirectURIs: []string{w.Shop(fmt.Sprintf("shop-%d.localhost", i)) + "/vipps/callback"}})
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
		w.Vipps.Sim.ServeHTTP(rw, r)
	}
	w.Vipps.Answer(harness.PathAuth, slow)
	w.Vipps.Answer(harness.PathToken, slow)
	sites := "http://*.localhost:$HTTP {\n\tvipps_login {\n"
	for i := range n {
		sites += fmt.Sprintf("\t\tmerchant %d shop-%d.localhost\n", 100000+i, i)
	}
	started := time.Now()
	run := w.Check(w.Globals() + sites + "\t}\n}\n")
	took := time.Since(started)
	t.Logf("%d merchants, %d calls of 20 ms and more, %d at the same time, in %s", n, calls.Load(), most.Load(), took)
	if run.Status != 0 || !strings.HasSuffix(run.Stdout, fmt.Sprintf("\n%d ok, 0 failed, 0 warnings, 0 not checked\n", 3*n+4)) {
		t.Errorf("exit status %d, %s", run.Status, run.Stdout[max(0, len(run.Stdout)-500):])
	}
	if took > time.Minute || most.Load() > 10 || calls.Load() != 3*n {
		t.Errorf("%d calls, %d at the same time, in %s", calls.Load(), most.Load(), took)
	}
	if tokens := len(w.Vipps.Requests(harness.PathAccessToken)); tokens != 1 {
		t.Errorf("%d partner access tokens", tokens)
	}
}
