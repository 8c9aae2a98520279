package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/simulator"
)

// OverHTTP2 has the simulator speak HTTPS and HTTP/2.
var OverHTTP2 bool

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
	Sim *simulator.Simulator

	Mutex   sync.Mutex
	calls   map[string]int
	Seen    []*http.Request
	answers map[string]http.HandlerFunc
}

// The paths of Vipps MobilePay.
const (
	PathDiscovery   = "/access-management-1.0/access/.well-known/openid-configuration"
	PathKeys        = "/access-management-1.0/access/.well-known/jwks.json"
	PathAuth        = "/access-management-1.0/access/oauth2/auth"
	PathToken       = "/access-management-1.0/access/oauth2/token"
	PathUserinfo    = "/vipps-userinfo-api/userinfo"
	PathAccessToken = "/accesstoken/get"
)

// simulatorConfig is that of a World, but for its merchants.
func simulatorConfig() simulator.Config {
	users := simulator.DefaultUsers()
	for _, number := range ManyNumbers(50) {
		users = append(users, simulator.User{Name: "Person " + number, PhoneNumber: number, Birthdate: "1980-01-01"})
	}
	return simulator.Config{
		Partner: simulator.Partner{ClientID: PartnerID, ClientSecret: PartnerSecret, SubscriptionKey: PartnerKey},
		Users:   users, PollInterval: caddy.Duration(time.Second),
	}
}

func newVipps(t testing.TB, config simulator.Config) *vipps {
	t.Helper()
	sim, err := simulator.New(config)
	if err != nil {
		t.Fatal(err)
	}
	v := &vipps{Sim: sim, calls: make(map[string]int), answers: make(map[string]http.HandlerFunc)}
	v.Server = httptest.NewUnstartedServer(v)
	if OverHTTP2 {
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
	v.Mutex.Lock()
	v.calls[r.URL.Path]++
	v.Seen = append(v.Seen, r)
	answer := v.answers[r.URL.Path]
	v.Mutex.Unlock()
	copied := &tee{ResponseWriter: w}
	defer Collected.addAnswer(r.URL.Path, copied)
	if answer != nil {
		answer(copied, r)
		return
	}
	v.Sim.ServeHTTP(copied, r)
}

// Answer puts handler in the place of the simulator for one path; nil takes it away.
func (v *vipps) Answer(path string, handler http.HandlerFunc) {
	v.Mutex.Lock()
	defer v.Mutex.Unlock()
	v.answers[path] = handler
}

// Counted returns how often the server-to-server paths were called, and begins anew.
func (v *vipps) Counted() map[string]int {
	v.Mutex.Lock()
	defer v.Mutex.Unlock()
	calls := maps.Clone(v.calls)
	maps.DeleteFunc(calls, func(path string, _ int) bool {
		return path == PathAuth || strings.HasPrefix(path, "/_simulator")
	})
	clear(v.calls)
	return calls
}

// Requests returns the requests to one path.
func (v *vipps) Requests(path string) []*http.Request {
	v.Mutex.Lock()
	defer v.Mutex.Unlock()
	var found []*http.Request
	for _, r := range v.Seen {
		if r.URL.Path == path {
			found = append(found, r)
		}
	}
	return found
}

// ManyNumbers returns the phone numbers of n people who can log in.
func ManyNumbers(n int) []string {
	var numbers []string
	for i := range n {
		numbers = append(numbers, fmt.Sprintf("47410%05d", i))
	}
	return numbers
}

// ListenAgain undoes that the listener was closed.
func (v *vipps) ListenAgain(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	again := httptest.NewUnstartedServer(v)
	again.Listener.Close()
	again.Listener = listener
	again.Start()
	t.Cleanup(again.Close)
	v.Server = again
}
