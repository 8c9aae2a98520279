package monitoring_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.yaml.in/yaml/v3"

	_ "github.com/caddy-vipps/vippslogin"
	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/simulator"
)

const prefix = "caddy_vipps_login_"

// query is a PromQL expression and where it stands.
type query struct{ at, expr string }

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// ruleFile is what alerts.yml has.
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

func readAlerts(t *testing.T) ruleFile {
	t.Helper()
	var rules ruleFile
	if err := yaml.Unmarshal([]byte(read(t, "alerts.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

// dashboard is what we look at of a Grafana dashboard.
type dashboard struct {
	UID, Title string
	Templating struct {
		List []struct {
			Name  string
			Query any // text, or an object with a query
		}
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ RefID, Expr, LegendFormat string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "grafana-dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// queries returns the expressions of the alerts and of the dashboard, whose variables have a value.
func queries(t *testing.T) []query {
	t.Helper()
	var found []query
	for _, group := range readAlerts(t).Groups {
		for _, rule := range group.Rules {
			found = append(found, query{"alert " + rule.Alert, rule.Expr})
		}
	}
	values := strings.NewReplacer("$__rate_interval", "1m", "$__range", "6h", "$job", ".*", "$instance", ".*")
	d := readDashboard(t)
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			found = append(found, query{fmt.Sprintf("panel %q %s", panel.Title, target.RefID), values.Replace(target.Expr)})
		}
	}
	for _, variable := range d.Templating.List {
		definition, _ := variable.Query.(map[string]any)
		if text, ok := definition["query"].(string); ok {
			selector, _, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(text, "label_values("), ")"), ", ")
			found = append(found, query{"variable " + variable.Name, values.Replace(selector)})
		}
	}
	if len(found) < 20 {
		t.Fatalf("only %d queries were found", len(found))
	}
	return found
}

// promtool runs Prometheus' own tool.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("promtool is needed (apt-get install prometheus): %v", err)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestPromtool: the files are what Prometheus reads, every query can be parsed, and the alerts fire when
// they should.
func TestPromtool(t *testing.T) {
	promtool(t, "check", "config", "prometheus.yml")
	promtool(t, "check", "rules", "alerts.yml")
	promtool(t, "test", "rules", "alerts_test.yml")

	type rule struct{ Record, Expr string }
	var rules []rule
	for i, q := range queries(t) {
		rules = append(rules, rule{fmt.Sprintf("query_%d", i), q.expr})
	}
	wrapped, err := yaml.Marshal(map[string]any{"groups": []map[string]any{{"name": "queries", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(file, wrapped, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}

// TestAlerts: each says how bad it is, what to do and where to read on, and is tested for firing and for not
// firing.
func TestAlerts(t *testing.T) {
	var tests struct {
		Tests []struct {
			PromqlExprTest []struct {
				Expr       string
				ExpSamples []any `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "alerts_test.yml")), &tests); err != nil {
		t.Fatal(err)
	}
	fires, silent := make(map[string]bool), make(map[string]bool)
	named := regexp.MustCompile(`alertname="(\w+)"`)
	for _, test := range tests.Tests {
		for _, expected := range test.PromqlExprTest {
			name := named.FindStringSubmatch(expected.Expr)[1]
			if len(expected.ExpSamples) > 0 {
				fires[name] = true
			} else {
				silent[name] = true
			}
		}
	}
	const runbook = "docs/troubleshooting.md"
	read(t, "../../"+runbook)
	for _, group := range readAlerts(t).Groups {
		for _, rule := range group.Rules {
			if !slices.Contains([]string{"critical", "warning"}, rule.Labels["severity"]) {
				t.Errorf("%s: severity %q", rule.Alert, rule.Labels["severity"])
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.Annotations["runbook"] != runbook {
				t.Errorf("%s: annotations %v", rule.Alert, rule.Annotations)
			}
			if !fires[rule.Alert] || !silent[rule.Alert] {
				t.Errorf("%s: tested for firing: %v, for not firing: %v", rule.Alert, fires[rule.Alert], silent[rule.Alert])
			}
			delete(fires, rule.Alert)
		}
	}
	if len(fires) > 0 {
		t.Errorf("tested, and not there: %v", fires)
	}
}

// TestDashboard: panels have an id, a title and a description of their own, and none lies over another.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	if d.UID == "" || d.Title == "" {
		t.Errorf("uid %q, title %q", d.UID, d.Title)
	}
	ids, taken := make(map[int]bool), make(map[[2]int]string)
	for _, panel := range d.Panels {
		if ids[panel.ID] || panel.Title == "" || panel.Description == "" || len(panel.Targets) == 0 {
			t.Errorf("panel %d %q: the id is taken, or something is missing", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		at := panel.GridPos
		if at.W < 1 || at.H < 1 || at.X < 0 || at.X+at.W > 24 {
			t.Errorf("panel %q lies outside: %+v", panel.Title, at)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("panel %q lies over %q", panel.Title, other)
				}
				taken[[2]int{x, y}] = panel.Title
			}
		}
		refs := make(map[string]bool)
		for _, target := range panel.Targets {
			if refs[target.RefID] {
				t.Errorf("panel %q: two targets %s", panel.Title, target.RefID)
			}
			refs[target.RefID] = true
		}
	}
}

// What queries name.
var (
	selector = regexp.MustCompile(`\b(` + prefix + `\w+)(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on|without|ignoring) \(([^)]*)\)`)
	legend   = regexp.MustCompile(`\{\{\s*(?:with )?(?:\$labels\.)?(\w+)\s*\}\}`)
)

// fromPrometheus are labels that Prometheus itself adds.
var fromPrometheus = []string{"job", "instance"}

// values are those of labels whose values are a closed list.
func values(t *testing.T) map[string][]string {
	t.Helper()
	return map[string][]string{
		"flow":     {"browser", "phone", "phone_browser"},
		"endpoint": {"accesstoken", "discovery", "keys", "token", "userinfo", "backchannel", "user_exists"},
		"status":   {"2xx", "3xx", "4xx", "5xx", "error"},
		"result":   {"opened", "unreadable", "expired", "idle", "unconfirmed", "revoked"},
		"reason":   append(reasons(t), "signature", "secret", "body", "too_large"), // of webhooks
	}
}

// reasons are the words that the source has for a failed login.
func reasons(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, file := range []string{"failures.go", "outcomes.go", "handler_phone_answers.go"} {
		for _, match := range regexp.MustCompile(`(?:http\.Status\w+,|reason =|Err\w+, apiError\{) ?"([a-z_]+)"`).FindAllStringSubmatch(read(t, "../../"+file), -1) {
			found = append(found, match[1])
		}
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) < 20 {
		t.Fatalf("only %v were found", found)
	}
	return found
}

// TestReasons: for each reason it was decided whether it is the person's own. People's own are those that people
// or strangers cause; the alert on failing logins counts all the others.
func TestReasons(t *testing.T) {
	own := []string{
		"already_used", "asked_too_often", "bad_callback", "cancelled", "code_refused", "cross_site_logout", "denied", "expired", "expired_customer_token", "foreign_code",
		"invalid_binding_message", "invalid_country", "invalid_scope", "invalid_user", "login_required", "matcher", "more_required", "no_login", "no_merchant", "old_app", "other_browser", "other_number", "other_tab", "outdated_app", "too_late", "too_many_codes", "wrong_challenge",
	}
	for _, q := range queries(t) {
		if q.at != "alert VippsLoginLoginsFail" && !strings.HasPrefix(q.at, `panel "Logins that failed, not`) {
			continue
		}
		lists := regexp.MustCompile(`reason=~"([^"]*)"`).FindAllStringSubmatch(q.expr, -1)
		if len(lists) < 2 {
			t.Errorf("%s: %d lists of reasons", q.at, len(lists))
		}
		for _, list := range lists {
			counted := strings.Split(list[1], "|")
			for _, reason := range reasons(t) {
				if slices.Contains(own, reason) == slices.Contains(counted, reason) {
					t.Errorf("%s: is %s the person's own, or to be counted?", q.at, reason)
				}
			}
		}
	}
}

// TestNames: every metric and label that a query names is there in a running Caddy, and every metric of a
// running Caddy is on the dashboard.
func TestNames(t *testing.T) {
	there := scrape(t)
	known, used := values(t), make(map[string]bool)
	for _, q := range queries(t) {
		var labels []string
		for _, match := range selector.FindAllStringSubmatch(q.expr, -1) {
			name := match[1]
			if there[name] == nil {
				t.Errorf("%s: there is no metric %s", q.at, name)
				continue
			}
			used[family(name)] = true
			labels = append(labels, there[name]...)
			for _, pair := range matcher.FindAllStringSubmatch(match[2], -1) {
				checkLabel(t, q.at, there[name], pair[1])
				for value := range strings.SplitSeq(pair[2], "|") {
					if closed := known[pair[1]]; closed != nil && !slices.Contains(closed, value) {
						t.Errorf("%s: %s is never %q", q.at, pair[1], value)
					}
				}
			}
		}
		for _, match := range grouping.FindAllStringSubmatch(q.expr, -1) {
			for label := range strings.SplitSeq(match[1], ",") {
				checkLabel(t, q.at, labels, strings.TrimSpace(label))
			}
		}
	}
	for name := range there {
		if !used[family(name)] {
			t.Errorf("%s is on no panel", name)
		}
	}
	checkTexts(t)
}

func checkLabel(t *testing.T, at string, labels []string, label string) {
	t.Helper()
	if !slices.Contains(labels, label) && !slices.Contains(fromPrometheus, label) {
		t.Errorf("%s: there is no label %s, only %v", at, label, labels)
	}
}

// checkTexts: legends and annotations name labels that the query's result has.
func checkTexts(t *testing.T) {
	t.Helper()
	check := func(at, expr, text string) {
		for _, match := range legend.FindAllStringSubmatch(text, -1) {
			kept := strings.Contains(expr, "by (") // only what is named there
			inBy := slices.ContainsFunc(grouping.FindAllStringSubmatch(expr, -1), func(by []string) bool {
				return slices.Contains(strings.Split(strings.ReplaceAll(by[1], " ", ""), ","), match[1])
			})
			if match[1] != "end" && !inBy && (kept || !slices.Contains(fromPrometheus, match[1])) {
				t.Errorf("%s: its result has no label %s", at, match[1])
			}
		}
	}
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			check("panel "+panel.Title, target.Expr, target.LegendFormat)
		}
	}
	for _, group := range readAlerts(t).Groups {
		for _, rule := range group.Rules {
			check("alert "+rule.Alert, rule.Expr, rule.Annotations["summary"]+rule.Annotations["description"])
		}
	}
}

// family is the metric that a series of a histogram belongs to.
func family(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

// scrape runs a Caddy, has people log in and fail to, and returns the metrics of ours that it tells, with their
// labels. The admin endpoint and the README's own site tell the same.
func scrape(t *testing.T) map[string][]string {
	t.Helper()
	w := start(t)
	w.logIn(t, "approve")
	w.logIn(t, "cancel")
	w.phoneLogin(t)
	fromAdmin := w.metrics(t, w.admin)
	fromSite := w.metrics(t, w.scraped)
	if len(fromAdmin) == 0 || fmt.Sprint(fromAdmin) != fmt.Sprint(fromSite) {
		t.Errorf("the admin endpoint tells %v, the site tells %v", fromAdmin, fromSite)
	}
	return fromAdmin
}

type world struct {
	client               *http.Client
	at                   *url.URL // the page that was read last
	shop, admin, scraped string
}

const apiKey = "an-api-key-of-the-till-with-32-characters"

// start runs a Caddy with the site of the README and a shop.
func start(t *testing.T) *world {
	t.Helper()
	httpPort, adminPort, metricsPort := freeport.New(t), freeport.New(t), freeport.New(t)
	w := &world{
		shop:  fmt.Sprintf("http://shop.localhost:%d", httpPort),
		admin: fmt.Sprintf("http://127.0.0.1:%d/metrics", adminPort), scraped: fmt.Sprintf("http://127.0.0.1:%d/metrics", metricsPort),
	}
	sim, err := simulator.New(simulator.Config{
		Partner:      simulator.Partner{ClientID: "id", ClientSecret: "secret", SubscriptionKey: "key"},
		Merchants:    []simulator.Merchant{{MSN: "123456", RedirectURIs: []string{w.shop + "/vipps/callback"}}},
		PollInterval: caddy.Duration(time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	vipps := httptest.NewServer(sim)
	t.Cleanup(vipps.Close)
	documented := regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindStringSubmatch(read(t, "README.md"))
	if documented == nil || strings.Count(documented[1], ":9180") != 1 {
		t.Fatal("the README has no site for the metrics")
	}
	site := strings.Replace(documented[1], ":9180", fmt.Sprintf(":%d", metricsPort), 1)
	w.load(t, fmt.Sprintf(`{
	admin 127.0.0.1:%d
	persist_config off
	auto_https off
	grace_period 1s
	storage file_system %q
	log {
		output discard
	}
	vipps_login {
		environment %s
		client_id id
		client_secret secret
		subscription_key key
		metrics per_merchant
	}
}
%s {
	bind 127.0.0.1
	vipps_login 123456 {
		phone {
			api_key %s
		}
	}
	respond hello
}
`, adminPort, t.TempDir(), vipps.URL, w.shop, apiKey)+site)
	w.client = newClient(t)
	return w
}

func (w *world) load(t *testing.T, caddyfile string) {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// newClient is a browser that finds every host on this machine, and follows redirects.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, Timeout: 30 * time.Second}
}

// do sends a request and returns the status and the body of the answer.
func (w *world) do(t *testing.T, method, address, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	w.at = resp.Request.URL
	return resp.StatusCode, string(content)
}

// logIn is a person who approves or cancels.
func (w *world) logIn(t *testing.T, answer string) {
	t.Helper()
	w.client.Jar, _ = cookiejar.New(nil)
	_, page := w.do(t, http.MethodGet, w.shop+"/", "")
	transaction := regexp.MustCompile(`name="transaction" value="([^"]*)"`).FindStringSubmatch(page)
	action := regexp.MustCompile(`<form[^>]* action="([^"]*)"`).FindStringSubmatch(page)
	if transaction == nil || action == nil {
		t.Fatalf("no consent page: %s", page)
	}
	form := url.Values{"transaction": {html.UnescapeString(transaction[1])}, "user": {"4712345678"}, "answer": {answer}}
	target, err := w.at.Parse(html.UnescapeString(action[1]))
	if err != nil {
		t.Fatal(err)
	}
	status, page := w.do(t, http.MethodPost, target.String(), form.Encode())
	if answer == "approve" && page != "hello" || answer == "cancel" && status != http.StatusForbidden {
		t.Fatalf("%s: %d %s", answer, status, page)
	}
	w.do(t, http.MethodGet, w.shop+"/", "")
}

// phoneLogin is a login from a phone number that waits.
func (w *world) phoneLogin(t *testing.T) {
	t.Helper()
	for path, want := range map[string]int{"/vipps/phone": http.StatusAccepted, "/vipps/phone/exists": http.StatusOK} {
		status, body := w.do(t, http.MethodPost, w.shop+path, "phone_number=4712345678", "Authorization", "Bearer "+apiKey)
		if status != want {
			t.Fatalf("%s: %d %s", path, status, body)
		}
	}
}

// metrics reads what an address tells about us.
func (w *world) metrics(t *testing.T, address string) map[string][]string {
	t.Helper()
	status, body := w.do(t, http.MethodGet, address, "", "Accept", "text/plain")
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", address, status, body)
	}
	known, found := values(t), make(map[string][]string)
	for _, line := range regexp.MustCompile(`(?m)^(`+prefix+`\w+)(\{[^}]*\})? `).FindAllStringSubmatch(body, -1) {
		labels := []string{}
		for _, pair := range matcher.FindAllStringSubmatch(line[2], -1) {
			labels = append(labels, pair[1])
			if closed := known[pair[1]]; closed != nil && !slices.Contains(closed, pair[2]) {
				t.Errorf("%s: %s is %q, which these tests do not know", line[1], pair[1], pair[2])
			}
		}
		slices.Sort(labels)
		found[line[1]] = labels
	}
	return found
}
