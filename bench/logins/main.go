// Command logins measures complete browser logins, as many at a time as the machine is fast: from a page
// that needs a login over the simulator's consent page to that page. The Caddy, the simulator and the
// browsers are a process each on this machine; everything is bounded, and ends by itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddy-vipps/vippslogin/bench/rig"
)

func main() {
	if rig.Child() {
		return
	}
	p := plan{useCaddy: (*rig.Rig).BuildCaddy}
	flag.IntVar(&p.logins, "logins", 1000, "how many people log in")
	flag.IntVar(&p.atOnce, "at-once", 16, "how many do so at the same time")
	flag.DurationVar(&p.profiled, "profiled", 10*time.Second, "how long logins go on for a CPU profile; 0 for none")
	flag.StringVar(&p.profiles, "profiles", "", "a folder to keep the CPU profiles in")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Println(rig.Machine())
	for _, secure := range []bool{false, true} {
		if err := run(ctx, p, secure, os.Stdout); err != nil {
			stop()
			log.Fatal(err)
		}
	}
}

// plan is how much is measured.
type plan struct {
	logins, atOnce int
	profiled       time.Duration
	profiles       string // "": they are not kept
	useCaddy       func(*rig.Rig) error
}

// bench is what runs.
type bench struct {
	plan
	vipps  *rig.Vipps
	caddy  *rig.Process
	admin  string
	client *http.Client // of the browsers
	page   string
}

