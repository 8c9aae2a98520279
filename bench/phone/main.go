// Command phone measures 1,000 logins from phone numbers that are pending at once on one Caddy, each
// with a client that waits: memory, calls to Vipps MobilePay, and how soon an answer reaches its
// client. Everything is on this machine, bounded, and ends by itself.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/simulator"
)

const (
	logins   = 1000
	interval = 5 * time.Second // between two polls of one login, as Vipps MobilePay has it
	watched  = 20 * time.Second

	apiKey        = "api-key-of-the-load-test-of-at-least-32-characters"
	webhookSecret = "webhook-secret-of-the-load-test"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	folder, err := os.MkdirTemp("", "vippslogin-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b := &bench{folder: folder, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * logins}, Timeout: 2 * time.Minute}}
	if err := b.startVipps(); err != nil {
		return err
	}
	defer b.vipps.Close()
	if err := b.startCaddy(); err != nil {
		return err
	}
	defer b.caddy.Wait()
	defer b.caddy.Process.Kill()
	return b.measure()
}

type bench struct {
	folder string
	client *http.Client
	sim    *simulator.Simulator
	vipps  *httptest.Server
	polls  atomic.Int64
	caddy  *exec.Cmd
	port   int
}

func (b *bench) startVipps() error {
	config := simulator.Config{
		Partner:      simulator.Partner{ClientID: "id", ClientSecret: "secret", SubscriptionKey: "key"},
		Merchants:    []simulator.Merchant{{MSN: "123456", RedirectURIs: []string{"http://localhost/vipps/phone/callback"}}},
		PollInterval: caddy.Duration(interval),
	}
	for i := range 2 * logins {
		config.Users = append(config.Users, simulator.User{Name: "Person " + number(i), PhoneNumber: number(i), Birthdate: "1980-01-01"})
	}
	var err error
	if b.sim, err = simulator.New(config); err != nil {
		return err
	}
	b.vipps = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/oauth2/token") {
			b.polls.Add(1)
		}
		b.sim.ServeHTTP(w, r)
	}))
	return nil
}

func number(i int) string { return fmt.Sprintf("4741%06d", i) }

func (b *bench) startCaddy() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.port = listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	caddyfile := filepath.Join(b.folder, "Caddyfile")
	err = os.WriteFile(caddyfile, fmt.Appendf(nil, `{
	admin off
	persist_config off
	auto_https off
	storage file_system %q
	log {
		level WARN
	}
	vipps_login {
		environment %s
		client_id id
		client_secret secret
		subscription_key key
	}
}
http://localhost:%d {
	bind 127.0.0.1
	vipps_login 123456 {
		scope openid name phoneNumber
		phone {
			api_key %s
			webhook_secret %s
		}
	}
	respond "hello"
}
`, filepath.Join(b.folder, "storage"), b.vipps.URL, b.port, apiKey, webhookSecret), 0o600)
	if err != nil {
		return err
	}
	binary := filepath.Join(b.folder, "caddy")
	build := exec.Command("go", "-C", "..", "build", "-o", binary, "./cmd/caddy")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	b.caddy = exec.Command(binary, "run", "--config", caddyfile)
	b.caddy.Stderr = os.Stderr
	if err := b.caddy.Start(); err != nil {
		return err
	}
	for range 500 {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(b.port)); err == nil {
			return conn.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("caddy did not start")
}

func (b *bench) measure() error {
	if _, err := b.call("POST", "/vipps/phone/exists", `{"phone_number":"`+number(0)+`"}`); err != nil { // warm
		return err
	}
	idle := b.memory()
	fmt.Printf("%d logins at once, interval %s; the idle process has %.1f MiB\n", logins, interval, idle)
	for round, ping := range []bool{true, false} {
		ids, err := b.startLogins(round * logins)
		if err != nil {
			return err
		}
		answered := b.waitForAll(ids)
		before := b.polls.Load()
		most := idle
		for end := time.Now().Add(watched); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
			most = max(most, b.memory())
		}
		rate := float64(b.polls.Load()-before) / watched.Seconds()
		fmt.Printf("waiting: %.1f MiB over idle (at most 64), %.1f polls a second (at most %.0f), %d answered slow_down\n",
			most-idle, rate, logins/interval.Seconds(), b.sim.Calls()["slow_down"])
		if err := b.answerAll(ids, ping); err != nil {
			return err
		}
		if err := report(ping, ids, answered); err != nil {
			return err
		}
	}
	return nil
}

