package docs_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/caddy-vipps/vippslogin"
	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// commandHome is a folder that stands for a machine with Caddy: caddy itself, and a home.
func commandHome(t *testing.T) (home string, environment []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home = t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", harness.CaddyCommand, self)
	if err := os.WriteFile(filepath.Join(home, "caddy"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return home, append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home,
		"PATH="+home+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// runDocumented runs a command of the documentation as it stands there, but for the names of files.
func runDocumented(t *testing.T, where, command string, environment []string, files *strings.Replacer) string {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", files.Replace(command))
	cmd.Env = environment
	var complaints strings.Builder
	cmd.Stderr = &complaints
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", where, err, printed, complaints.String())
	}
	return string(printed)
}

// TestCommandsInDocumentation runs every ```sh block but those that TestCurlExamplesInDocumentation
// runs. /etc/caddy/Caddyfile is the first Caddyfile of the page, or the
// README's.
func TestCommandsInDocumentation(t *testing.T) {
	harness.SetConfigVariables(t)
	home, environment := commandHome(t)
	smallest := readPage(t, "README.md").blocks
	ran := make(map[string]int)
	for _, p := range documentation(t) {
		for i, b := range p.blocks {
			if b.language != "sh" || asksShop(b) {
				continue
			}
			where := fmt.Sprintf("%s:%d", p.file, b.line)
			caddyfile := filepath.Join(home, "Caddyfile")
			if err := os.WriteFile(caddyfile, []byte(firstCaddyfile(t, append(slices.Clone(p.blocks), smallest...))), 0o600); err != nil {
				t.Fatal(err)
			}
			run := func() string {
				return runDocumented(t, where, b.text, environment, strings.NewReplacer("/etc/caddy/Caddyfile", caddyfile, "/var/log/caddy/", home+"/"))
			}
			words := strings.Join(strings.Fields(b.text)[:2], " ")
			ran[words]++
			switch {
			case words == "caddy adapt":
				if next := p.blocks[i+1]; next.language != "json" || run() != next.text {
					t.Errorf("%s prints\n%s\nwant what %s:%d has", where, run(), p.file, next.line)
				}
			case words == "caddy validate":
				if printed := run(); !strings.Contains(printed, "Valid configuration") {
					t.Errorf("%s prints %s", where, printed)
				}
			case words == "openssl rand":
				if printed := run(); len(strings.TrimSpace(printed)) < 64 {
					t.Errorf("%s prints %s", where, printed)
				}
			case words == "curl -s":
				testMetricsExample(t, where, b.text)
			case words == "curl -sS":
				testEndSessionsExample(t, where, b.text)
			case strings.HasPrefix(words, "grep "):
				testGrepExample(t, where, b.text)
			default:
				t.Errorf("%s: no test runs this", where)
			}
		}
	}
	for _, words := range []string{"caddy adapt", "caddy validate", "openssl rand", "curl -s", "curl -sS", "grep k7m2xq9d"} {
		if ran[words] == 0 {
			t.Errorf("there is no %s any more", words)
		}
	}
}

func firstCaddyfile(t *testing.T, blocks []docBlock) string {
	t.Helper()
	at := slices.IndexFunc(blocks, func(b docBlock) bool { return b.language == "caddyfile" })
	if at < 0 {
		t.Fatal("no Caddyfile")
	}
	return blocks[at].whole()
}

// testGrepExample is the way from a person who reads out a reference to the line in the log.
func testGrepExample(t *testing.T, where, command string) {
	t.Helper()
	w := harness.NewWorld(t)
	w.Load(harness.TwoShops)
	answer := harness.NewBrowser(t).Get(w.Shop("shop-a.localhost")+"/vipps/callback?state=nonsense&code=nonsense").WantStatus(t, http.StatusBadRequest)
	reference := regexp.MustCompile(`\b[2-9a-z]{8}</`).FindString(answer.Text)
	if reference == "" {
		t.Fatalf("no reference in %s", answer.Text)
	}
	line := runDocumented(t, where, command, os.Environ(),
		strings.NewReplacer("k7m2xq9d", strings.TrimSuffix(reference, "</"), "/var/log/caddy/caddy.log", w.LogFile))
	for _, want := range []string{`"login failed"`, `"reason":"no_login"`, `"status":400`, `"msn":"123456"`, `"host":"shop-a.localhost"`} {
		if !strings.Contains(line, want) || strings.Count(line, "\n") != 1 {
			t.Errorf("%s finds %s, want one line with %s", where, line, want)
		}
	}
}

// adminWorld is a Caddy with an admin endpoint, and somebody who has logged in.
func adminWorld(t *testing.T) (b *harness.Browser, shop, admin string) {
	t.Helper()
	w := harness.NewWorld(t)
	admin = fmt.Sprintf("localhost:%d", freeport.New(t))
	w.LoadWhole(strings.Replace(w.Globals(), "admin off", "admin "+admin, 1) + harness.TwoShops)
	b, shop = harness.NewBrowser(t), w.Shop("shop-a.localhost")
	b.Login(shop, harness.Kari).WantStatus(t, http.StatusOK)
	return b, shop, admin
}

// testMetricsExample is the way to the metrics, after a login.
func testMetricsExample(t *testing.T, where, command string) {
	t.Helper()
	_, _, admin := adminWorld(t)
	printed := runDocumented(t, where, command, os.Environ(), strings.NewReplacer("localhost:2019", admin))
	if !strings.Contains(printed, "\ncaddy_vipps_login_logins_completed_total{") {
		t.Errorf("%s prints %s", where, printed)
	}
}

// testEndSessionsExample is how an operator ends sessions.
func testEndSessionsExample(t *testing.T, where, command string) {
	t.Helper()
	b, shop, admin := adminWorld(t)
	if printed := runDocumented(t, where, command, os.Environ(), strings.NewReplacer("localhost:2019", admin)); printed != "" {
		t.Errorf("%s prints %s", where, printed)
	}
	b.Get(shop).WantStatus(t, http.StatusFound)
}

// documentedSite runs the documented Caddyfile that has a piece of text in it, at shop-a.localhost.
func documentedSite(t *testing.T, file, with string) *harness.World {
	t.Helper()
	w := harness.NewWorld(t)
	for _, b := range readPage(t, file).blocks {
		if b.language == "caddyfile" && strings.Contains(b.text, with) {
			host, site, _ := strings.Cut(b.text, " {")
			w.Load("http://shop-a.localhost:$HTTP {" + strings.ReplaceAll(site, "legacy:8080", "$UPSTREAM"))
			t.Logf("%s is shop-a.localhost", host)
			return w
		}
	}
	t.Fatalf("%s has no Caddyfile with %s", file, with)
	return nil
}

// TestAgeGateInDocumentation: the documented Caddyfile lets adults in, and nobody else.
func TestAgeGateInDocumentation(t *testing.T) {
	shop := documentedSite(t, "docs/directive.md", "http.auth.user.age").Shop("shop-a.localhost") + "/wine"
	harness.NewBrowser(t).Login(shop, harness.Kari).WantStatus(t, http.StatusOK)
	harness.NewBrowser(t).Login(shop, "4740000002").WantStatus(t, http.StatusForbidden) // she is 16
}

// TestErrorRoutesInDocumentation: the documented Caddyfile shows errors as it says.
func TestErrorRoutesInDocumentation(t *testing.T) {
	w := documentedSite(t, "docs/troubleshooting.md", "error_pages off")
	shop := w.Shop("shop-a.localhost")
	b := harness.NewBrowser(t)
	cancelled := b.Consent(b.Follow(b.Get(shop)), url.Values{"user": {harness.Kari}, "answer": {"cancel"}})
	if to := b.Get(cancelled.RedirectTo()).WantStatus(t, http.StatusFound).RedirectTo(); to != "/welcome" {
		t.Errorf("a cancelled login leads to %s", to)
	}
	lost := b.Get(shop+"/vipps/callback?state=nonsense&code=nonsense").WantStatus(t, http.StatusBadRequest)
	reference, ok := strings.CutPrefix(lost.Text, "The login did not work. Reference: ")
	if !ok || len(reference) != 8 || !strings.Contains(w.Logged(), `"reference":"`+reference+`"`) {
		t.Errorf("the page says %q, and the log something else", lost.Text)
	}
}

// TestFieldsInDocumentation: the page on JSON has every field, and none that is not there.
func TestFieldsInDocumentation(t *testing.T) {
	json := readPage(t, "docs/json.md")
	for heading, of := range map[string]any{
		"## The app: `vipps_login`":     vippslogin.App{},
		"## The handler: `vipps_login`": vippslogin.Handler{},
		"### Merchants":                 vippslogin.Merchant{},
		"### Session":                   vippslogin.SessionConfig{},
		"### Logout":                    vippslogin.LogoutConfig{},
		"### Require":                   vippslogin.RequireConfig{},
		"### Phone":                     vippslogin.PhoneConfig{},
	} {
		var documented, fields []string
		section, _, _ := strings.Cut(json.section(t, heading), "\n#")
		for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(section, -1) {
			for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
				documented = append(documented, name[1])
			}
		}
		for field := range reflect.TypeOf(of).Fields() {
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
				fields = append(fields, name)
			}
		}
		slices.Sort(documented)
		slices.Sort(fields)
		if !slices.Equal(documented, fields) {
			t.Errorf("docs/json.md, %s: has %v, want %v", heading, documented, fields)
		}
	}
}

