package stacks_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

const (
	name       = "Bjørn Ærlig-Åsen"
	siteCookie = "sid=s%3Af0.Zm9v+YmFy/w==" // of testdata
	hit, miss  = "✓", "–"
)

// encodings, and what the name is in each.
var encodings = []struct{ name, value string }{
	{"utf8", name}, {"percent", "Bj%C3%B8rn %C3%86rlig-%C3%85sen"}, {"base64url", "QmrDuHJuIMOGcmxpZy3DhXNlbg"},
}

// answer is what a program saw; none for a status other than 200.
type answer struct {
	status   int
	Greeting string
	Sub      *string
	Cookie   *string
	Headers  map[string]any
}

// trial is a stack behind a Caddy, and a browser that has logged in there.
type trial struct {
	*harness.World
	stack stack
	key   string // in its host names
	b     *harness.Browser
	found finding
}

// finding is what the tables say of a stack.
type finding struct {
	texts      []string // the name in each encoding
	sizes      []string
	cookie     string
	forged     string // whom the plugin lets a client make up
	underscore string // past the plugin
	dot        string
	twice      string
	connection string
}

// TestStacks: no stack can be told that somebody else is logged in, and docs/upstream-headers.md says what each of them sees.
func TestStacks(t *testing.T) {
	m := newMachine(t)
	m.startStacks()
	w := harness.WorldWith(t, func(w *harness.World) []simulator.Merchant {
		merchant := simulator.Merchant{MSN: "123456"}
		for i := range stacks {
			for _, encoding := range encodings {
				merchant.RedirectURIs = append(merchant.RedirectURIs, w.Shop(host(i, encoding.name))+"/vipps/callback")
			}
		}
		return []simulator.Merchant{merchant}
	})
	// At $HTTP Caddy lets names with "_" and "." through, and drops those with "-"; at $HTTPS, without TLS here, the other way round.
	options := "servers :$HTTP {\n\t\tmax_header_size 64KiB\n\t\t" + harness.AllowAliases + "\n\t}\n\tservers {\n\t\tmax_header_size 64KiB"
	w.LoadWhole(strings.Replace(w.Globals(), "servers {", options, 1) + m.sites())
	findings := make([]finding, len(stacks))
	for i, s := range stacks {
		t.Run(s.name+" "+s.protocol+" "+s.setting, func(t *testing.T) {
			trial := &trial{World: w, stack: s, key: fmt.Sprintf("s%02d", i), b: harness.NewBrowser(t)}
			trial.T = t
			trial.run()
			findings[i] = trial.found
		})
	}
	// With -run, only some of them are there.
	if all := !slices.ContainsFunc(findings, func(f finding) bool { return f.texts == nil }); all && !t.Failed() {
		holdAgainstDocs(t, findings)
	}
}

func host(i int, kind string) string { return fmt.Sprintf("s%02d-%s.localhost", i, kind) }

// sites are the Caddyfile's: each stack with each encoding, and without the plugin.
func (m *machine) sites() string {
	m.t.Helper()
	var sites strings.Builder
	for i, s := range stacks {
		for _, encoding := range encodings {
			fmt.Fprintf(&sites, "http://%[1]s:$HTTP, http://%[1]s:$HTTPS {\n\tvipps_login /account/* 123456 {\n\t\theader_encoding %[2]s\n\t\tsite_session sid\n\t}\n\t%[3]s\n}\n",
				host(i, encoding.name), encoding.name, m.replace(s.upstream))
		}
		fmt.Fprintf(&sites, "http://%[1]s:$HTTP, http://%[1]s:$HTTPS {\n\t%[2]s\n}\n", host(i, "bare"), m.replace(s.upstream))
	}
	return sites.String()
}

// ask asks for the home page of a site of this stack.
func (r *trial) ask(kind string, header ...string) answer {
	r.T.Helper()
	port := r.HTTPS
	if slices.ContainsFunc(header, isAlias) {
		port = r.HTTP
	}
	return r.askAt(port, kind, header...)
}

// isAlias reports whether Caddy drops a header for its name.
func isAlias(line string) bool {
	name, _, _ := strings.Cut(line, ": ")
	return strings.ContainsAny(name, "_.")
}

