// Command phone measures 1,000 logins from phone numbers that are pending at once on one Caddy, each
// with a client that waits: memory, calls to Vipps MobilePay, and how soon an answer reaches its
// client. Everything is on this machine, bounded, and ends by itself.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

const (
	logins   = 1000
	interval = 5 * time.Second // between two polls of one login, as Vipps MobilePay has it
	watched  = 20 * time.Second

	apiKey        = "api-key-of-the-load-test-of-at-least-32-characters"
	webhookSecret = "webhook-secret-of-the-load-test"
)

var (
	binary   = flag.String("caddy", "", "a Caddy to measure in place of this one, which is then not built")
	profiles = flag.String("profiles", "", "a folder for profiles of the Caddy while clients wait and while they are answered (go tool pprof)")
	chosen   = flag.String("rounds", "bare,steady,unpinged,single,burst", "what to measure, in this order")
)

// rounds are the ways in which waiting clients get their answers.
var rounds = map[string]struct {
	about  string
	limit  time.Duration // for the slowest
	answer func(*bench, []*login) error
}{
	"steady":   {"100 pings a second", time.Second, func(b *bench, all []*login) error { return b.answerSteadily(all, true) }},
	"unpinged": {"without a ping", interval, func(b *bench, all []*login) error { return b.answerSteadily(all, false) }},
	"single":   {"one ping at a time", time.Second, (*bench).answerSingly},
	"burst":    {"1,000 pings at once", 5 * time.Second, (*bench).answerAtOnce},
}

func main() {
	if os.Getenv(waitingCaddy) != "" {
		caddycmd.Main()
		return
	}
	flag.Parse()
	if err := run(strings.Split(*chosen, ",")); err != nil {
		log.Fatal(err)
	}
}

func run(names []string) error {
	folder, err := os.MkdirTemp("", "vippslogin-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b := &bench{folder: folder, client: client(logins), hooks: client(8)}
	if len(names) > 0 && names[0] == "bare" {
		names = names[1:]
		if err := b.measureBare(); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := b.startVipps(len(names)); err != nil {
		return err
	}
	defer b.vipps.Close()
	if err := b.startPlugin(); err != nil {
		return err
	}
	defer b.stopCaddy()
	return b.measure(names)
}

// client returns an HTTP client that keeps so many connections which it does not need now.
func client(connections int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}, Timeout: 2 * time.Minute}
}

func (b *bench) measure(names []string) error {
	if _, err := b.call("POST", "/vipps/phone/exists", `{"phone_number":"`+number(0)+`"}`); err != nil { // warm
		return err
	}
	idle := b.memory()
	fmt.Printf("%d logins at once, interval %s; the idle process has %.1f MiB\n", logins, interval, idle)
	for i, name := range names {
		round, ok := rounds[name]
		if !ok {
			return fmt.Errorf("there is no round %q", name)
		}
		all, err := b.startLogins(i * logins)
		if err != nil {
			return err
		}
		b.waitForAll(all)
		if err := b.watch(name, idle); err != nil {
			return err
		}
		began := b.cpu()
		stop := b.profileCPU(name)
		if err := round.answer(b, all); err != nil {
			return err
		}
		if err := report(round.about, round.limit, all); err != nil {
			return err
		}
		fmt.Printf("%s: %s of CPU\n", round.about, b.cpu()-began)
		if err := stop(); err != nil {
			return err
		}
	}
	return nil
}

// watch looks at the Caddy while all clients wait.
func (b *bench) watch(name string, idle float64) error {
	before, began := b.polls.Load(), b.cpu()
	most := idle
	for end := time.Now().Add(watched); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		most = max(most, b.memory())
	}
	rate := float64(b.polls.Load()-before) / watched.Seconds()
	fmt.Printf("waiting: %.1f MiB over idle (at most 64), %.1f polls a second (at most %.0f), %d answered slow_down, %.2f of a core\n",
		most-idle, rate, logins/interval.Seconds(), b.sim.Calls()["slow_down"], (b.cpu()-began).Seconds()/watched.Seconds())
	return b.profileWaiting(name)
}
