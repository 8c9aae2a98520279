package vippslogin

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-vipps/vippslogin/internal/cookie"
	"github.com/caddy-vipps/vippslogin/internal/idtoken"
	"github.com/caddy-vipps/vippslogin/internal/incoming"
	"github.com/caddy-vipps/vippslogin/internal/login"
	"github.com/caddy-vipps/vippslogin/internal/merchant"
	"github.com/caddy-vipps/vippslogin/internal/seal/sealtest"
	"github.com/caddy-vipps/vippslogin/internal/store"
	"github.com/caddy-vipps/vippslogin/internal/store/storetest"
)

func FuzzCallback(f *testing.F) {
	f.Add("code=a&state=b")
	f.Add("error=a&state=b&error=c")
	f.Add("code=a&state=b&error=c")
	f.Fuzz(func(t *testing.T, query string) {
		answer, err := parseCallback(query)
		if err == nil && (answer.state == "" || (answer.code == "") == (answer.errorCode == "")) {
			t.Errorf("%q: %+v", query, answer)
		}
	})
}

// TestStateTells where the person was going, for an hour, and nothing that could complete the login.
func TestStateTells(t *testing.T) {
	keys := sealtest.Keys(t)
	l := login.New("/kurv?x=1", time.Now())
	told, ok := login.Open(keys.State, login.Seal(keys.State, l.WithoutSecrets(), "h", "123456", login.MaxState), "h", "123456")
	if !ok || told.ID != l.ID || told.ReturnTo != l.ReturnTo || told.Carried() || told.Nonce != "" || !l.Carried() {
		t.Errorf("told %+v", told)
	}
	h := new(Handler)
	for age, want := range map[time.Duration]struct {
		err error
		to  string
	}{0: {errOtherBrowser, "/kurv?x=1"}, login.Life: {errTooLate, "/kurv?x=1"}, login.ReturnsFor + time.Second: {errNoLogin, "/"}, -time.Hour: {errTooLate, "/kurv?x=1"}} {
		old := login.New(l.ReturnTo, time.Now().Add(-age))
		state := login.Seal(keys.State, old.WithoutSecrets(), "h", "123456", login.MaxState)
		v := &visit{Origin: incoming.Origin{Host: "h"}, msn: "123456", keys: keys, names: &cookie.Plain}
		r, _ := http.NewRequest(http.MethodGet, "https://h/vipps/callback", nil)
		if got, err := h.findLogin(r, v, state, time.Now()); err != want.err || got.ReturnTo != want.to {
			t.Errorf("after %s: %v, back to %s", age, err, got.ReturnTo)
		}
	}
}

// TestFailuresHavePages: every failure has its page, and no page is of no use.
func TestFailuresHavePages(t *testing.T) {
	kinds := []string{"form_not_sent", "more_required_form"} // which are no failures of their own
	for _, f := range append(slices.Clone(failures), unknownFailure) {
		kinds = append(kinds, f.page)
	}
	slices.Sort(kinds)
	content, err := os.ReadFile("internal/pages/en.json")
	if err != nil {
		t.Fatal(err)
	}
	var words struct{ Pages map[string]any }
	if err := json.Unmarshal(content, &words); err != nil {
		t.Fatal(err)
	}
	if found, want := slices.Sorted(maps.Keys(words.Pages)), slices.Compact(kinds); !slices.Equal(found, want) {
		t.Errorf("there are pages for %v, want %v", found, want)
	}
}

// secretFile is where Caddy's storage has the generated secret.
const secretFile = store.Prefix + "/" + secretName

// TestSweep deletes what has expired, and nothing else.
func TestSweep(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	sweptFolders := sweptFolders()
	kept, old := sweptFolders[0]+"/kept", []string(nil)
	for _, folder := range sweptFolders {
		old = append(old, folder+"/old")
	}
	for _, name := range append(old, kept, secretFile) {
		if err := storage.Store(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	for _, name := range append(old, secretFile) {
		if err := os.Chtimes(filepath.Join(storage.Path, name), yesterday, yesterday); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.New(storage).Sweep(t.Context(), sweptFolders, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, name := range old {
		if storage.Exists(t.Context(), name) {
			t.Errorf("%s is still there", name)
		}
	}
	if !storage.Exists(t.Context(), kept) || !storage.Exists(t.Context(), secretFile) {
		t.Error("something of use was deleted")
	}
	if again := old[0]; storage.Store(t.Context(), again, []byte("x")) != nil || os.Chtimes(filepath.Join(storage.Path, again), yesterday, yesterday) != nil ||
		store.New(storage).Sweep(t.Context(), sweptFolders, time.Now()) != nil || !storage.Exists(t.Context(), again) {
		t.Error("two instances sweep at once")
	}
	for i, folder := range sweptFolders {
		for j, other := range sweptFolders {
			if i != j && len(folder) < len(other) && other[:len(folder)] == folder {
				t.Errorf("%s lists %s too in storages that list by prefix", folder, other)
			}
		}
	}
}

// TestSecretIsNotReplaced: whenever an outage begins and however long it lasts, no other secret is generated than the one that
// is stored: that would split a cluster, and log everybody out.
func TestSecretIsNotReplaced(t *testing.T) {
	memory := storetest.New()
	secret, err := storedSecret(t.Context(), store.New(memory), newSecret())
	if err != nil {
		t.Fatal(err)
	}
	storetest.Outages(6, 6, func(fails func(int64) bool, first, length int64) {
		storage := &storetest.Mannered{Memory: memory, Excludes: true, Fails: fails}
		if again, err := storedSecret(t.Context(), store.New(storage), newSecret()); err == nil && again != secret || string(memory.Files[secretFile]) != secret {
			t.Errorf("an outage of %d calls from call %d: another secret", length, first)
		}
	})
}

var msisdn = regexp.MustCompile(`^[1-9][0-9]{4,14}$`)

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
