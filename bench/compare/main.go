// Command compare measures what the plugin costs each request: a Caddy with it and a bare one, the same
// binary, are sent the same requests in turn, and the bare one is sent the identity headers as well, in place of the cookies.
// Everything is on this machine, bounded, and ends by itself. It fails if other processes took part in a round.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-vipps/vippslogin/bench/rig"
)

func main() {
	if rig.Child() {
		return
	}
	var p plan
	flag.IntVar(&p.rounds, "rounds", 7, "how often each case is measured on both Caddys")
	flag.DurationVar(&p.duration, "duration", 2*time.Second, "how long each is driven in a round")
	flag.Float64Var(&p.others, "others", 0.05, "the share of the machine's CPU time that other processes may take in a round; more is a failure")
	flag.IntVar(&p.connections, "connections", 32, "how many requests are on their way at once")
	flag.StringVar(&p.only, "case", "", "one case alone: "+strings.Join(caseNames(), ", "))
	binary := flag.String("caddy", "", "another Caddy with the plugin, built already")
	flag.StringVar(&p.profiles, "profiles", "", "a folder for profiles of both Caddys: CPU of one more round of each case, and allocations since the start")
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
	others              float64    // how much of the machine other processes may take
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
	b, err := start(r)
	if err != nil {
		return err
	}
	var results []result
	for _, c := range cases {
		if p.only != "" && p.only != c.name {
			continue
		}
		rounds, err := b.measure(ctx, p, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		report(out, c, rounds)
		results = append(results, result{c, rounds})
		if err := b.profile(ctx, p, c); err != nil {
			return err
		}
	}
	summary(out, results)
	return nil
}
