package rig

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// role makes, of options in JSON, what a child serves.
type role func(options []byte) (serve func(net.Listener) error, err error)

var roles = map[string]role{"upstream": upstream, "vipps": vipps}

// HeadersPath is where the upstream tells the headers that it was sent.
const HeadersPath = "/_bench/headers"

// StartUpstream starts a site that says hello.
func (r *Rig) StartUpstream() (*Process, error) { return r.startSelf("upstream", nil) }

func upstream([]byte) (func(net.Listener) error, error) {
	hello := []byte("hello")
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == HeadersPath {
			_ = json.NewEncoder(w).Encode(r.Header)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(hello)
	})}
	return server.Serve, nil
}

// The keys of the partner, and the MSN of the only merchant.
const (
	ClientID        = "bench-partner"
	ClientSecret    = "bench-partner-secret"
	SubscriptionKey = "bench-subscription-key"
	MSN             = "123456"
	Phone           = "4712345678" // of the only person
)

// Vipps is a simulator in a process of its own.
type Vipps struct {
	*Process
	URL      string // of the scheme and host that Caddy calls
	RootFile string // the certificate it has on HTTPS, for SSL_CERT_FILE
}

// VippsTraffic is what has come to the simulator so far.
type VippsTraffic struct {
	Connections int64 // that were opened
	HTTP2       int64 // requests
	Requests    int64
}

const trafficPath = "/_bench/traffic"

type vippsOptions struct {
	RedirectURIs []string
	Cert, Key    string // files; "" for plain HTTP
}

// StartVipps starts a simulator that knows one merchant and one person, who has three addresses.
func (r *Rig) StartVipps(secure bool, redirectURIs ...string) (*Vipps, error) {
	options := vippsOptions{RedirectURIs: redirectURIs}
	scheme := "http"
	if secure {
		scheme = "https"
		options.Cert, options.Key = filepath.Join(r.Folder, "vipps.pem"), filepath.Join(r.Folder, "vipps.key")
		if err := writeCertificate(options.Cert, options.Key); err != nil {
			return nil, err
		}
	}
	p, err := r.startSelf("vipps", options)
	if err != nil {
		return nil, err
	}
	return &Vipps{Process: p, URL: scheme + "://" + p.Address, RootFile: options.Cert}, nil
}

func vipps(raw []byte) (func(net.Listener) error, error) {
	var options vippsOptions
	if err := json.Unmarshal(raw, &options); err != nil {
		return nil, err
	}
	sim, err := simulator.New(simulator.Config{
		Partner:   simulator.Partner{ClientID: ClientID, ClientSecret: ClientSecret, SubscriptionKey: SubscriptionKey},
		Merchants: []simulator.Merchant{{MSN: MSN, RedirectURIs: options.RedirectURIs}},
		Users:     []simulator.User{person()},
	})
	if err != nil {
		return nil, err
	}
	var connections, http2, requests atomic.Int64
	server := &http.Server{
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == trafficPath {
				_ = json.NewEncoder(w).Encode(VippsTraffic{connections.Load(), http2.Load(), requests.Load()})
				return
			}
			requests.Add(1)
			if r.ProtoMajor == 2 {
				http2.Add(1)
			}
			sim.ServeHTTP(w, r)
		}),
	}
	if options.Cert == "" {
		return server.Serve, nil
	}
	return func(l net.Listener) error { return server.ServeTLS(l, options.Cert, options.Key) }, nil
}

// person has about 1.2 KiB of claims.
func person() simulator.User {
	home := simulator.Address{Street: "Bjørnstjerne Bjørnsons plass 1\nOppgang B, leilighet H0402", PostalCode: "0154", Region: "Oslo", Country: "NO", Type: "home"}
	work, other := home, home
	work.Type, other.Type = "work", "other"
	return simulator.User{
		Name: "Kari Nordmann", PhoneNumber: Phone, Email: "kari.nordmann@example.no", Birthdate: "1990-05-17",
		Addresses: []simulator.Address{home, work, other},
	}
}

// writeCertificate makes a certificate for this machine, which is its own root.
func writeCertificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)
}

// Traffic asks the simulator what has come to it.
func (v *Vipps) Traffic(client *http.Client) (VippsTraffic, error) {
	var traffic VippsTraffic
	return traffic, getJSON(client, v.URL+trafficPath, &traffic)
}

// Calls asks the simulator how often each endpoint was called.
func (v *Vipps) Calls(client *http.Client) (map[string]int, error) {
	var calls map[string]int
	return calls, getJSON(client, v.URL+"/_simulator/calls", &calls)
}

func getJSON(client *http.Client, address string, into any) error {
	resp, err := client.Get(address)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// Client is for a browser of the measurements, with so many connections kept. It takes the simulator's
// certificate.
func Client(connections int) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			MaxIdleConnsPerHost: connections, DisableCompression: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // on loopback, and made up a moment ago
		},
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// GlobalOptions are those of every Caddy of a measurement: only what is given more differs. admin is the
// address of the admin API, or off.
func (r *Rig) GlobalOptions(name, admin string, more ...string) string {
	return `{
	admin ` + admin + `
	persist_config off
	auto_https off
	storage file_system "` + filepath.Join(r.Folder, "storage-"+name) + `"
	log {
		output file "` + filepath.Join(r.Folder, name+".log") + `"
	}
	servers {
		protocols h1
	}
` + strings.Join(more, "\n") + `
}
`
}

// PluginOptions is the global option of the plugin.
func (v *Vipps) PluginOptions() string {
	return `	vipps_login {
		environment ` + v.URL + `
		client_id ` + ClientID + `
		client_secret ` + ClientSecret + `
		subscription_key ` + SubscriptionKey + `
		cookie_secret a-cookie-secret-for-measurements-of-32-bytes-and-more
	}`
}
