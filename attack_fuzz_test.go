package vippslogin

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/phone"
	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/vipps"
)

var msisdn = regexp.MustCompile(`^[1-9][0-9]{4,14}$`)

// FuzzPhoneNumber: what is taken for a number is digits, and the same number when it is read again.
func FuzzPhoneNumber(f *testing.F) {
	for _, seed := range []string{"+47 12 34 56 78", "004712345678", "tel:+47-12345678", "4712345678", "+45 20 00 00 01", "+358 (0)40 0000001", "++47", "+0", "810010000000000000", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, number string) {
		digits, err := phone.ParseMSISDN(number)
		if err != nil {
			if strings.Contains(err.Error(), number) && len(number) > 4 && strings.Trim(number, "0123456789") == "" {
				t.Errorf("the error repeats %q", number)
			}
			return
		}
		if !msisdn.MatchString(digits) {
			t.Errorf("%q became %q", number, digits)
		}
		if again, err := phone.ParseMSISDN("+" + digits); err != nil || again != digits {
			t.Errorf("%q became %q, and that %q, %v", number, digits, again, err)
		}
	})
}

// FuzzPhoneBody: a body of the phone API becomes a request that is well formed, or an error of ours.
func FuzzPhoneBody(f *testing.F) {
	f.Add("application/json", `{"phone_number":"+4712345678","binding_message":"AB-123","requested_expiry":60,"finish":"browser","return_to":"/x"}`)
	f.Add("application/json; charset=utf-8", `{"customer_token":"abc","scope":"openid name"}`)
	f.Add("application/x-www-form-urlencoded", "phone_number=%2B4712345678&requested_expiry=900")
	f.Add("application/json", `{"PHONE_NUMBER":"+4712345678","phone_number":null}`)
	f.Fuzz(func(t *testing.T, contentType, body string) {
		r := httptest.NewRequest(http.MethodPost, "/vipps/phone", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		input, err := readPhoneInput(r)
		if err != nil {
			if _, ours := err.(inputError); !ours {
				t.Errorf("%T %v", err, err)
			}
			return
		}
		request, number, err := input.check("openid name")
		if err != nil {
			if _, ours := err.(inputError); !ours {
				t.Errorf("%T %v", err, err)
			}
			return
		}
		hint, ok := strings.CutPrefix(request.LoginHint, "urn:msisdn:")
		if ok && (hint != number || !msisdn.MatchString(number)) || strings.ContainsAny(request.LoginHint+request.Scope+request.BindingMessage, "\r\n") {
			t.Errorf("%q: %+v", body, request)
		}
		if !strings.Contains(" "+request.Scope+" ", " openid ") || request.Expiry != 0 && (request.Expiry < 60 || request.Expiry > 900) {
			t.Errorf("%q: %+v", body, request)
		}
		if to := input.ReturnTo; to != "" && (to[0] != '/' || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t")) && !strings.Contains(to, "?") {
			t.Errorf("%q: back to %q", body, to)
		}
	})
}

// FuzzWebhookSignature: no header but the one that the secret makes is a signature.
func FuzzWebhookSignature(f *testing.F) {
	const target, host = "/vipps/webhook", "shop.example.no"
	f.Add("Mon, 01 Jan 2024 00:00:00 GMT", vipps.WebhookPrefix+"AAAA", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", []byte(""))
	f.Add("", vipps.WebhookPrefix, "", []byte(`{"auth_req_id":"x"}`))
	f.Fuzz(func(t *testing.T, date, authorization, hash string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, target, nil)
		r.Header["X-Ms-Date"], r.Header["Authorization"], r.Header["X-Ms-Content-Sha256"] = []string{date}, []string{authorization}, []string{hash}
		if vipps.IsSigned(r, incoming.Target(r), host, body, []string{string(seal.RandomBytes(32))}) {
			t.Errorf("a signature: %q %q %q", date, authorization, hash)
		}
		if vipps.IsSigned(r, incoming.Target(r), host, body, nil) {
			t.Error("signed by nobody")
		}
	})
}

// FuzzConsentWebhook: what is taken for a revoked consent names somebody, and not in the future.
func FuzzConsentWebhook(f *testing.F) {
	part := base64.RawURLEncoding.EncodeToString
	f.Add(part([]byte(`{"alg":"none"}`)) + "." + part([]byte(`{"sub":"x","event":"CONSENT_REVOKED","iat":1}`)) + ".")
	f.Add(part([]byte(`{"alg":"none"}`)) + "." + part([]byte(`{"sub":"x","event":"CONSENT_REVOKED","iat":1e300}`)) + ".")
	f.Add(part([]byte(`{"alg":"none"}`)) + "." + part([]byte(`{"event":"CONSENT_REVOKED"}`)) + ".")
	f.Add("..")
	f.Fuzz(func(t *testing.T, body string) {
		now := time.Now()
		sub, at, err := parseConsentRevoked(body, now)
		if err == nil && (sub == "" || len(sub) > idtoken.MaxSub || at.After(now)) {
			t.Errorf("%q: %q at %s", body, sub, at)
		}
	})
}

// FuzzAdminQuery: a query ends everybody's sessions only where it says all=true and nothing else.
func FuzzAdminQuery(f *testing.F) {
	for _, seed := range []string{"all=true", "sub=x", "sub=x&msn=123456", "msn=123456", "session=AAAAAAAAAAAAAAAA", "all=true&sub=x", "sub=", "all=1", "%zz", "sub=x;all=true"} {
		f.Add(seed)
	}
	app := new(App)
	f.Fuzz(func(t *testing.T, query string) {
		entry, err := app.sessionsIn(query)
		if err != nil {
			return
		}
		if all := entry.Session == "" && entry.Sub == "" && entry.MSN == ""; all && !strings.Contains(query, "=") || all && strings.Contains(strings.Trim(query, "&"), "&") {
			t.Errorf("%q ends everybody's sessions", query)
		}
		if entry.MSN != "" && !merchant.IsMSN(entry.MSN) {
			t.Errorf("%q: %+v", query, entry)
		}
	})
}

// FuzzCaddyfile: any block of the directive and of the global option is parsed or refused, and never crashes.
func FuzzCaddyfile(f *testing.F) {
	for _, seed := range []string{
		"vipps_login 123456", "vipps_login {\n merchant 123456 a.example.no {\n client_id x\n client_secret y\n }\n}", "vipps_login /account/* 123456 {\n phone {\n api_key x\n }\n}",
		"vipps_login {\n session {\n lifetime 1h\n idle_timeout off\n }\n header Remote-User sub\n}", "vipps_login {\n cookie_secret a b\n system x y\n metrics {\n per_merchant\n }\n}",
		"vipps_login {", "vipps_login }", "vipps_login {\n merchant\n}", "vipps_login {\n session\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, block string) {
		if strings.Contains(block, "import") { // reads files
			return
		}
		tokens, err := caddyfile.Tokenize([]byte(block), "Caddyfile")
		if err != nil {
			return
		}
		_ = new(Handler).UnmarshalCaddyfile(caddyfile.NewDispenser(tokens))
		_ = new(App).UnmarshalCaddyfile(caddyfile.NewDispenser(tokens))
	})
}
