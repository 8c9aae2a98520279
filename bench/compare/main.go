// Command compare measures what the plugin costs each request: a Caddy with it and a bare one, the same
// binary, are sent the same requests in turn. Everything is on this machine, bounded, and ends by itself.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-vipps/vippslogin/bench/rig"
)

func main() {
	if rig.Child() {
		return
	}
	p := plan{connections: 16}
	flag.IntVar(&p.rounds, "rounds", 8, "how often each case is measured on both Caddys")
	flag.DurationVar(&p.duration, "duration", 4*time.Second, "how long each is driven in a round")
	flag.IntVar(&p.connections, "connections", 16, "how many requests are on their way at once")
	flag.StringVar(&p.only, "case", "", "one case alone: "+strings.Join(caseNames(), ", "))
	binary := flag.String("caddy", "", "another Caddy with the plugin, built already")
	flag.StringVar(&p.profiles, "profiles", "", "a folder for CPU profiles of both Caddys, of one more round of each case")
	flag.Parse()
	p.useCaddy = (*rig.Rig).BuildCaddy
	if *binary != "" {
		p.useCaddy = func(r *rig.Rig) error { r.UseCaddy(*binary); return nil }
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, p, os.Stdout); err != nil {
		stop()
		log.Fatal(err)
	}
}

// plan is how much is measured.
type plan struct {
	rounds, connections int
	duration            time.Duration
	only                string
	profiles            string     // "": none
	driver              rig.Driver // nil: the best there is
	useCaddy            func(*rig.Rig) error
}

