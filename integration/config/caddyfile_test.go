package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestGoodCaddyfiles: each file is a Caddyfile, a line of dashes, and the JSON it is adapted to, which
// must be a valid config.
func TestGoodCaddyfiles(t *testing.T) {
	harness.EachGolden(t, "good", func(t *testing.T, file, config, want string) {
		adapted, err := harness.Adapt(t, config)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := json.Indent(&got, adapted, "", "\t"); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		if *harness.UpdateGolden {
			if err := os.WriteFile(file, []byte(config+harness.Dashes+got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if got.String() != want {
			t.Errorf("adapted to\n%s\nwant (go -C integration test ./config -run TestGoodCaddyfiles -args -update accepts what it is)\n%s", got.String(), want)
		}
		harness.WantNoSecret(t, got.String())
		if err := harness.Validate(adapted); err != nil {
			t.Errorf("caddy validate: %v", err)
		}
	})
}

var caddyfileLine = regexp.MustCompile(`Caddyfile:\d+`)

// TestBadCaddyfiles: each file is a Caddyfile, a line of dashes, and lines that all stand in the error
// that adapting or validating it ends in.
func TestBadCaddyfiles(t *testing.T) {
	harness.EachGolden(t, "bad", func(t *testing.T, _, config, want string) {
		adapted, err := harness.Adapt(t, config)
		if err != nil && !caddyfileLine.MatchString(err.Error()) {
			t.Errorf("no line is named: %v", err)
		}
		if err == nil {
			if !strings.Contains(config, "resolved-") { // what is written out, `caddy adapt` shows
				harness.WantNoSecret(t, string(adapted))
			}
			err = harness.Validate(adapted)
		}
		harness.WantError(t, err, strings.Split(strings.TrimSpace(want), "\n")...)
	})
}

// Where a subdirective stands, with $LINE in its place.
const (
	inGlobalOption = "{\n\tvipps_login {\n\t\t$LINE\n\t}\n}\n"
	inDirective    = "shop.example.no {\n\tvipps_login 123456 {\n\t\t$LINE\n\t}\n}\n"
	inMerchant     = "shop.example.no {\n\tvipps_login {\n\t\tmerchant 123456 shop.example.no {\n\t\t\t$LINE\n\t\t}\n\t}\n}\n"
	inPhone        = "shop.example.no {\n\tvipps_login 123456 {\n\t\tphone {\n\t\t\t$LINE\n\t\t}\n\t}\n}\n"
	inSession      = "shop.example.no {\n\tvipps_login {\n\t\tsession {\n\t\t\t$LINE\n\t\t}\n\t}\n}\n"
)

// TestSubdirectivesAreParsedStrictly: too few arguments, too many, an empty one, a block where none
// belongs and a second time are errors that name the line and the subdirective. No error repeats an
// argument: it could be a secret.
func TestSubdirectivesAreParsedStrictly(t *testing.T) {
	const many = 1000
	for _, sub := range []struct {
		where, name string
		least, most int // arguments
		again       bool
	}{
		{inGlobalOption, "environment", 1, 1, false},
		{inGlobalOption, "client_id", 1, 1, false},
		{inGlobalOption, "client_secret", 1, 1, false},
		{inGlobalOption, "subscription_key", 1, 1, false},
		{inGlobalOption, "cookie_secret", 1, many, false},
		{inGlobalOption, "system", 1, 2, false},
		{inDirective, "merchants", 1, 1, false},
		{inDirective, "scope", 1, many, false},
		{inDirective, "on_unauthenticated", 1, 1, false},
		{inDirective, "base_path", 1, 1, false},
		{inDirective, "header_prefix", 1, 1, false},
		{inDirective, "header", 2, 2, true},
		{inDirective, "header_encoding", 1, 1, false},
		{inDirective, "market", 1, 1, false},
		{inDirective, "require_app_confirmation", 0, 0, false},
		{inDirective, "return_in_any_browser", 0, 0, false},
		{inDirective, "error_pages", 1, 1, false},
		{inMerchant, "client_id", 1, 1, false},
		{inMerchant, "client_secret", 1, 1, false},
		{inMerchant, "scope", 1, many, false},
		{inMerchant, "market", 1, 1, false},
		{inPhone, "api_key", 1, many, false},
		{inPhone, "scope", 1, many, false},
		{inPhone, "webhook_secret", 1, many, false},
		{inSession, "lifetime", 1, 1, false},
		{inSession, "idle_timeout", 1, 1, false},
	} {
		argument := " resolved-argument"
		if sub.where == inSession {
			argument = " 1h"
		}
		good := sub.name + strings.Repeat(argument, sub.least)
		mistakes := map[string]string{
			"a block":        good + " {\n\t\t\tresolved-x resolved-y\n\t\t}",
			"an empty block": good + " {\n\t\t}",
		}
		if sub.least > 0 {
			mistakes["none"] = sub.name
			mistakes["too few"] = sub.name + strings.Repeat(argument, sub.least-1)
			mistakes["a block in its place"] = sub.name + " {\n\t\t\tresolved-x\n\t\t}"
		}
		if sub.least == 1 {
			mistakes["empty"] = sub.name + ` ""`
		}
		if sub.most < many {
			mistakes["too many"] = sub.name + strings.Repeat(argument, sub.most+1)
		}
		if !sub.again {
			mistakes["twice"] = good + "\n\t\t" + good
		}
		line := strings.Count(strings.Split(sub.where, "$LINE")[0], "\n") + 1
		t.Run(sub.name, func(t *testing.T) {
			if _, err := harness.Adapt(t, caddyfileWith(sub.where, good)); err != nil {
				t.Errorf("%s: %v", good, err)
			}
			for mistake, text := range mistakes {
				at := line
				if mistake == "twice" {
					at++
				}
				_, err := harness.Adapt(t, caddyfileWith(sub.where, text))
				if err == nil {
					t.Errorf("%s (%s) is no error", text, mistake)
					continue
				}
				harness.WantError(t, err, sub.name, fmt.Sprintf("at Caddyfile:%d", at))
			}
		})
	}
}

func caddyfileWith(where, line string) string {
	return string(caddyfile.Format([]byte(strings.ReplaceAll(where, "$LINE", line))))
}

// TestBadJSON: what no Caddyfile can say, JSON can.
func TestBadJSON(t *testing.T) {
	harness.SetConfigVariables(t)
	const app = `"client_id": "id", "client_secret": "secret", "subscription_key": "key"`
	for _, test := range []struct{ name, app, handler, want string }{
		{"unknown field of the app", app + `, "cookie_secret": "x"`, `"msn": "123456"`, `unknown field "cookie_secret"`},
		{"unknown field of the handler", app, `"msn": "123456", "telephone": {}`, `unknown field "telephone"`},
		{"unknown field of a merchant", app, `"merchants": [{"msn": "123456", "host": "a"}]`, `unknown field "host"`},
		{"unknown field of the session", app, `"msn": "123456", "session": {"timeout": "1h"}`, `unknown field "timeout"`},
		{"unknown field of phone", app, `"msn": "123456", "phone": {"api_key": "x"}`, `unknown field "api_key"`},
		{"phone without an API key", app, `"msn": "123456", "phone": {}`, `phone: no api_key: `},
		{"phone with no API keys", app, `"msn": "123456", "phone": {"api_keys": []}`, `phone: no api_key: `},
		{"an empty API key", app, `"msn": "123456", "phone": {"api_keys": ["0123456789abcdef0123456789abcdef", ""]}`, `phone: api_key 2: it is empty: set it`},
		{"an empty webhook secret", app, `"msn": "123456", "phone": {"api_keys": ["0123456789abcdef0123456789abcdef"], "webhook_secrets": [""]}`, `phone: webhook_secret 1: it is empty: set it`},
		{"an empty scope of phone", app, `"msn": "123456", "phone": {"api_keys": ["0123456789abcdef0123456789abcdef"], "scopes": [""]}`, `phone: scope: "" is not a scope`},
		{"a flag for phone", app, `"msn": "123456", "phone": true`, `cannot unmarshal bool`},
		{"a text for the API keys", app, `"msn": "123456", "phone": {"api_keys": "0123456789abcdef0123456789abcdef"}`, `cannot unmarshal string`},
		{"a number for the MSN", app, `"msn": 123456`, `cannot unmarshal number`},
		{"a text for a flag", app, `"msn": "123456", "return_in_any_browser": "on"`, `cannot unmarshal string`},
		{"no merchant", app, ``, `no merchant: write the MSN`},
		{"a merchant without an MSN", app, `"merchants": [{"hosts": ["shop.example.no"]}]`, `"" is not a Merchant Serial Number: write its 4 to 10 digits`},
		{"a list of merchants files", app, `"merchants_file": ["a.csv"]`, `cannot unmarshal array`},
		{"a merchant without hosts", app, `"merchants": [{"msn": "123456"}]`, `merchant 123456: no hosts: write the host names`},
		{"an empty scope", app, `"msn": "123456", "scopes": [""]`, `scope: "" is not a scope`},
		{"a scope with a line break", app, `"msn": "123456", "scopes": ["name\n"]`, `is not a scope`},
		{"a lifetime under zero", app, `"msn": "123456", "session": {"lifetime": "-1h"}`, `session: lifetime and idle_timeout must be positive`},
		{"an idle timeout under zero", app, `"msn": "123456", "session": {"idle_timeout": -1}`, `session: lifetime and idle_timeout must be positive`},
		{"a lifetime that is no duration", app, `"msn": "123456", "session": {"lifetime": "long"}`, `session: lifetime: "long" is not a duration`},
		{"a field with a line break", app, `"msn": "123456", "headers": {"X-A\r\nX-B": "sub"}`, `header: "X-A\r\nX-B" cannot be set`},
		{"a field in two spellings", app, `"msn": "123456", "headers": {"Remote-User": "sub", "remote-user": "name"}`, `is set twice`},
		{"a prefix with a line break", app, `"msn": "123456", "header_prefix": "X-A\n-"`, `header_prefix: `},
		{"an unknown market of a merchant", app, `"merchants": [{"msn": "123456", "hosts": ["a"], "market": "UK"}]`, `merchant 123456: market: "UK" is not known: use one of NO DK FI SE`},
		{"a session of the site's without a cookie", app, `"msn": "123456", "site_session": {}`, `site_session: it names no cookie`},
		{"no cookies", app, `"msn": "123456", "site_session": {"cookies": [], "keep_at_login": true}`, `site_session: it names no cookie`},
		{"a cookie with a line break", app, `"msn": "123456", "site_session": {"cookies": ["a\r\nb"]}`, `is not the name of a cookie`},
		{"an empty cookie", app, `"msn": "123456", "site_session": {"cookies": [""]}`, `site_session: "" is not the name of a cookie`},
		{"a text for the site's session", app, `"msn": "123456", "site_session": "PHPSESSID"`, `cannot unmarshal string`},
		{"an unknown matcher", app, `"msn": "123456", "match": [{"no_such": {}}]`, `http.matchers.no_such`},
		{"an empty cookie secret", app + `, "cookie_secrets": [""]`, `"msn": "123456"`, `cookie_secret 1: it is empty`},
		{"a system version alone that is too long", app + `, "system_version": "1234567890123456789012345678901"`, `"msn": "123456"`, `system version: `},
		{"a blank key", `"client_id": " ", "client_secret": "secret", "subscription_key": "key"`, `"msn": "123456"`, `client_id: it is blank`},
	} {
		t.Run(test.name, func(t *testing.T) {
			harness.WantError(t, harness.Validate(siteJSON(test.app, test.handler)), test.want)
		})
	}
	if err := harness.Validate(siteJSON(app, `"msn": "123456"`)); err != nil {
		t.Errorf("the config that all of them are a mistake away from: %v", err)
	}
}

func siteJSON(app, handler string) []byte {
	if handler != "" {
		handler = ", " + handler
	}
	return fmt.Appendf(nil, `{"apps": {"vipps_login": {%s}, "http": {"servers": {"srv0": {"listen": [":443"], "routes": [{
		"match": [{"host": ["shop.example.no"]}], "handle": [{"handler": "vipps_login"%s}]}]}}}}}`, app, handler)
}

// TestJSONIsTheCaddyfile: the same configuration in both ways does the same.
func TestJSONIsTheCaddyfile(t *testing.T) {
	w := harness.NewWorld(t)
	const asCaddyfile = `{
	admin off
	persist_config off
	grace_period 1s
	auto_https off
	storage file_system $STORAGE
	log {
		level ERROR
	}
	vipps_login {
		environment $VIPPS
		client_id partner-id
		client_secret partner-secret
		subscription_key partner-subscription-key
		cookie_secret a-cookie-secret-for-the-tests-of-32-bytes-and-more
		system acme 3.1.2
	}
}

http://shop-a.localhost:$HTTP {
	vipps_login /account/* {
		merchant 123456 shop-a.localhost {
			market FI
			scope name email
		}
		scope birthDate
		on_unauthenticated redirect
		base_path /vipps
		session {
			lifetime 1h
			idle_timeout 30m
		}
		header_prefix X-User-
		header Remote-User sub
		header_encoding base64url
		market NO
		return_in_any_browser
		error_pages on
		phone {
			api_key ` + harness.OlderAPIKey + ` ` + harness.APIKey + `
			scope phoneNumber email
			webhook_secret ` + harness.WebhookSecret + `
		}
	}
	reverse_proxy $UPSTREAM
}
`
	const asJSON = `{
	"admin": {"disabled": true, "config": {"persist": false}},
	"logging": {"logs": {"default": {"level": "ERROR"}}},
	"storage": {"module": "file_system", "root": "$STORAGE"},
	"apps": {
		"vipps_login": {
			"environment": "$VIPPS",
			"client_id": "partner-id",
			"client_secret": "partner-secret",
			"subscription_key": "partner-subscription-key",
			"cookie_secrets": ["a-cookie-secret-for-the-tests-of-32-bytes-and-more"],
			"system_name": "acme",
			"system_version": "3.1.2"
		},
		"http": {
			"grace_period": "1s",
			"servers": {
				"shops": {
					"listen": [":$HTTP"],
					"automatic_https": {"disable": true},
					"routes": [{
						"match": [{"host": ["shop-a.localhost"]}],
						"handle": [
							{
								"handler": "vipps_login",
								"match": [{"path": ["/account/*"]}],
								"merchants": [{"msn": "123456", "hosts": ["shop-a.localhost"], "market": "FI", "scopes": ["name", "email"]}],
								"scopes": ["birthDate"],
								"on_unauthenticated": "redirect",
								"base_path": "/vipps",
								"session": {"lifetime": "1h", "idle_timeout": "30m"},
								"header_prefix": "X-User-",
								"headers": {"Remote-User": "sub"},
								"header_encoding": "base64url",
								"market": "NO",
								"return_in_any_browser": true,
								"error_pages": "on",
								"phone": {
									"api_keys": ["` + harness.OlderAPIKey + `", "` + harness.APIKey + `"],
									"scopes": ["phoneNumber", "email"],
									"webhook_secrets": ["` + harness.WebhookSecret + `"]
								}
							},
							{"handler": "reverse_proxy", "upstreams": [{"dial": "$UPSTREAM"}]}
						]
					}]
				}
			}
		}
	}
}`
	storage := strings.NewReplacer("$STORAGE", w.Storage)
	adapted, err := harness.Adapt(t, w.Vars.Replace(storage.Replace(asCaddyfile)))
	if err != nil {
		t.Fatal(err)
	}
	fromCaddyfile := visibleBehaviour(t, w, adapted)
	fromJSON := visibleBehaviour(t, w, []byte(w.Vars.Replace(storage.Replace(asJSON))))
	if fromCaddyfile != fromJSON {
		t.Errorf("the Caddyfile does\n%s\nand JSON does\n%s", fromCaddyfile, fromJSON)
	}
	for _, want := range []string{"market=FI", "scope=openid+name+email", "requested_flow=automatic", "[acme 3.1.2]", "X-User-Name:[S2Fya", "X-User-Msn:[123456]", "Remote-User:[", "phone [openid phoneNumber email]"} {
		if !strings.Contains(fromJSON, want) {
			t.Errorf("no %s in\n%s", want, fromJSON)
		}
	}
}

// visibleBehaviour logs in with a config and returns what Vipps MobilePay, the browser and the site saw
// of it, without what is different in every login.
func visibleBehaviour(t *testing.T, w *harness.World, config []byte) string {
	t.Helper()
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	shop, b := w.Shop("shop-a.localhost"), harness.NewBrowser(t)
	b.Get(shop+"/public").WantStatus(t, http.StatusOK)
	address, err := url.Parse(b.Get(shop+"/account/1").WantStatus(t, http.StatusFound).RedirectTo())
	if err != nil {
		t.Fatal(err)
	}
	query := address.Query()
	for _, random := range []string{"state", "nonce", "code_challenge"} {
		if query.Get(random) == "" {
			t.Errorf("no %s", random)
		}
		query.Del(random)
	}
	b.Login(shop+"/account/1", harness.Kari).WantStatus(t, http.StatusOK)
	calls := w.Vipps.Requests(harness.PathToken)
	system := calls[len(calls)-1].Header
	header := w.Upstream.Last(t).Header
	header.Del("X-User-Sid")
	phone := harness.NewTill(t, shop)
	_, authReqID := phone.Start(w, `{"phone_number":"`+harness.Bjorn+`"}`)
	asked := w.Vipps.Sim.PhoneLogins()[0].Scopes
	harness.MustAnswer(t, w, authReqID, false)
	w.Ping(t, shop+"/vipps/webhook", `{"auth_req_id":"`+authReqID+`"}`, harness.WebhookSecret, nil).WantStatus(t, http.StatusOK)
	return fmt.Sprintln(query.Encode()) + fmt.Sprintln("phone", asked) +
		fmt.Sprintln([]string{system.Get("Vipps-System-Name"), system.Get("Vipps-System-Version")}) + fmt.Sprintln(header)
}
