package vippslogin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// Every test that runs a Caddy ends with a look at what that Caddy has logged, at level DEBUG: harness_test.go
// calls checkLogs for each world. So the whole suite is the test that no secret and nothing personal is in a
// log, and a new test is part of it without knowing.

// gathered is what must be in no log: what Vipps MobilePay hands out and what browsers keep.
type gathered struct {
	mu    sync.Mutex
	kinds map[string][]string
}

// collected is of the test that runs: they run one after the other.
var collected = new(gathered)

// perKind bounds the search: a test of thousands of logins is not better for the last of them.
const perKind = 200

func (c *gathered) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds = map[string][]string{}
}

func (c *gathered) add(kind, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(value) >= 6 && len(c.kinds[kind]) < perKind {
		c.kinds[kind] = append(c.kinds[kind], value)
	}
}

func (c *gathered) all() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	kinds := map[string]string{}
	for kind, values := range c.kinds {
		for _, value := range values {
			kinds[value] = kind
		}
	}
	return kinds
}

// addCookies takes the cookies that a browser is given.
func (c *gathered) addCookies(resp *http.Response) {
	for _, cookie := range resp.Cookies() {
		if strings.Contains(cookie.Name, "vipps_") {
			c.add("cookie", cookie.Value)
		}
	}
}

// tee passes an answer of Vipps MobilePay on, and keeps a copy.
type tee struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (t *tee) Write(b []byte) (int, error) {
	if t.body.Len() < 64<<10 {
		t.body.Write(b)
	}
	return t.ResponseWriter.Write(b)
}

func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// addAnswer takes what an answer of Vipps MobilePay holds.
func (c *gathered) addAnswer(path string, answer *tee) {
	if to, err := url.Parse(answer.Header().Get("Location")); err == nil {
		c.add("code", to.Query().Get("code"))
	}
	var members map[string]any
	if json.Unmarshal(answer.body.Bytes(), &members) != nil {
		return
	}
	switch path {
	case pathToken, pathAccessToken:
		for _, name := range []string{"access_token", "id_token"} {
			if value, ok := members[name].(string); ok {
				c.add(name, value)
			}
		}
	case pathUserinfo:
		if members["sub"] == nil {
			return // an error
		}
		delete(members, "sub") // which is in the log, on purpose
		c.addTexts("claim", members)
	default:
		if value, ok := members["auth_req_id"].(string); ok {
			c.add("auth_req_id", value)
		}
	}
}

func (c *gathered) addTexts(kind string, value any) {
	switch value := value.(type) {
	case string:
		c.add(kind, value)
	case map[string]any:
		for _, member := range value {
			c.addTexts(kind, member)
		}
	case []any:
		for _, member := range value {
			c.addTexts(kind, member)
		}
	}
}

// knownSecrets are those of the tests' configs, and what is known about the people in the simulator.
func knownSecrets() map[string]string {
	secrets := map[string]string{}
	for _, secret := range []string{partnerSecret, partnerKey, cookieSecret, apiKey, olderAPIKey, webhookSecret, consentSecret} {
		secrets[secret] = "secret"
	}
	for _, user := range simulator.DefaultUsers() {
		given, family, _ := strings.Cut(user.Name, " ")
		for _, value := range append([]string{user.Name, given + "@", family, user.PhoneNumber, user.Email, user.Birthdate, user.NIN, user.CustomerToken},
			streets(user)...) {
			if len(value) >= 6 {
				secrets[value] = "person"
			}
		}
	}
	return secrets
}

func streets(user simulator.User) (values []string) {
	for _, address := range user.Addresses {
		values = append(values, address.Street)
	}
	return values
}

// cleanLoggers are the loggers whose lines hold nothing secret or personal. Caddy's own debug lines do, and
// the documentation warns (docs/operations.md#logs).
func cleanLogger(name string) bool {
	for _, clean := range []string{"http.handlers.vipps_login", "vipps_login", "admin.api.vipps_login", "http.log.access"} {
		if name == clean || strings.HasPrefix(name, clean+".") {
			return true
		}
	}
	return false
}

// leaks returns the lines of a log that hold one of the secrets, as "kind: line".
func leaks(log string, secrets map[string]string) (found []string, lines int) {
	for line := range strings.Lines(log) {
		var fields struct{ Logger string }
		if json.Unmarshal([]byte(line), &fields) != nil || !cleanLogger(fields.Logger) {
			continue
		}
		lines++
		for secret, kind := range secrets {
			quoted, _ := json.Marshal(secret)
			for _, spelling := range []string{secret, string(quoted[1 : len(quoted)-1]), url.QueryEscape(secret)} {
				if strings.Contains(line, spelling) {
					found = append(found, kind+": "+line)
					break
				}
			}
		}
	}
	return found, lines
}

// checkLogs reads what the world's Caddys have logged.
func (w *world) checkLogs() {
	w.t.Helper()
	secrets := collected.all()
	for secret, kind := range knownSecrets() {
		secrets[secret] = kind
	}
	for _, file := range append(slices.Clone(w.logs), w.log) {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // no Caddy was started
		}
		found, _ := leaks(string(content), secrets)
		for _, line := range found[:min(len(found), 5)] {
			w.t.Errorf("in the log, %s", line)
		}
	}
}

// TestLogsAreLookedAt: the look at the end of each test sees what a login hands out, and would see it in a log.
func TestLogsAreLookedAt(t *testing.T) {
	w := newPhoneWorld(t)
	shop := w.shop("shop-a.localhost")
	b := newBrowser(t)
	b.login(shop+"/account/", kari).wantStatus(t, http.StatusOK)
	c := newTill(t, shop)
	c.start(w, `{"phone_number":"`+bjorn+`"}`)
	secrets := collected.all()
	kinds := map[string]string{}
	for secret, kind := range secrets {
		kinds[kind] = secret
	}
	for _, kind := range []string{"cookie", "code", "access_token", "id_token", "claim", "auth_req_id"} {
		if kinds[kind] == "" {
			t.Errorf("no %s was collected", kind)
		}
	}
	for secret, kind := range knownSecrets() {
		kinds[kind] = secret
		secrets[secret] = kind
	}
	for kind, secret := range kinds {
		line, _ := json.Marshal(map[string]string{"logger": "http.handlers.vipps_login", "msg": "x " + secret + " y"})
		if found, lines := leaks(string(line), secrets); len(found) == 0 || lines != 1 {
			t.Errorf("a %s in the log is not seen", kind)
		}
	}
	found, lines := leaks(w.logged(), secrets)
	if len(found) > 0 || lines < 4 {
		t.Errorf("%d lines looked at: %s", lines, fmt.Sprint(found))
	}
}
