package examples_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-vipps/vippslogin"
	"github.com/caddy-vipps/vippslogin/internal/freeport"
	_ "github.com/caddy-vipps/vippslogin/redis"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// setup says what an example needs to run here.
type setup struct {
	folder  string
	hosts   map[string]string // host to MSN, as registered at Vipps MobilePay
	swaps   map[string]string // what is elsewhere on this machine: texts of the Caddyfile, each there once
	options string            // more global options
	users   []simulator.User  // people beside the simulator's own
}

// example is a Caddy that runs an example's Caddyfile, and a Vipps MobilePay. There is one Caddy in a
// process, so the tests run one after the other.
type example struct {
	t       *testing.T
	vipps   string // the address of Vipps MobilePay
	sim     *simulator.Simulator
	port    int
	storage string
	roots   *x509.CertPool
}

// start runs an example. Its sites keep their names and HTTPS, with certificates of Caddy's own CA; every
// browser of the tests finds every name on this machine.
func start(t *testing.T, s setup) *example {
	t.Helper()
	e := &example{t: t, port: freeport.New(t), storage: t.TempDir(), roots: x509.NewCertPool()}
	e.startVipps(s)
	caddyfile := e.caddyfile(s)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": filepath.Join(s.folder, "Caddyfile")})
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
	root, err := os.ReadFile(filepath.Join(e.storage, "pki", "authorities", "local", "root.crt"))
	if err != nil || !e.roots.AppendCertsFromPEM(root) {
		t.Fatalf("Caddy's own CA: %v", err)
	}
	if !strings.Contains(caddyfile, "on_demand") {
		for host := range s.hosts {
			waitFor(t, func() bool { return e.handshake(host) == nil })
		}
	}
	return e
}

// caddyfile is the example's Caddyfile, with what is not the same here.
func (e *example) caddyfile(s setup) string {
	e.t.Helper()
	content, err := os.ReadFile(filepath.Join(s.folder, "Caddyfile"))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Setenv("VIPPS_CLIENT_ID", partnerID)
	e.t.Setenv("VIPPS_CLIENT_SECRET", partnerSecret)
	e.t.Setenv("VIPPS_SUBSCRIPTION_KEY", partnerKey)
	const global = "\n\tvipps_login {\n\t\tclient_id"
	swaps := []string{global, fmt.Sprintf(`
	admin off
	persist_config off
	storage file_system %q
	storage_clean_interval off
	default_bind 127.0.0.1
	https_port %d
	auto_https disable_redirects
	local_certs
	skip_install_trust
	grace_period 1s
	log {
		level WARN
	}
	%s
	vipps_login {
		environment %s
		client_id`, e.storage, e.port, s.options, e.vipps)}
	for text, here := range s.swaps {
		swaps = append(swaps, text, here)
	}
	for i := 0; i < len(swaps); i += 2 {
		if n := strings.Count(string(content), swaps[i]); n != 1 {
			e.t.Fatalf("%s has %q %d times, want it once", s.folder, swaps[i], n)
		}
	}
	return strings.NewReplacer(swaps...).Replace(string(content))
}

func (e *example) startVipps(s setup) {
	e.t.Helper()
	merchants := make(map[string]*simulator.Merchant)
	for host, msn := range s.hosts {
		if merchants[msn] == nil {
			merchants[msn] = &simulator.Merchant{MSN: msn}
		}
		merchants[msn].RedirectURIs = append(merchants[msn].RedirectURIs, e.url(host, "/vipps/callback"))
	}
	config := simulator.Config{
		Partner: simulator.Partner{ClientID: partnerID, ClientSecret: partnerSecret, SubscriptionKey: partnerKey},
		Users:   append(simulator.DefaultUsers(), s.users...),

		PollInterval: caddy.Duration(time.Second), // the shortest that it takes
	}
	for _, merchant := range merchants {
		config.Merchants = append(config.Merchants, *merchant)
	}
	var err error
	if e.sim, err = simulator.New(config); err != nil {
		e.t.Fatal(err)
	}
	server := httptest.NewServer(e.sim)
	e.t.Cleanup(server.Close)
	e.vipps = server.URL
}

func (e *example) url(host, path string) string {
	return fmt.Sprintf("https://%s:%d%s", host, e.port, path)
}

// handshake asks for a host's certificate, and checks it.
func (e *example) handshake(host string) error {
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", e.port), &tls.Config{ServerName: host, RootCAs: e.roots})
	if err != nil {
		return err
	}
	return conn.Close()
}

// browser is a person at a browser: it keeps cookies.
type browser struct {
	*example
	client *http.Client
}