func run(ctx context.Context, p plan, out io.Writer) error {
	r, err := rig.New(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if p.driver == nil {
		p.driver = rig.BestDriver(r.Folder)
	}
	fmt.Fprintf(out, "%s\ndriven by %s: %d connections, %d rounds of %s for each\n",
		rig.Machine(), p.driver, p.connections, p.rounds, p.duration)
	if err := p.useCaddy(r); err != nil {
		return err
	}
	b, err := start(r, p.profiles != "")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the session's cookies are %d bytes, and give %d headers\n", len(b.session), len(b.identity))
	for _, c := range cases {
		if p.only != "" && p.only != c.name {
			continue
		}
		rounds, err := b.measure(ctx, p, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		report(out, c, rounds)
		if err := b.profile(ctx, p, c); err != nil {
			return err
		}
	}
	return nil
}

// sample is what is measured: somebody who is logged in, or not, at a site of each Caddy.
type sample struct {
	name, title   string
	with, without string // what the sites do
	anonymous     bool   // requests come without a session
	carried       bool   // both Caddys are the bare one, which is sent the identity headers themselves in place of "with"
	status        int
	least         float64 // of the throughput of the bare Caddy; 0: nothing was asked for
	most          float64 // of its CPU time for a request
}

const vippsLogin = `vipps_login ` + rig.MSN + ` {
		scope openid name phoneNumber email birthDate address
	}
	`

// The sites of both Caddys. $UPSTREAM is the address of the upstream.
var cases = []sample{
	{name: "respond", title: "with a session, in front of respond", with: vippsLogin + "respond ok", without: "respond ok", status: http.StatusOK},
	{name: "reverse_proxy", title: "with a session, in front of reverse_proxy", with: vippsLogin + "reverse_proxy $UPSTREAM",
		without: "reverse_proxy $UPSTREAM", status: http.StatusOK, least: 0.95, most: 1.07},
	{name: "floor", title: "the bare Caddy alone, sent the headers that the plugin makes, against sent the cookies",
		with: "reverse_proxy $UPSTREAM", without: "reverse_proxy $UPSTREAM", carried: true, status: http.StatusOK},
	{name: "redirect", title: "without a session: the redirect to Vipps MobilePay, against redir", with: vippsLogin + "respond ok",
		without: "redir https://login.example/", anonymous: true, status: http.StatusFound, most: 1.5},
}

func caseNames() []string {
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
	}
	return names
}

// bench is what runs: two Caddys with a site for each case.
type bench struct {
	with, without *rig.Process
	admin         struct{ with, without string }
	ports         map[string]pair
	session       string      // the Cookie header of somebody who is logged in
	identity      http.Header // what the session gives an upstream
}

type pair struct{ with, without int }

func start(r *rig.Rig, admin bool) (*bench, error) {
	upstream, err := r.StartUpstream()
	if err != nil {
		return nil, err
	}
	b := &bench{ports: make(map[string]pair)}
	b.admin.with, b.admin.without = rig.AdminOff, rig.AdminOff
	if admin {
		if b.admin.with, err = rig.Admin(); err != nil {
			return nil, err
		}
		if b.admin.without, err = rig.Admin(); err != nil {
			return nil, err
		}
	}
	var with, without strings.Builder
	var callbacks []string
	for _, c := range cases {
		ports, err := rig.Ports(2)
		if err != nil {
			return nil, err
		}
		b.ports[c.name] = pair{ports[0], ports[1]}
		site(&with, ports[0], c.with, upstream)
		site(&without, ports[1], c.without, upstream)
		callbacks = append(callbacks, address(ports[0])+"/vipps/callback")
	}
	vipps, err := r.StartVipps(false, callbacks...)
	if err != nil {
		return nil, err
	}
	if b.with, err = r.StartCaddy("with", r.GlobalOptions("with", b.admin.with, vipps.PluginOptions())+with.String()); err != nil {
		return nil, err
	}
	if b.without, err = r.StartCaddy("without", r.GlobalOptions("without", b.admin.without)+without.String()); err != nil {
		return nil, err
	}
	client := rig.Client(1)
	// Cookies are for a host name, whatever the port: one session serves all cases.
	if b.session, err = rig.Login(client, address(b.ports["respond"].with)+"/"); err != nil {
		return nil, err
	}
	b.identity, err = identityHeaders(client, address(b.ports["reverse_proxy"].with), b.session)
	return b, err
}

func address(port int) string { return "http://localhost:" + strconv.Itoa(port) }

func site(caddyfile *strings.Builder, port int, directives string, upstream *rig.Process) {
	fmt.Fprintf(caddyfile, "%s {\n\tbind 127.0.0.1\n\t%s\n}\n", address(port), strings.ReplaceAll(directives, "$UPSTREAM", upstream.Address))
}

// side is one half of a case: a Caddy, and what it is sent.
type side struct {
	process *rig.Process
	admin   string
	url     string
	header  http.Header
}

// sides are both halves of a case.
func (b *bench) sides(c sample) (with, without side) {
	session, identity := rig.BrowserHeader(), rig.BrowserHeader()
	session.Set("Cookie", b.session)
	maps.Copy(identity, b.identity)
	at := func(process *rig.Process, admin string, port int, header http.Header) side {
		header = header.Clone()
		header.Set("Host", "localhost:"+strconv.Itoa(port))
		return side{process, admin, "http://127.0.0.1:" + strconv.Itoa(port) + "/account/orders?page=2", header}
	}
	ports := b.ports[c.name]
	switch {
	case c.carried:
		return at(b.without, b.admin.without, ports.without, identity), at(b.without, b.admin.without, ports.without, session)
	case c.anonymous:
		session.Del("Cookie")
	}
	return at(b.with, b.admin.with, ports.with, session), at(b.without, b.admin.without, ports.without, session)
}

// drive sends the requests of a case to one side.
func (p plan) drive(ctx context.Context, c sample, s side, duration time.Duration) (figures, error) {
	before, err := s.process.CPU()
	if err != nil {
		return figures{}, err
	}
	result, err := p.driver.Run(ctx, rig.Load{
		URL: s.url, Header: s.header, Connections: p.connections, Duration: duration, Status: c.status,
	})
	if err != nil {
		return figures{}, err
	}
	after, err := s.process.CPU()
	return figures{result, float64((after - before).Microseconds()) / float64(result.Requests)}, err
}

// measure drives both Caddys in turn: with, without, without, with, and so on, so that what changes on
// the machine meanwhile falls on both.
func (b *bench) measure(ctx context.Context, p plan, c sample) ([]round, error) {
	with, without := b.sides(c)
	var rounds []round
	for i := -1; i < p.rounds; i++ {
		var now round
		var err1, err2 error
		duration := p.duration
		if i < 0 {
			duration = min(duration, time.Second) // to warm up: connections, the garbage collector, the processor
		}
		if i%2 == 0 {
			now.with, err1 = p.drive(ctx, c, with, duration)
			now.without, err2 = p.drive(ctx, c, without, duration)
		} else {
			now.without, err2 = p.drive(ctx, c, without, duration)
			now.with, err1 = p.drive(ctx, c, with, duration)
		}
		switch {
		case err1 != nil:
			return nil, fmt.Errorf("with the plugin: %w", err1)
		case err2 != nil:
			return nil, fmt.Errorf("without the plugin: %w", err2)
		case i >= 0:
			rounds = append(rounds, now)
		}
	}
	return rounds, nil
}

// profile writes what both Caddys compute meanwhile, if that was asked for.
func (b *bench) profile(ctx context.Context, p plan, c sample) error {
	if p.profiles == "" {
		return nil
	}
	with, without := b.sides(c)
	for name, s := range map[string]side{"with": with, "bare": without} {
		written := make(chan error, 1)
		go func() {
			written <- rig.Profile(s.admin, filepath.Join(p.profiles, c.name+"-"+name+".prof"), p.duration)
		}()
		if _, err := p.drive(ctx, c, s, p.duration+time.Second); err != nil {
			return err
		}
		if err := <-written; err != nil {
			return err
		}
	}
	return nil
}