func run(ctx context.Context, p plan, secure bool, out io.Writer) error {
	r, err := rig.New(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := p.useCaddy(r); err != nil {
		return err
	}
	b, err := start(r, p, secure)
	if err != nil {
		return err
	}
	if err := b.measure(ctx, out); err != nil {
		return err
	}
	if p.profiled <= 0 {
		return nil
	}
	folder := p.profiles
	if folder == "" {
		folder = r.Folder
	}
	return b.profile(ctx, filepath.Join(folder, "logins-"+b.scheme()+".prof"), out)
}

// scheme is how the Caddy calls Vipps MobilePay.
func (b *bench) scheme() string {
	scheme, _, _ := strings.Cut(b.vipps.URL, ":")
	return scheme
}

func start(r *rig.Rig, p plan, secure bool) (*bench, error) {
	port, err := rig.Port()
	if err != nil {
		return nil, err
	}
	b := &bench{plan: p, client: rig.Client(p.atOnce), page: fmt.Sprintf("http://localhost:%d/", port)}
	if b.vipps, err = r.StartVipps(secure, b.page+"vipps/callback"); err != nil {
		return nil, err
	}
	if b.admin, err = rig.Admin(); err != nil {
		return nil, err
	}
	site := fmt.Sprintf(`%s {
	bind 127.0.0.1
	vipps_login %s {
		scope openid name phoneNumber email birthDate address
	}
	respond hello
}
`, strings.TrimSuffix(b.page, "/"), rig.MSN)
	var environment []string
	if secure {
		environment = []string{"SSL_CERT_FILE=" + b.vipps.RootFile}
	}
	b.caddy, err = r.StartCaddy("caddy", r.GlobalOptions("caddy", b.admin, b.vipps.PluginOptions())+site, environment...)
	return b, err
}

// measure has everybody log in. The first login warms up: it fetches the discovery document, the keys and
// the partner's token, which serve all others.
func (b *bench) measure(ctx context.Context, out io.Writer) error {
	if _, err := rig.Login(b.client, b.page); err != nil {
		return err
	}
	callsBefore, trafficBefore, err := b.atVipps()
	if err != nil {
		return err
	}
	cpuBefore, err := b.caddy.CPU()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.logIn(ctx, func(n int64) bool { return n <= int64(b.logins) }); err != nil {
		return err
	}
	took := time.Since(began)
	cpu, err := b.caddy.CPU()
	if err != nil {
		return err
	}
	calls, traffic, err := b.atVipps()
	if err != nil {
		return err
	}
	for name := range calls {
		calls[name] -= callsBefore[name]
	}
	fmt.Fprintf(out, "\n%d logins, %d at once, Vipps MobilePay on %s: %.0f logins/s, %.2f ms CPU for a login in the Caddy\n",
		b.logins, b.atOnce, b.scheme(), float64(b.logins)/took.Seconds(), float64((cpu-cpuBefore).Microseconds())/1000/float64(b.logins))
	return b.check(out, calls, traffic, trafficBefore)
}

// check holds the calls to Vipps MobilePay to what a login may cost: two, on connections that are kept.
func (b *bench) check(out io.Writer, calls map[string]int, traffic, before rig.VippsTraffic) error {
	made := calls["token"] + calls["userinfo"]
	others := calls["discovery"] + calls["jwks"] + calls["accesstoken"] + calls["backchannel"] + calls["exists"] + calls["other"]
	// The browsers open connections to the simulator too, which speak HTTP/1.1.
	fmt.Fprintf(out, "calls to Vipps MobilePay: %d for tokens, %d for claims, %d others; %d new connections of Caddy and browsers together; %d requests on HTTP/2\n",
		calls["token"], calls["userinfo"], others, traffic.Connections-before.Connections, traffic.HTTP2-before.HTTP2)
	var wrong []error
	if calls["token"] != b.logins || calls["userinfo"] != b.logins || others != 0 {
		wrong = append(wrong, fmt.Errorf("%d calls to Vipps MobilePay for %d logins, want exactly 2 each", made+others, b.logins))
	}
	if opened := traffic.Connections - before.Connections; opened > int64(4*b.atOnce) {
		wrong = append(wrong, fmt.Errorf("%d connections were opened: they are not kept", opened))
	}
	if b.vipps.RootFile != "" && traffic.HTTP2-before.HTTP2 != int64(made) {
		wrong = append(wrong, fmt.Errorf("%d of %d calls were on HTTP/2", traffic.HTTP2-before.HTTP2, made))
	}
	return errors.Join(wrong...)
}

func (b *bench) atVipps() (map[string]int, rig.VippsTraffic, error) {
	calls, err1 := b.vipps.Calls(b.client)
	traffic, err2 := b.vipps.Traffic(b.client)
	return calls, traffic, errors.Join(err1, err2)
}

// logIn has one after the other log in, so many at once, while more says so of the next one's number.
func (b *bench) logIn(ctx context.Context, more func(n int64) bool) error {
	var next atomic.Int64
	failures := make([]error, b.atOnce)
	var all sync.WaitGroup
	for i := range b.atOnce {
		all.Go(func() {
			for ctx.Err() == nil && failures[i] == nil && more(next.Add(1)) {
				_, failures[i] = rig.Login(b.client, b.page)
			}
		})
	}
	all.Wait()
	return errors.Join(append(failures, ctx.Err())...)
}

// profile says what the Caddy computes during logins.
func (b *bench) profile(ctx context.Context, file string, out io.Writer) error {
	var done atomic.Bool
	written := make(chan error, 1)
	go func() {
		written <- rig.Profile(b.admin, file, b.profiled)
		done.Store(true)
	}()
	if err := b.logIn(ctx, func(int64) bool { return !done.Load() }); err != nil {
		return err
	}
	if err := <-written; err != nil {
		return err
	}
	top, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-cum", "-nodecount=400", file).Output()
	if err != nil {
		return fmt.Errorf("go tool pprof: %w", err)
	}
	for line := range strings.Lines(string(top)) {
		for _, part := range shown {
			if strings.HasSuffix(strings.TrimSpace(line), part.function) {
				fmt.Fprintf(out, "%7s  %s\n", strings.Fields(line)[4], part.title)
			}
		}
	}
	return nil
}

// shown are the parts of a login whose shares of the Caddy's CPU time are told. Some are in others.
var shown = []struct{ function, title string }{
	{"vippslogin.(*Handler).ServeHTTP", "the plugin, of the whole process"},
	{"vippslogin.(*Handler).startLogin", "  the start of a login"},
	{"vippslogin.(*Handler).serveCallback", "  its end"},
	{"vippslogin.(*partnerClient).do", "    calls to Vipps MobilePay, the waiting aside"},
	{"crypto/rsa.VerifyPKCS1v15", "    the signature of the ID token (RSA)"},
	{"vippslogin.sealSession", "    sealing the session"},
	{"net/http.(*persistConn).writeLoop", "sending to Vipps MobilePay (HTTP/1.1)"},
	{"net/http.(*persistConn).readLoop", "receiving from Vipps MobilePay (HTTP/1.1)"},
	{"net/http.(*http2ClientConn).readLoop", "receiving from Vipps MobilePay (HTTP/2)"},
	{"internal/runtime/syscall/linux.Syscall6", "system calls, of the whole process"},
	{"runtime.gcBgMarkWorker", "the garbage collector"},
}
