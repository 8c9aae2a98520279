package stacks_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/harness"
	"github.com/caddy-vipps/vippslogin/simulator"
)

const (
	balancing  = "examples/load-balancer/"
	publicShop = "https://shop-a.localhost" // on port 443, which is the load balancer's to the browsers here
	clientIP   = "127.0.0.9"                // the load balancers have 127.0.0.1
)

// front is a load balancer in front of two instances that share storage, all as the files of examples/load-balancer say.
type front struct {
	*harness.World
	m         *machine
	cert, key string
	options   string // of the example's servers
	sites     string // of the example
	instances [2]*harness.Instance
	ports     [2]int
	// postOverHTTP2 is false for HAProxy, which has HTTP/2 clients repeat a POST (README.md of the example).
	postOverHTTP2 bool
}

var serversOption = regexp.MustCompile(`(?ms)^\tservers \{\n.*?^\t\}\n`)

// newFront starts the instances, with an example's Caddyfile: texts of it and what they are here, in turn.
func newFront(t *testing.T, caddyfile string, here ...string) *front {
	t.Helper()
	f := &front{m: newMachine(t), ports: [2]int{freeport.New(t), freeport.New(t)}, postOverHTTP2: true}
	f.World = harness.WorldWith(t, func(*harness.World) []simulator.Merchant {
		return []simulator.Merchant{{MSN: "123456", RedirectURIs: []string{publicShop + "/vipps/callback"}}}
	})
	f.cert, f.key = harness.NewCertificate(t)
	if !slices.Contains(here, "vipps_login 123456") {
		here = append(here, "vipps_login 123456", "vipps_login 123456 {\n\t\theader_limit 16KiB\n\t}")
	}
	options, sites, _ := strings.Cut(f.m.from(balancing+caddyfile, append(here, "10.0.0.5/32", "127.0.0.1/32",
		"127.0.0.1:8000", strings.TrimPrefix(f.Upstream.URL, "http://"), "{client_ip}", "{client_ip}\n\t\theader_up X-Instance INSTANCE")...), "\n}\n")
	f.options, f.sites = serversOption.FindString(options), sites
	for i := range f.instances {
		f.startInstance(i, f.sites)
	}
	return f
}

// startInstance starts one of the instances, at its port: again, where it has been stopped.
func (f *front) startInstance(i int, sites string) {
	f.T.Helper()
	port := fmt.Sprint(f.ports[i])
	sites = strings.NewReplacer("INSTANCE", string(rune('a'+i)), "http:// {", "http://:"+port+" {", "http://shop.example.no {", "http://shop-a.localhost:"+port+" {",
		"\nshop.example.no {", fmt.Sprintf("\nhttps://shop-a.localhost:%s {\n\ttls %s %s", port, f.cert, f.key)).Replace(sites)
	options := []string{"\tservers {\n\t\tprotocols h1 h2\n\t}\n", f.options}
	if strings.Contains(sites, "\nhttps://") { // the load balancer tells its own port in the PROXY protocol: 443, to the browsers here
		options = append(options, "admin off", "admin off\n\thttps_port "+f.m.port("BALANCER"))
	}
	f.instances[i] = f.StartChangedInstance(f.ports[i], sites, strings.NewReplacer(options...))
}

// config is a load balancer's config, as it is here.
func (f *front) config(file string, here ...string) string {
	f.T.Helper()
	text := f.m.from(balancing+file, here...)
	for i, address := range []string{"10.0.0.11", "10.0.0.12"} {
		text = regexp.MustCompile(regexp.QuoteMeta(address)+`:(80|443)\b`).ReplaceAllString(text, fmt.Sprintf("127.0.0.1:%d", f.ports[i]))
	}
	return f.m.write("shop"+filepath.Ext(file), strings.ReplaceAll(text, "shop.example.no", "shop-a.localhost"))
}

func (f *front) nginx() {
	f.config("nginx.conf", "listen 80;", "listen 127.0.0.1:$PLAIN;", "listen 443 ", "listen 127.0.0.1:$BALANCER ", "fail_timeout=10s", "fail_timeout=1s",
		"/etc/ssl/shop.example.no.pem", f.cert, "/etc/ssl/shop.example.no.key", f.key)
	f.m.start([]string{"BALANCER", "PLAIN"}, "/usr/sbin/nginx", "-e", "stderr", "-p", f.m.run, "-c", f.m.config("balancer-nginx.conf"))
	f.m.ready()
}

func (f *front) apache() {
	f.config("apache.conf", "*:80>", "127.0.0.1:$PLAIN>", "*:443>", "127.0.0.1:$BALANCER>", "retry=10", "retry=1", "hcinterval=2", "hcinterval=100ms",
		"/etc/ssl/shop.example.no.pem", f.cert, "/etc/ssl/shop.example.no.key", f.key)
	f.m.start([]string{"BALANCER", "PLAIN"}, "/usr/sbin/apache2", "-DFOREGROUND", "-f", f.m.config("balancer-apache.conf"))
	f.m.ready()
}

func (f *front) haproxy() { f.startHAProxy("inter 2s", "inter 100ms") }

func (f *front) startHAProxy(here ...string) {
	f.postOverHTTP2 = false
	both := f.m.write("both.pem", f.m.read(f.cert)+f.m.read(f.key))
	config := f.config("haproxy.cfg", append(here, "bind :80", "bind 127.0.0.1:$PLAIN", "bind :443", "bind 127.0.0.1:$BALANCER", "/etc/ssl/shop.example.no.both.pem", both)...)
	f.m.start([]string{"BALANCER", "PLAIN"}, "haproxy", "-db", "-f", config)
	f.m.ready()
}

