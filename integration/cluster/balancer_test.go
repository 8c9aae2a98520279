package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// cluster is Caddys on one storage behind a load balancer, which ends TLS and sends every request to any
// of them. It sends one again, to another instance,
//   - when the instance did not take the connection, so that nothing was sent: any request;
//   - when the connection broke before the whole answer had come: GET, HEAD and DELETE.
//
// Anything else that breaks is a 502. nginx does the same by itself.
type cluster struct {
	*harness.World
	sites    string
	members  []*member
	balancer *httptest.Server

	mu       sync.Mutex
	random   *rand.Rand // for the balancer and the killer
	requests int        // through the balancer
	turns    int        // of killer
	turned   chan struct{}
}

// member is one of the cluster: a place where a Caddy runs, most of the time.
type member struct {
	port int

	mu     sync.Mutex
	life   int // how often a Caddy was started here
	caddy  *harness.Instance
	end    ending
	deaths map[int]time.Time // by life: when it was killed
}

type ending string

const (
	runs    ending = ""
	stopped ending = "stopped" // as an operator does
	killed  ending = "killed"  // as kill -9 does
)

const (
	// atField of a request names the member that is to answer it.
	atField = "X-Test-At"
	// cutField of an answer says that an instance ended while it had the request.
	cutField = "X-Test-Cut"
)

// newCluster starts n instances. The addresses of its sites have no port, and begin with https.
func newCluster(w *harness.World, n int, sites string, seed uint64) *cluster {
	c := &cluster{World: w, sites: sites, random: rand.New(rand.NewPCG(seed, 0)), turned: make(chan struct{})}
	for range n {
		c.members = append(c.members, &member{port: freeport.New(w.T), deaths: make(map[int]time.Time)})
	}
	for _, m := range c.members {
		c.start(m)
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true} // each request is thrown anew
	c.balancer = httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "any", r.In.Host
			r.SetXForwarded()
		},
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) { return c.balance(transport, r) }),
	})
	w.T.Cleanup(c.balancer.Close)
	return c
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// start starts a Caddy at m. Vipps MobilePay is told which one it is.
func (c *cluster) start(m *member) {
	c.T.Helper()
	m.mu.Lock()
	life := m.life + 1
	m.mu.Unlock()
	started := c.StartChangedInstance(m.port, c.sites, strings.NewReplacer(
		"grace_period 1s", "grace_period 20s",
		"protocols h1 h2", "protocols h1 h2\n\t\ttrusted_proxies static 127.0.0.0/8",
		"vipps_login {\n\t\tenvironment", fmt.Sprintf("vipps_login {\n\t\tsystem %d %d\n\t\tenvironment", m.port, life)))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life, m.caddy, m.end = life, started, runs
}

// finish ends the Caddy at m.
func (m *member) finish(how ending) {
	m.mu.Lock()
	m.end = how // first: whoever is cut off by it finds it said
	if how == killed {
		m.deaths[m.life] = time.Now()
	}
	m.mu.Unlock()
	if how == killed {
		m.caddy.Kill()
	} else {
		m.caddy.Stop()
	}
}

func (m *member) state() (life int, end ending) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life, m.end
}

func (m *member) up() bool {
	_, end := m.state()
	return end == runs
}

// diedAfter reports whether the Caddy that had that life here was killed, and how long after at.
func (m *member) diedAfter(life int, at time.Time) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	died, ok := m.deaths[life]
	return died.Sub(at), ok
}

// order is the order in which the balancer tries the members.
func (c *cluster) order(r *http.Request) []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if at, err := strconv.Atoi(r.Header.Get(atField)); err == nil {
		return c.members[at : at+1]
	}
	var order []*member
	for range 5 { // one that was down may have come up meanwhile
		for _, i := range c.random.Perm(len(c.members)) {
			order = append(order, c.members[i])
		}
	}
	return order
}

