// Package harness is for tests of a whole Caddy, with real HTTP: a World is a Caddy with the plugin, a Vipps MobilePay, and
// a site behind the Caddy.
package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-vipps/vippslogin"
	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/redistest"
	_ "github.com/caddy-vipps/vippslogin/redis"
	"github.com/caddy-vipps/vippslogin/simulator"
)

// Stored returns the names of the files in storage that are ours.
func (w *World) Stored(t *testing.T) (names []string) {
	t.Helper()
	WalkFiles(t, os.DirFS(w.Storage), func(name string, _ []byte) {
		if strings.HasPrefix(name, "vipps_login") {
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return names
}

// What HTTP/2 and HTTP/3 have in place of lines of text: pseudo-headers, cookies in pieces, trailers in a
// frame of their own, and websockets by an extended CONNECT.

// StartHTTP3 starts a Caddy that listens on QUIC, too, on the port of HTTPS. In a process of its own: packets tell
// the race detector nothing of what comes before what, and it sees races in how Caddy starts.
func (w *World) StartHTTP3(sites, options string) {
	w.T.Helper()
	w.StartChangedInstance(w.HTTPS, strings.ReplaceAll(sites, "$HTTPS", "$HTTP"), strings.NewReplacer("protocols h1 h2", "protocols h1 h2 h3"+options))
}

// There is one Caddy in a process, so the tests of a package run one after the other.

// World is a Caddy with our directive, a Vipps MobilePay, and a site behind the Caddy.
type World struct {
	T        testing.TB
	Vipps    *vipps
	Upstream *upstream
	HTTP     int // the port of the Caddyfile's $HTTP
	HTTPS    int // the port of the Caddyfile's $HTTPS
	Storage  string
	Redis    *redistest.Server // nil: the shared state is in Caddy's storage
	LogFile  string
	logs     []string // of instances
	Vars     *strings.Replacer
}

const (
	PartnerID     = "partner-id"
	PartnerSecret = "partner-secret"
	PartnerKey    = "partner-subscription-key"
	CookieSecret  = "a-cookie-secret-for-the-tests-of-32-bytes-and-more"
)

// NewWorld starts everything but the Caddy (see load), with two merchants.
func NewWorld(t testing.TB) *World {
	t.Helper()
	return WorldWith(t, func(w *World) []simulator.Merchant {
		return []simulator.Merchant{
			{MSN: "123456", RedirectURIs: []string{w.Shop("shop-a.localhost") + "/vipps/callback", w.SecureShop("shop-a.localhost") + "/vipps/callback"}},
			{MSN: "234567", RedirectURIs: []string{w.Shop("shop-b.localhost") + "/vipps/callback", w.SecureShop("shop-b.localhost") + "/vipps/callback"}},
		}
	})
}

// WorldWith is NewWorld with other merchants.
func WorldWith(t testing.TB, merchants func(*World) []simulator.Merchant) *World {
	t.Helper()
	return WorldWhere(t, func(w *World, c *simulator.Config) { c.Merchants = merchants(w) })
}

// WorldWhere is a World where Vipps MobilePay has the merchants and manners of a config.
func WorldWhere(t testing.TB, configure func(*World, *simulator.Config)) *World {
	t.Helper()
	w := &World{T: t, HTTP: freeport.New(t), HTTPS: freeport.New(t), Storage: t.TempDir(), Upstream: newUpstream(t)}
	w.LogFile = filepath.Join(t.TempDir(), "caddy.log")
	Collected.reset()
	t.Cleanup(w.checkLogs)
	if os.Getenv(testState) == "redis" {
		w.UseRedis()
	}
	config := simulatorConfig()
	configure(w, &config)
	w.Vipps = newVipps(t, config)
	cert, key := NewCertificate(t)
	w.Vars = strings.NewReplacer("$CERT", cert, "$KEY", key, "$HTTPS", fmt.Sprint(w.HTTPS), "$HTTP", fmt.Sprint(w.HTTP),
		"$VIPPS", w.Vipps.URL, "$UPSTREAM", strings.TrimPrefix(w.Upstream.URL, "http://"))
	return w
}

// testState is the variable of the environment that says where the shared state of every World is: in Caddy's storage, or with
// "redis" in a Redis of its own.
const testState = "VIPPS_TEST_STATE"

// UseRedis starts a Redis for the shared state of the Caddys that start from here on. With it, nothing of ours may be in Caddy's
// storage at the end.
func (w *World) UseRedis(args ...string) {
	w.T.Helper()
	w.Redis = redistest.Start(w.T, args...)
	w.T.Cleanup(func() {
		if w.Redis == nil { // UseFiles
			return
		}
		WalkFiles(w.T, os.DirFS(w.Storage), func(name string, _ []byte) {
			if strings.HasPrefix(name, "vipps_login") {
				w.T.Errorf("with Redis, %s is in Caddy's storage", name)
			}
		})
	})
}

// UseFiles has the shared state in Caddy's storage, whatever the environment says: for tests that are about its files.
func (w *World) UseFiles() { w.Redis = nil }

// LoseState deletes all of the shared state, as a server does that comes back without its data.
func (w *World) LoseState() {
	w.T.Helper()
	if w.Redis != nil {
		w.Redis.Do("FLUSHALL")
		return
	}
	if err := os.RemoveAll(filepath.Join(w.Storage, "vipps_login")); err != nil {
		w.T.Fatal(err)
	}
}

// InstanceLogs returns what the instances have logged.
func (w *World) InstanceLogs() (logged string) {
	w.T.Helper()
	for _, log := range w.logs {
		content, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.T.Fatal(err)
		}
		logged += string(content)
	}
	return logged
}

// state is the line of the global option that says where the shared state is.
func (w *World) state() string {
	if w.Redis == nil {
		return ""
	}
	return fmt.Sprintf("\t\tstate redis {\n\t\t\taddress %s\n\t\t\ttimeout 1s\n\t\t}\n", w.Redis.Address())
}

// Shop is the address of a site on plain HTTP.
func (w *World) Shop(host string) string { return fmt.Sprintf("http://%s:%d", host, w.HTTP) }

// SecureShop is the address of a site on HTTPS.
func (w *World) SecureShop(host string) string { return fmt.Sprintf("https://%s:%d", host, w.HTTPS) }

// Globals are the global options of every Caddyfile of the tests.
func (w *World) Globals() string {
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
%s	}
}
`, w.Storage, w.LogFile, PartnerID, PartnerSecret, PartnerKey, CookieSecret, w.state())
}

// Load runs a Caddy with these sites, once the one that runs has stopped.
func (w *World) Load(sites string) {
	w.T.Helper()
	w.LoadWhole(w.Globals() + sites)
}

// LoadWhole is Load of a whole Caddyfile, global options included.
func (w *World) LoadWhole(caddyfile string) {
	w.T.Helper()
	if err := caddy.Stop(); err != nil {
		w.T.Fatal(err)
	}
	w.Reload(caddyfile)
}

// Reload gives the running Caddy another config.
func (w *World) Reload(caddyfile string) {
	w.T.Helper()
	if err := w.TryLoad(caddyfile); err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() { _ = caddy.Stop() })
}

// TryLoad gives the running Caddy another config, and returns what is wrong with it.
func (w *World) TryLoad(caddyfile string) error {
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(w.Vars.Replace(caddyfile)), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		if !strings.Contains(warning.Message, "not formatted") {
			w.T.Errorf("caddyfile: %s", warning)
		}
	}
	return caddy.Load(config, true)
}

// Logged returns what Caddy has logged so far.
func (w *World) Logged() string {
	w.T.Helper()
	content, err := os.ReadFile(w.LogFile)
	if err != nil {
		w.T.Fatal(err)
	}
	return string(content)
}

// TwoShops is the Caddyfile that most tests use.
const TwoShops = `
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

// RandomText returns n letters that do not compress.
func RandomText(n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[rand.IntN(64)]
	}
	return string(text)
}

// NewCertificate makes a certificate for the sites on HTTPS, and returns its files.
func NewCertificate(t testing.TB) (cert, key string) {
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

// WalkFiles reads every file.
func WalkFiles(t testing.TB, root fs.FS, visit func(name string, content []byte)) {
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

// SiteWith is a site of MSN 123456 with lines in its directive.
func SiteWith(lines string) string {
	return "http://shop-a.localhost:$HTTP {\n\tvipps_login 123456 {\n\t\t" + lines + "\n\t}\n\treverse_proxy $UPSTREAM\n}\n"
}
