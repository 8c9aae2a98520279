package vippslogin_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"log"
	"maps"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-vipps/vippslogin"
	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// The tests in this package run a whole Caddy with real HTTP against the simulator. There is one Caddy
// in a process, so they run one after the other.

// world is a Caddy with our directive, a Vipps MobilePay, and a site behind the Caddy.
type world struct {
	t        testing.TB
	vipps    *vipps
	upstream *upstream
	http     int // the port of the Caddyfile's $HTTP
	https    int // the port of the Caddyfile's $HTTPS
	storage  string
	log      string
	logs     []string // of instances
	vars     *strings.Replacer
}

const (
	partnerID     = "partner-id"
	partnerSecret = "partner-secret"
	partnerKey    = "partner-subscription-key"
	cookieSecret  = "a-cookie-secret-for-the-tests-of-32-bytes-and-more"
)

// newWorld starts everything but the Caddy (see load), with two merchants.
func newWorld(t testing.TB) *world {
	t.Helper()
	return worldWith(t, func(w *world) []simulator.Merchant {
		return []simulator.Merchant{
			{MSN: "123456", RedirectURIs: []string{w.shop("shop-a.localhost") + "/vipps/callback", w.secureShop("shop-a.localhost") + "/vipps/callback"}},
			{MSN: "234567", RedirectURIs: []string{w.shop("shop-b.localhost") + "/vipps/callback", w.secureShop("shop-b.localhost") + "/vipps/callback"}},
		}
	})
}

// worldWith is newWorld with other merchants.
func worldWith(t testing.TB, merchants func(*world) []simulator.Merchant) *world {
	t.Helper()
	w := &world{t: t, http: freeport.New(t), https: freeport.New(t), storage: t.TempDir(), upstream: newUpstream(t)}
	w.log = filepath.Join(t.TempDir(), "caddy.log")
	collected.reset()
	t.Cleanup(w.checkLogs)
	w.vipps = newVipps(t, merchants(w))
	cert, key := newCertificate(t)
	w.vars = strings.NewReplacer("$CERT", cert, "$KEY", key, "$HTTPS", fmt.Sprint(w.https), "$HTTP", fmt.Sprint(w.http),
		"$VIPPS", w.vipps.URL, "$UPSTREAM", strings.TrimPrefix(w.upstream.URL, "http://"))
	return w
}

// shop is the address of a site on plain HTTP.
func (w *world) shop(host string) string { return fmt.Sprintf("http://%s:%d", host, w.http) }

// secureShop is the address of a site on HTTPS.
func (w *world) secureShop(host string) string { return fmt.Sprintf("https://%s:%d", host, w.https) }

