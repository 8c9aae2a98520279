package harness

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// LineWith returns the line of a log that holds text.
func LineWith(log, text string) string {
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// Every test that runs a Caddy ends with a look at what that Caddy has logged, at level DEBUG: harness_test.go
// calls checkLogs for each world. So the whole suite is the test that no secret and nothing personal is in a
// log, and a new test is part of it without knowing.

// gathered is what must be in no log: what Vipps MobilePay hands out and what browsers keep.
type gathered struct {
	mu    sync.Mutex
	kinds map[string][]string
}

// Collected is of the test that runs: they run one after the other.
var Collected = new(gathered)

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

func (c *gathered) All() map[string]string {
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
	case PathToken, PathAccessToken:
		for _, name := range []string{"access_token", "id_token"} {
			if value, ok := members[name].(string); ok {
				c.add(name, value)
			}
		}
	case PathUserinfo:
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

// KnownSecrets are those of the tests' configs, and what is known about the people in the simulator.
func KnownSecrets() map[string]string {
	secrets := map[string]string{}
	for _, secret := range []string{PartnerSecret, PartnerKey, CookieSecret, APIKey, OlderAPIKey, WebhookSecret, ConsentSecret} {
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

// Leaks returns the lines of a log that hold one of the secrets, as "kind: line".
func Leaks(log string, secrets map[string]string) (found []string, lines int) {
	var clean strings.Builder
	for line := range strings.Lines(log) {
		var fields struct{ Logger string }
		if json.Unmarshal([]byte(line), &fields) == nil && cleanLogger(fields.Logger) {
			lines++
			clean.WriteString(line)
		}
	}
	for secret, kind := range secrets {
		in := func(text string) bool {
			return slices.ContainsFunc(spellings(secret), func(spelling string) bool { return strings.Contains(text, spelling) })
		}
		if !in(clean.String()) { // a line at a time, a test of 500 logins would take half a minute
			continue
		}
		for line := range strings.Lines(clean.String()) {
			if in(line) {
				found = append(found, kind+": "+line)
			}
		}
	}
	return found, lines
}

// spellings returns the ways in which a secret can stand in a line of the log.
func spellings(secret string) []string {
	quoted, _ := json.Marshal(secret)
	return []string{secret, string(quoted[1 : len(quoted)-1]), url.QueryEscape(secret)}
}

// checkLogs reads what the world's Caddys have logged.
func (w *World) checkLogs() {
	w.T.Helper()
	secrets := Collected.All()
	for secret, kind := range KnownSecrets() {
		secrets[secret] = kind
	}
	for _, file := range append(slices.Clone(w.logs), w.LogFile) {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // no Caddy was started
		}
		found, _ := Leaks(string(content), secrets)
		for _, line := range found[:min(len(found), 5)] {
			w.T.Errorf("in the log, %s", line)
		}
	}
}

// PluginLines returns what the plugin has logged, level by level: "info login completed browser".
func (w *World) PluginLines() (lines []string) {
	w.T.Helper()
	for line := range strings.Lines(w.Logged()) {
		var fields struct{ Level, Logger, Msg, Flow, Reason string }
		if json.Unmarshal([]byte(line), &fields) == nil && fields.Logger == "http.handlers.vipps_login" {
			lines = append(lines, strings.TrimSpace(strings.Join([]string{fields.Level, fields.Msg, fields.Flow, fields.Reason}, " ")))
		}
	}
	return lines
}