// caddy is the Caddy of this process, without the plugin.
func (f *front) caddy() {
	options, _, _ := strings.Cut(f.Globals(), "\tvipps_login {")
	config := f.config("Caddyfile.front", "\nshop.example.no {", fmt.Sprintf("\nhttps://shop-a.localhost:$BALANCER {\n\tbind 127.0.0.1\n\ttls %s %s", f.cert, f.key), "health_interval 2s", "health_interval 100ms")
	f.LoadWhole(options + "}\n" + f.m.read(config))
}

func (f *front) nginxTCP() {
	f.config("nginx-tcp.conf", "listen 443;", "listen 127.0.0.1:$BALANCER;", "fail_timeout=10s", "fail_timeout=1s")
	f.m.start([]string{"BALANCER"}, "/usr/sbin/nginx", "-e", "stderr", "-p", f.m.run, "-c", f.m.config("balancer-nginx-tcp.conf"))
	f.m.ready()
}

func (f *front) haproxyTCP() {
	config := f.config("haproxy-tcp.cfg", "bind :443", "bind 127.0.0.1:$BALANCER", "inter 2s", "inter 100ms")
	f.m.start([]string{"BALANCER"}, "haproxy", "-db", "-f", config)
	f.m.ready()
}

// traefik is not packaged by Debian: the environment variable TRAEFIK says where it is.
func (f *front) traefik() {
	shop := f.config("traefik-shop.yml", "interval: 2s", "interval: 100ms", "/etc/ssl/shop.example.no.pem", f.cert, "/etc/ssl/shop.example.no.key", f.key)
	static := f.m.write("traefik.yml", f.m.from(balancing+"traefik.yml", `":80"`, `"127.0.0.1:$PLAIN"`, `":443"`, `"127.0.0.1:$BALANCER"`, "to: websecure", `to: ":443"`, "/etc/traefik/shop.yml", shop)+
		"\nglobal:\n  checkNewVersion: false\n")
	f.m.start([]string{"BALANCER", "PLAIN"}, os.Getenv("TRAEFIK"), "--configFile="+static)
	f.m.ready()
	harness.WaitFor(f.T, func() bool { // it listens before it has read all
		response, err := f.browser(true).Client.Get(publicShop + "/healthz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusUnauthorized
	})
}

// browser returns one at clientIP, to which port 443 is the load balancer's.
func (f *front) browser(http2 bool) *harness.Browser {
	b := harness.NewBrowser(f.T)
	transport := b.Client.Transport.(*http.Transport)
	transport.ForceAttemptHTTP2 = http2
	direct := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ":443") {
			return fromClient("127.0.0.1:" + f.m.port("BALANCER"))
		}
		return direct(ctx, network, addr)
	}
	return b
}

func fromClient(addr string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientIP)}}
	return dialer.Dial("tcp", addr)
}

// TestBalancers: behind each load balancer that the examples show, with TLS ended there.
func TestBalancers(t *testing.T) {
	type balancer struct {
		name   string
		start  func(*front)
		probes bool // it asks how an instance is, rather than see requests fail
	}
	balancers := []balancer{{"nginx", (*front).nginx, false}, {"Apache", (*front).apache, true}, {"HAProxy", (*front).haproxy, true}, {"Caddy", (*front).caddy, true}}
	if os.Getenv("TRAEFIK") != "" {
		balancers = append(balancers, balancer{"Traefik", (*front).traefik, true})
	}
	for _, b := range balancers {
		t.Run(b.name, func(t *testing.T) {
			stopCaddy(t)
			f := newFront(t, "Caddyfile")
			b.start(f)
			f.redirectsPlainHTTP(b.name)
			f.forwards()
			f.believesNobodyElse()
			f.findsClientIn("6.6.6.6, " + clientIP)
			f.balances(b.probes)
		})
	}
}

// TestProxyProtocol: behind each that passes TLS on and tells the client's address in the PROXY protocol.
func TestProxyProtocol(t *testing.T) {
	for name, start := range map[string]func(*front){"nginx": (*front).nginxTCP, "HAProxy": (*front).haproxyTCP} {
		t.Run(name, func(t *testing.T) {
			stopCaddy(t)
			f := newFront(t, "Caddyfile.proxy-protocol")
			start(f)
			f.wantsOrigin(true, publicShop+":"+f.m.port("BALANCER"), "Host: shop-a.localhost:"+f.m.port("BALANCER"))
			f.hidesForgeries()
			f.balances(false)
		})
	}
	t.Run("TLS ended before", func(t *testing.T) {
		stopCaddy(t)
		f := newFront(t, "Caddyfile.proxy-protocol", "\nshop.example.no {", "\nhttp://shop.example.no {", "vipps_login 123456", "vipps_login 123456 {\n\t\theader_limit 16KiB\n\t\tpublic_origin https://shop-a.localhost\n\t}")
		f.startHAProxy("check inter 2s", "check inter 100ms send-proxy-v2 check-send-proxy")
		f.hidesForgeries()
		f.believesNoOtherPROXY()
		f.balances(false)
	})
}

// stopCaddy stops the Caddy of this process.
func stopCaddy(t *testing.T) {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}