func (r *trial) askAt(port int, kind string, header ...string) answer {
	r.T.Helper()
	request := harness.NewRequest(r.T, http.MethodGet, fmt.Sprintf("http://%s-%s.localhost:%d/", r.key, kind, port), nil)
	for _, line := range header { // spelt as it is
		name, value, _ := strings.Cut(line, ": ")
		request.Header[name] = append(request.Header[name], value)
	}
	response, err := r.b.Client.Do(request)
	if err != nil {
		r.T.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil && response.StatusCode == http.StatusOK { // of a refusal, the rest may be cut off
		r.T.Fatal(err)
	}
	return r.read(harness.Answer{Response: response, Text: string(body)})
}

func (r *trial) read(got harness.Answer) answer {
	r.T.Helper()
	a := answer{status: got.StatusCode}
	if got.StatusCode == http.StatusOK {
		if err := json.Unmarshal([]byte(got.Text), &a); err != nil {
			r.T.Fatalf("%s: %v: %s", r.stack, err, got.Text)
		}
	}
	return a
}

// run does what users do, and what attackers try.
func (r *trial) run() {
	r.T.Helper()
	for _, encoding := range encodings {
		login := r.read(r.b.Login(r.Shop(r.key+"-"+encoding.name+".localhost")+"/account/", harness.Bjorn))
		if login.status != http.StatusOK || login.Sub == nil {
			r.T.Fatalf("nobody is logged in: %+v", login)
		}
		r.found.texts = append(r.found.texts, text(login.Greeting, encoding.value))
	}
	r.found.cookie = r.cookies()
	r.found.forged = r.attack()
	if r.stack.setting == "" && r.attackRaw() == hit {
		r.found.forged = hit
	}
	for _, size := range []int{8 << 10, 16 << 10, 31 << 10} {
		r.found.sizes = append(r.found.sizes, r.fill(size, 1000))
	}
	r.found.sizes = append(r.found.sizes, r.fill(14<<10, 12<<10))
	r.pastThePlugin()
}

// text says how a text arrived that was sent as want.
func text(greeting, want string) string {
	latin1 := []rune(nil)
	for _, b := range []byte(want) {
		latin1 = append(latin1, rune(b))
	}
	switch got := strings.TrimPrefix(greeting, "Så "); got {
	case want:
		return hit
	case string(latin1):
		return "`Bj" + string(latin1[2:4]) + "rn …`"
	default:
		return "`" + got + "`"
	}
}

// cookies says whether the site has its own cookie back, and no other.
func (r *trial) cookies() string {
	r.T.Helper()
	a := r.ask("utf8", "Cookie: lang=nb")
	if a.Cookie == nil || strings.Contains(*a.Cookie, "vipps") {
		r.T.Fatalf("the site sees the cookies %v", a.Headers)
	}
	if got := strings.Split(*a.Cookie, "; "); slices.Contains(got, siteCookie) && slices.Contains(got, "lang=nb") && len(got) == 2 {
		return hit
	}
	return "`" + *a.Cookie + "`"
}

// attack: whatever a client sends, the site sees who is logged in, or nobody.
func (r *trial) attack() string {
	r.T.Helper()
	found := miss
	user, nobody := r.b, harness.NewBrowser(r.T)
	sub := *r.ask("utf8").Sub
	for _, attack := range [][]string{
		{"X_Vipps_Sub: evil"}, {"X.Vipps.Sub: evil"}, {"X-Vipps_Sub: evil"}, {"x_vipps_sub: evil"}, {"X-Vipps-Sub: evil"}, {"X-Vipps-Sub: evil", "X-Vipps-Sub: evil"},
		{"X-Vipps-Sub: evil", "X_Vipps_Sub: evil", "X-VIPPS-SUB: evil"}, {"Connection: X-Vipps-Sub, X-Vipps-Name"}, {"Connection: X_Vipps_Sub", "X_Vipps_Sub: evil"},
	} {
		a := r.ask("utf8", attack...)
		if a.Sub == nil || *a.Sub != sub || strings.Contains(fmt.Sprint(a.Headers), "evil") || a.Greeting != r.ask("utf8").Greeting {
			r.T.Errorf("a user with %q: %+v", attack, a)
			found = hit
		}
		r.b = nobody
		if a := r.ask("utf8", attack...); a.status != http.StatusOK || a.Sub != nil || strings.Contains(fmt.Sprint(a.Headers), "evil") {
			r.T.Errorf("nobody with %q: %+v", attack, a)
			found = hit
		}
		r.b = user
	}
	return found
}

// fill says what becomes of a request whose header lines take up size bytes at the site, in lines of at most this length.
func (r *trial) fill(size, line int) string {
	r.T.Helper()
	size -= r.base()
	sent := make(map[string]string)
	var header []string
	for i := 0; size > 30; i++ {
		name := fmt.Sprintf("X-Fill-%02d", i)
		value := strings.Repeat("x", min(line, size)-len(name)-len(": \r\n"))
		sent[name] = value
		header = append(header, name+": "+value)
		size -= min(line, size)
	}
	a := r.ask("utf8", header...)
	switch a.status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusRequestHeaderFieldsTooLarge, http.StatusBadGateway:
		return "refused" // with which of them, depends on who is quicker: a server may close before Caddy has sent all
	default:
		r.T.Errorf("%d bytes of headers: status %d", size, a.status)
	}
	for name, value := range a.Headers {
		name = strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(name, "HTTP_"), "_", "-"))
		for sentName, sentValue := range sent {
			if strings.ToUpper(sentName) == name && (value == sentValue || fmt.Sprint(value) == "["+sentValue+"]") {
				delete(sent, sentName)
			}
		}
	}
	if len(sent) > 0 {
		return fmt.Sprintf("%d lost", len(sent))
	}
	return hit
}

// base is how much the header lines take up that are there in any case.
func (r *trial) base() (size int) {
	r.T.Helper()
	for name, values := range r.ask("utf8").Headers {
		for _, value := range list(values) {
			size += len(strings.TrimPrefix(name, "HTTP_")) + len(": \r\n") + len(value)
		}
	}
	return size
}

func list(value any) (texts []string) {
	if values, ok := value.([]any); ok {
		for _, value := range values {
			texts = append(texts, fmt.Sprint(value))
		}
		return texts
	}
	return []string{fmt.Sprint(value)}
}

// pastThePlugin looks at what the stack takes for X-Vipps-Sub.
func (r *trial) pastThePlugin() {
	r.T.Helper()
	told := func(header ...string) string {
		a := r.ask("bare", header...)
		switch {
		case a.status != http.StatusOK:
			return fmt.Sprint(a.status)
		case a.Sub == nil:
			return miss
		}
		return "`" + *a.Sub + "`"
	}
	if got := told("X-Vipps-Sub: evil"); got != "`evil`" {
		r.T.Errorf("X-Vipps-Sub is %s to it", got)
	}
	r.found.underscore, r.found.dot = told("X_Vipps_Sub: evil"), told("X.Vipps.Sub: evil")
	r.found.twice = told("X-Vipps-Sub: one", "X-Vipps-Sub: two")
	r.found.connection = told("X-Vipps-Sub: evil", "Connection: X-Vipps-Sub")
}