// globals are the global options of every Caddyfile of the tests.
func (w *world) globals() string {
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https disable_redirects
	grace_period 1s
	storage file_system %q
	log {
		output file %q
		level DEBUG
		format json
	}
	servers {
		protocols h1 h2
	}
	vipps_login {
		environment $VIPPS
		client_id %s
		client_secret %s
		subscription_key %s
		cookie_secret %s
	}
}
`, w.storage, w.log, partnerID, partnerSecret, partnerKey, cookieSecret)
}

// load runs a Caddy with these sites, once the one that runs has stopped.
func (w *world) load(sites string) {
	w.t.Helper()
	w.loadWhole(w.globals() + sites)
}

func (w *world) loadWhole(caddyfile string) {
	w.t.Helper()
	if err := caddy.Stop(); err != nil {
		w.t.Fatal(err)
	}
	w.reload(caddyfile)
}

// reload gives the running Caddy another config.
func (w *world) reload(caddyfile string) {
	w.t.Helper()
	if err := w.tryLoad(caddyfile); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = caddy.Stop() })
}

func (w *world) tryLoad(caddyfile string) error {
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(w.vars.Replace(caddyfile)), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		if !strings.Contains(warning.Message, "not formatted") {
			w.t.Errorf("caddyfile: %s", warning)
		}
	}
	return caddy.Load(config, true)
}

// logged returns what Caddy has logged so far.
func (w *world) logged() string {
	w.t.Helper()
	content, err := os.ReadFile(w.log)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(content)
}

// twoShops is the Caddyfile that most tests use.
const twoShops = `
http://shop-a.localhost:$HTTP {
	log
	vipps_login 123456
	reverse_proxy $UPSTREAM
}
http://shop-b.localhost:$HTTP {
	vipps_login /account/* 234567
	reverse_proxy $UPSTREAM
}
`

// upstream is the site behind the Caddy: it keeps the requests it got.
type upstream struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	handler  http.HandlerFunc
}

func newUpstream(t testing.TB) *upstream {
	u := new(upstream)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		u.mu.Lock()
		u.requests = append(u.requests, r)
		handler := u.handler
		u.mu.Unlock()
		if handler != nil {
			handler(w, r)
			return
		}
		fmt.Fprintf(w, "hello from %s", r.URL.RequestURI())
	}))
	t.Cleanup(u.Close)
	return u
}

// last returns the last request the site got, and forgets them all.
func (u *upstream) last(t testing.TB) *http.Request {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) == 0 {
		t.Fatal("the upstream got no request")
	}
	r := u.requests[len(u.requests)-1]
	u.requests = nil
	return r
}

func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.requests)
}

// overHTTP2 has the simulator speak HTTPS and HTTP/2.
var overHTTP2 bool

// vippsCertificate is the simulator's. The whole process, and no other, trusts it (trustVipps).
var vippsCertificate tls.Certificate

// trustVipps has Go take the simulator's certificate for one of the system's, before anything reads those.
func trustVipps() (remove func(), err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, err
	}
	vippsCertificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
	file, err := os.CreateTemp("", "vipps-*.pem")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := os.Setenv("SSL_CERT_FILE", file.Name()); err != nil {
		return nil, err
	}
	return func() { os.Remove(file.Name()) }, pem.Encode(file, &pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// vipps is the simulator on a port of its own, counting calls, with a way to answer in its place.
type vipps struct {
	*httptest.Server
	sim *simulator.Simulator

	mu      sync.Mutex
	calls   map[string]int
	seen    []*http.Request
	answers map[string]http.HandlerFunc
}

// The paths of Vipps MobilePay.
const (
	pathDiscovery   = "/access-management-1.0/access/.well-known/openid-configuration"
	pathKeys        = "/access-management-1.0/access/.well-known/jwks.json"
	pathAuth        = "/access-management-1.0/access/oauth2/auth"
	pathToken       = "/access-management-1.0/access/oauth2/token"
	pathUserinfo    = "/vipps-userinfo-api/userinfo"
	pathAccessToken = "/accesstoken/get"
)

func newVipps(t testing.TB, merchants []simulator.Merchant) *vipps {
	t.Helper()
	users := simulator.DefaultUsers()
	for _, number := range manyNumbers(50) {
		users = append(users, simulator.User{Name: "Person " + number, PhoneNumber: number, Birthdate: "1980-01-01"})
	}
	sim, err := simulator.New(simulator.Config{
		Partner:   simulator.Partner{ClientID: partnerID, ClientSecret: partnerSecret, SubscriptionKey: partnerKey},
		Merchants: merchants, Users: users, PollInterval: caddy.Duration(time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	v := &vipps{sim: sim, calls: make(map[string]int), answers: make(map[string]http.HandlerFunc)}
	v.Server = httptest.NewUnstartedServer(v)
	if overHTTP2 {
		v.EnableHTTP2, v.TLS = true, &tls.Config{Certificates: []tls.Certificate{vippsCertificate}}
		v.Config.ErrorLog = log.New(io.Discard, "", 0)
		v.StartTLS()
	} else {
		v.Start()
	}
	t.Cleanup(v.Close)
	return v
}

func (v *vipps) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	v.calls[r.URL.Path]++
	v.seen = append(v.seen, r)
	answer := v.answers[r.URL.Path]
	v.mu.Unlock()
	copied := &tee{ResponseWriter: w}
	defer collected.addAnswer(r.URL.Path, copied)
	if answer != nil {
		answer(copied, r)
		return
	}
	v.sim.ServeHTTP(copied, r)
}

// answer puts handler in the place of the simulator for one path; nil takes it away.
func (v *vipps) answer(path string, handler http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answers[path] = handler
}

// counted returns how often the server-to-server paths were called, and begins anew.
func (v *vipps) counted() map[string]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	calls := maps.Clone(v.calls)
	maps.DeleteFunc(calls, func(path string, _ int) bool {
		return path == pathAuth || strings.HasPrefix(path, "/_simulator")
	})
	clear(v.calls)
	return calls
}

// requests returns the requests to one path.
func (v *vipps) requests(path string) []*http.Request {
	v.mu.Lock()
	defer v.mu.Unlock()
	var found []*http.Request
	for _, r := range v.seen {
		if r.URL.Path == path {
			found = append(found, r)
		}
	}
	return found
}

// browser is a person at a browser: cookies, and no redirect followed unless told.
type browser struct {
	t      testing.TB
	client *http.Client
	header http.Header
}

// newBrowser returns a browser that finds every host name on this machine.
func newBrowser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // Caddy's local CA, on loopback
		DisableCompression: true,
		ForceAttemptHTTP2:  true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{
		t: t,
		client: &http.Client{
			Jar: jar, Transport: transport, Timeout: 30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		header: http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Accept": {"text/html"}},
	}
}

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body string
}

func (a answer) location() string { return a.Header.Get("Location") }

func (b *browser) do(req *http.Request) answer {
	b.t.Helper()
	for name, values := range b.header {
		if _, ok := req.Header[name]; !ok {
			req.Header[name] = values
		}
	}
	resp, err := b.client.Do(req)
	for range 3 {
		// When Caddy reloads, the kernel resets connections that the old listener has not taken yet.
		if err == nil || req.Body != nil && req.GetBody == nil || !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			break
		}
		if req.GetBody != nil {
			req.Body, _ = req.GetBody() // a copy of what is in memory
		}
		resp, err = b.client.Do(req)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	collected.addCookies(resp)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp, string(body)}
}

// get opens an address; header gives further fields as "Name: value".
func (b *browser) get(address string, header ...string) answer {
	b.t.Helper()
	return b.do(newRequest(b.t, http.MethodGet, address, nil, header...))
}

func newRequest(t testing.TB, method, address string, body io.Reader, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	return req
}

// cookies returns the cookies the browser would send to address, as one Cookie header.
func (b *browser) cookies(address string) string {
	b.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	var pairs []string
	for _, c := range b.client.Jar.Cookies(u) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// follow follows redirects until something else is answered, n times at most.
func (b *browser) follow(a answer) answer {
	b.t.Helper()
	for range 10 {
		if a.StatusCode != http.StatusFound && a.StatusCode != http.StatusSeeOther {
			return a
		}
		next, err := a.Request.URL.Parse(a.location())
		if err != nil {
			b.t.Fatal(err)
		}
		a = b.get(next.String())
	}
	b.t.Fatal("redirected without end")
	return a
}

var transactionField = regexp.MustCompile(`name="transaction" value="([^"]*)"`)

// consent answers the simulator's consent page and returns its redirect back to the site.
func (b *browser) consent(page answer, form url.Values) answer {
	b.t.Helper()
	field := transactionField.FindStringSubmatch(page.body)
	if field == nil {
		b.t.Fatalf("no consent page but %d %s", page.StatusCode, page.body)
	}
	form.Set("transaction", html.UnescapeString(field[1]))
	action := regexp.MustCompile(`<form[^>]* action="([^"]*)"`).FindStringSubmatch(page.body)
	target := page.Request.URL
	if action != nil {
		var err error
		if target, err = target.Parse(html.UnescapeString(action[1])); err != nil {
			b.t.Fatal(err)
		}
	}
	req := newRequest(b.t, http.MethodPost, target.String(), strings.NewReader(form.Encode()),
		"Content-Type: application/x-www-form-urlencoded")
	return b.do(req)
}

const (
	kari  = "4712345678"
	bjorn = "4740000001"
)

// approved opens an address that needs a login, approves as a user, and returns the redirect to the
// callback, which was not followed.
func (b *browser) approved(address, user string) answer {
	b.t.Helper()
	return b.consent(b.follow(b.get(address)), url.Values{"user": {user}, "answer": {"approve"}})
}

// login opens an address that needs a login, logs in, and returns the page it ends at.
func (b *browser) login(address, user string) answer {
	b.t.Helper()
	return b.follow(b.approved(address, user))
}

// wantStatus checks a status.
func (a answer) wantStatus(t testing.TB, status int) answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: got %d %s, want %d\n%s", a.Request.Method, a.Request.URL, a.StatusCode, a.location(), status, bytes.TrimSpace([]byte(a.body)))
	}
	return a
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// randomText returns n letters that do not compress.
func randomText(n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[rand.IntN(64)]
	}
	return string(text)
}

// newCertificate makes a certificate for the sites on HTTPS, and returns its files.
func newCertificate(t testing.TB) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"shop-a.localhost", "shop-b.localhost", "shop-c.localhost"},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// manyNumbers returns the phone numbers of n people who can log in.
func manyNumbers(n int) []string {
	var numbers []string
	for i := range n {
		numbers = append(numbers, fmt.Sprintf("47410%05d", i))
	}
	return numbers
}

// walk reads every file.
func walk(t testing.TB, root fs.FS, visit func(name string, content []byte)) {
	t.Helper()
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, name)
		visit(name, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