type login struct {
	id, authReqID string
	acted         time.Time
}

// startLogins starts the logins one after the other, so that each is known by both names.
func (b *bench) startLogins(from int) ([]*login, error) {
	start := time.Now()
	ids := make([]*login, logins)
	for i := range ids {
		body, err := b.call("POST", "/vipps/phone", `{"phone_number":"`+number(from+i)+`"}`)
		if err != nil {
			return nil, err
		}
		var answer struct{ ID string }
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, err
		}
		ids[i] = &login{id: answer.ID}
	}
	byNumber := make(map[string]string, logins)
	for _, l := range b.sim.PhoneLogins() {
		byNumber[l.PhoneNumber] = l.AuthReqID
	}
	for i, l := range ids {
		if l.authReqID = byNumber[number(from+i)]; l.authReqID == "" {
			return nil, errors.New("a login is unknown to Vipps")
		}
	}
	fmt.Printf("started %d logins in %s\n", logins, time.Since(start).Round(time.Millisecond))
	return ids, nil
}

// waitForAll has a client wait for each login, and returns when each was answered.
func (b *bench) waitForAll(ids []*login) *sync.Map {
	answered := new(sync.Map)
	var all sync.WaitGroup
	for _, l := range ids {
		all.Go(func() {
			for range 5 {
				body, err := b.call("GET", "/vipps/phone/"+l.id+"?wait=60", "")
				if err != nil || bytes.Contains(body, []byte(`"status":"complete"`)) {
					answered.Store(l.id, result{time.Now(), err})
					return
				}
			}
			answered.Store(l.id, result{time.Now(), errors.New("never completed")})
		})
	}
	go func() { all.Wait(); answered.Store("all", result{}) }()
	return answered
}

type result struct {
	at  time.Time
	err error
}

// answerAll approves every login over ten seconds, with or without a ping.
func (b *bench) answerAll(ids []*login, ping bool) error {
	tick := time.NewTicker(10 * time.Second / logins)
	defer tick.Stop()
	for _, l := range ids {
		<-tick.C
		if _, err := b.sim.AnswerPhone(l.authReqID, true); err != nil {
			return err
		}
		l.acted = time.Now()
		if !ping {
			continue
		}
		body := `{"auth_req_id":"` + l.authReqID + `"}`
		req, err := http.NewRequest("POST", b.url("/vipps/webhook"), strings.NewReader(body))
		if err != nil {
			return err
		}
		simulator.SignPing(req, []byte(body), webhookSecret, time.Now())
		go func() {
			if resp, err := b.client.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
	}
	return nil
}

func report(ping bool, ids []*login, answered *sync.Map) error {
	for range 600 {
		if _, ok := answered.Load("all"); ok {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	var took []time.Duration
	for _, l := range ids {
		found, ok := answered.Load(l.id)
		if !ok || found.(result).err != nil {
			return fmt.Errorf("a login was lost: %v", found)
		}
		took = append(took, found.(result).at.Sub(l.acted))
	}
	slices.Sort(took)
	kind, limit := "with a ping", time.Second
	if !ping {
		kind, limit = "without", interval
	}
	fmt.Printf("%s: answered after %s (median), %s (99 %%), %s (longest; at most %s)\n", kind,
		took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), limit)
	return nil
}

func (b *bench) url(path string) string { return fmt.Sprintf("http://localhost:%d%s", b.port, path) }

func (b *bench) call(method, path, body string) ([]byte, error) {
	req, err := http.NewRequest(method, b.url(path), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.client.Do(req)
	if err != nil {
		var urlError *url.Error
		if errors.As(err, &urlError) {
			err = urlError.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
	return answer, err
}

// memory is the resident memory of the Caddy in MiB (Linux).
func (b *bench) memory() float64 {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", b.caddy.Process.Pid))
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib / 1024
		}
	}
	return 0
}