func (c *cluster) balance(transport *http.Transport, r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	var cut ending
	for _, m := range c.order(r) {
		life, _ := m.state()
		resp, err := send(transport, r, m, body)
		if err == nil {
			if resp.StatusCode >= 500 {
				c.T.Errorf("%s %s was answered %d (before: %q)", r.Method, r.URL.Path, resp.StatusCode, cut)
			}
			resp.Header.Set(cutField, string(cut))
			return resp, nil
		}
		if refused := new(net.OpError); errors.As(err, &refused) && refused.Op == "dial" {
			continue
		}
		if r.Context().Err() != nil {
			return nil, err // the client has left
		}
		nowAt, end := m.state()
		if nowAt == life && end == runs {
			c.T.Errorf("%s %s: an instance that lives hung up: %v", r.Method, r.URL.Path, err)
		}
		if cut = stopped; nowAt != life || end == killed {
			cut = killed
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodDelete {
			break
		}
	}
	if cut == runs && r.Header.Get(atField) == "" {
		c.T.Errorf("%s %s: no instance took the connection", r.Method, r.URL.Path)
	}
	return &http.Response{
		StatusCode: http.StatusBadGateway, Body: http.NoBody, Header: http.Header{cutField: {string(cut)}}, Request: r,
	}, nil
}

// send sends a request to one member and reads the whole answer.
func send(transport *http.Transport, r *http.Request, m *member, body []byte) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Header.Del(atField)
	out.URL.Host = "127.0.0.1:" + strconv.Itoa(m.port)
	out.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	resp, err := transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	return resp, err
}

// kill kills, stops and starts instances at random moments until done, and at least turns times. One is
// always left. At the end all run.
func (c *cluster) kill(turns int, done <-chan struct{}) {
	c.T.Helper()
	for turn := 0; turn < turns || !isClosed(done); turn++ {
		if turn > 200 {
			c.T.Fatal("it does not end")
		}
		c.await(10 + c.chance(60))
		m, others := c.members[c.chance(len(c.members))], 0
		for _, other := range c.members {
			if other != m && other.up() {
				others++
			}
		}
		switch {
		case !m.up():
			c.start(m)
		case others == 0: // it is the last
		case c.chance(4) == 0:
			m.finish(stopped)
		default:
			m.finish(killed)
		}
		c.turn()
	}
	for _, m := range c.members {
		if !m.up() {
			c.start(m)
		}
	}
}

// await lets a number of requests pass through the balancer: a moment that no clock chooses. Where nobody
// asks for anything it is over soon.
func (c *cluster) await(requests int) {
	c.mu.Lock()
	until := c.requests + requests
	c.mu.Unlock()
	deadline := time.Now().Add(time.Second)
	harness.WaitFor(c.T, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.requests >= until || time.Now().After(deadline)
	})
}

func (c *cluster) chance(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n)
}

// turn wakes those who wait for the killer's next turn.
func (c *cluster) turn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns++
	close(c.turned)
	c.turned = make(chan struct{})
}

// nextTurn waits for the killer.
func (c *cluster) nextTurn() {
	c.mu.Lock()
	turned := c.turned
	c.mu.Unlock()
	select {
	case <-turned:
	case <-time.After(30 * time.Second):
		c.T.Error("the killer has gone")
	}
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// newBrowser returns a browser to which every host on port 443 is the balancer.
func (c *cluster) newBrowser() *harness.Browser {
	b := harness.NewBrowser(c.T)
	transport := b.Client.Transport.(*http.Transport)
	direct := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ":443") {
			addr = c.balancer.Listener.Addr().String()
		}
		return direct(ctx, network, addr)
	}
	return b
}

// at asks one member.
func at(member int) string { return fmt.Sprintf("%s: %d", atField, member) }

// newClusterWorld is a world for a cluster: the one Caddy of this process does not run.
func newClusterWorld(t *testing.T) *harness.World {
	t.Helper()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TILL_API_KEY", harness.APIKey)
	t.Setenv("TILL_OLDER_API_KEY", harness.OlderAPIKey)
	return harness.WorldWith(t, clusterMerchants)
}