// page is what a browser shows.
type page struct {
	status int
	url    string
	header http.Header
	body   string
}

func (e *example) browser() *browser {
	e.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		e.t.Fatal(err)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
		TLSClientConfig: &tls.Config{RootCAs: e.roots},
	}
	e.t.Cleanup(transport.CloseIdleConnections)
	return &browser{e, &http.Client{Jar: jar, Transport: transport, Timeout: 30 * time.Second}}
}

// request makes a page view; each header is "Name: value", and the name is sent in that very spelling.
func (b *browser) request(method, address string, header ...string) *http.Request {
	b.t.Helper()
	request, err := http.NewRequest(method, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Accept", "text/html")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		request.Header[name] = []string{value}
	}
	return request
}

// open opens an address and goes wherever that leads.
func (b *browser) open(address string, header ...string) page {
	b.t.Helper()
	return b.do(b.request(http.MethodGet, address, header...))
}

// first is the first answer alone, be it a redirect.
func (b *browser) first(request *http.Request) page {
	b.t.Helper()
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer func() { b.client.CheckRedirect = nil }()
	return b.do(request)
}

func (b *browser) do(request *http.Request) page {
	b.t.Helper()
	response, err := b.client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{response.StatusCode, response.Request.URL.String(), response.Header, string(body)}
}

var transactionField = regexp.MustCompile(`name="transaction" value="([^"]+)"`)

// login opens an address that needs a login, and is user.
func (b *browser) login(address, user string) page {
	b.t.Helper()
	consent := b.open(address)
	field := transactionField.FindStringSubmatch(consent.body)
	if field == nil || !strings.HasPrefix(consent.url, b.vipps) {
		b.t.Fatalf("%s leads to %s and not to a login: %d %s", address, consent.url, consent.status, consent.body)
	}
	form := url.Values{"transaction": {field[1]}, "answer": {"approve"}, "user": {user}}
	request := b.request(http.MethodPost, b.vipps+"/_simulator/consent", "Content-Type: application/x-www-form-urlencoded")
	request.Body = io.NopCloser(strings.NewReader(form.Encode()))
	return b.do(request)
}

// want checks where a browser is, and texts of the page.
func (p page) want(t *testing.T, status int, address string, texts ...string) {
	t.Helper()
	if p.status != status || p.url != address {
		t.Fatalf("at %s with status %d, want %s with %d\n%s", p.url, p.status, address, status, p.body)
	}
	for _, text := range texts {
		if !strings.Contains(p.body, text) {
			t.Errorf("%s lacks %q:\n%s", p.url, text, p.body)
		}
	}
}

// asksForLogin reports whether p is the redirect to Vipps MobilePay.
func (e *example) asksForLogin(p page) bool {
	return p.status == http.StatusFound && strings.HasPrefix(p.header.Get("Location"), e.vipps+"/access-management-1.0/access/oauth2/auth?")
}

// waitFor waits for something that is sure to come.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// program finds a program that scripts/install-test-tools installs.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("%s is missing: run scripts/install-test-tools", names[len(names)-1])
	return ""
}

// run starts a program that ends with the test. It returns what ready finds in its output, once it is there.
func run(t *testing.T, ready *regexp.Regexp, name string, args ...string) []string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.SysProcAttr = endWithUs
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 5 * time.Second // then it is killed
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	found, read := make(chan []string, 1), make(chan string, 1)
	go func() {
		var output strings.Builder
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			fmt.Fprintln(&output, lines.Text())
			if match := ready.FindStringSubmatch(lines.Text()); match != nil && len(found) == 0 {
				found <- match
			}
		}
		read <- output.String()
	}()
	ended := make(chan error, 1)
	go func() {
		ended <- command.Wait()
		writer.Close()
	}()
	var output string
	t.Cleanup(func() { // the test's context has ended by now
		if output == "" {
			output = <-read
		}
		if t.Failed() {
			t.Logf("%s: %s", filepath.Base(name), output)
		}
	})
	select {
	case match := <-found:
		return match
	case err := <-ended:
		output = <-read
		t.Fatal(errors.Join(fmt.Errorf("%s ended before it was ready (scripts/install-test-tools installs what it needs)", name), err))
	case <-time.After(30 * time.Second):
		t.Fatalf("%s is not ready after 30 seconds", name)
	}
	return nil
}

var listening = regexp.MustCompile(`^Listening on (127\.0\.0\.1:\d+)$`)

// python starts an example's app.py and returns its address.
func python(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, listening, program(t, "python3"), append(args, "0")...)[1]
}