// matches returns what the first group of a pattern matches in a file, each once.
func matches(t *testing.T, file, pattern string) []string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(content), -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) == 0 {
		t.Fatalf("nothing in %s is like %s: has it moved?", file, pattern)
	}
	return found
}

// TestReasonsInDocumentation: each row of the table of failures is explained, with its status and level.
func TestReasonsInDocumentation(t *testing.T) {
	section := readPage(t, "docs/troubleshooting.md").section(t, "## By reason")
	rows := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` (.*)$").FindAllStringSubmatch(section, -1) {
		if rows[row[1]] != "" {
			t.Errorf("%s is explained twice", row[1])
		}
		rows[row[1]] = row[2]
	}
	statuses := make(map[string]string)
	for status := 400; status < 600; status++ {
		statuses["Status"+strings.NewReplacer(" ", "", "-", "").Replace(http.StatusText(status))] = fmt.Sprint(status)
	}
	known := append(matches(t, "outcomes.go", `reason = "([a-z_]+)"`), matches(t, "handler_phone_answers.go", `Err\w+, apiError\{"([a-z_]+)"`)...)
	for _, found := range matches(t, "failures.go", `[eE]rr\w+, http\.(Status\w+, "\w+", zap\.\w+)Level`) {
		parts := strings.Split(found, ", ")
		reason, level := strings.Trim(parts[1], `"`), strings.ToUpper(strings.TrimPrefix(parts[2], "zap."))
		known = append(known, reason)
		if row := rows[reason]; !strings.Contains(row, statuses[parts[0]]) || !strings.Contains(row, level) {
			t.Errorf("%s, %s, %s is explained as %q", reason, statuses[parts[0]], level, row)
		}
	}
	for reason := range rows {
		if !slices.Contains(known, reason) {
			t.Errorf("%s is explained, and there is no such reason", reason)
		}
	}
	for _, reason := range known {
		if rows[reason] == "" {
			t.Errorf("%s is not explained", reason)
		}
	}
}

// TestMetricsInDocumentation: the page on operations has every metric, span, log line and field.
func TestMetricsInDocumentation(t *testing.T) {
	operations := readPage(t, "docs/operations.md")
	var names []string
	for _, name := range matches(t, "metrics.go", `(?:newCounter\(|newDescription\(|Name: )"(\w+)"`) {
		names = append(names, "caddy_vipps_login_"+name)
	}
	documented := operations.section(t, "## Metrics")
	for _, name := range names {
		if !strings.Contains(documented, "| `"+name+"` |") {
			t.Errorf("docs/operations.md lacks the metric %s", name)
		}
	}
	for _, p := range documentation(t) {
		for _, name := range regexp.MustCompile(`caddy_vipps_login_\w+`).FindAllString(p.text, -1) {
			if !slices.Contains(names, name) {
				t.Errorf("%s: there is no metric %s", p.file, name)
			}
		}
	}
	logs := operations.section(t, "## Logs")
	for _, word := range append(matches(t, "outcomes.go", `"(logged out|login \w+)"`), matches(t, "outcomes.go", `zap\.\w+\("(\w+)"`)...) {
		if !strings.Contains(logs, "`"+word+"`") {
			t.Errorf("docs/operations.md: nothing on %s in the log", word)
		}
	}
	for _, file := range []string{"internal/vipps/client.go", "internal/vipps/partnertoken.go", "internal/vipps/phone.go", "internal/vipps/keyset.go"} {
		for _, call := range matches(t, file, `(?:calling|postAs)\([^"\n]*"(\w+)"`) {
			if !strings.Contains(operations.section(t, "## Tracing"), "`vipps "+call+"`") || !strings.Contains(documented, "`"+call+"`") {
				t.Errorf("docs/operations.md: nothing on the call %s", call)
			}
		}
	}
}

// TestLinksInDocumentation follows each link within the repository, to the heading.
func TestLinksInDocumentation(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings := make(map[string][]string)
	followed, pages := 0, documentation(t)
	for _, pattern := range []string{"[a-z]*/README.md", "examples/*/README.md"} {
		others, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range others {
			pages = append(pages, readPage(t, file))
		}
	}
	for _, p := range pages {
		text := regexp.MustCompile("`[^`\n]*`").ReplaceAllString(fenced.ReplaceAllString(p.text, ""), "")
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			to := found[1]
			if strings.HasPrefix(to, "https://") {
				continue
			}
			followed++
			path, anchor, _ := strings.Cut(to, "#")
			target := p.file
			if path != "" {
				target = filepath.Join(filepath.Dir(p.file), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", p.file, to, err)
				continue
			}
			if anchor == "" {
				continue
			}
			if headings[target] == nil {
				headings[target] = anchors(readPage(t, target))
			}
			if !slices.Contains(headings[target], anchor) {
				t.Errorf("%s links to %s: there is no such heading among %v", p.file, to, headings[target])
			}
		}
	}
	if followed < 50 {
		t.Errorf("only %d links were followed", followed)
	}
}

// anchors are the names that GitHub gives to headings: lower case, without punctuation, "-" for spaces.
func anchors(p docPage) []string {
	var names []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fenced.ReplaceAllString(p.text, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading[1])
		for n := 1; slices.Contains(names, name); n++ {
			name = fmt.Sprintf("%s-%d", strings.TrimSuffix(name, fmt.Sprintf("-%d", n-1)), n)
		}
		names = append(names, name)
	}
	return names
}
