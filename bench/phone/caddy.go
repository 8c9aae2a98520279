package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-vipps/vippslogin/bench/rig"
	"github.com/caddy-vipps/vippslogin/simulator"
)

type bench struct {
	folder string
	client *http.Client // of the tills
	hooks  *http.Client // of Vipps MobilePay, which sends pings over a few connections
	sim    *simulator.Simulator
	vipps  *httptest.Server
	polls  atomic.Int64
	caddy  *exec.Cmd
	port   int
	admin  string // the address of its admin API, or off
}

func (b *bench) startVipps(rounds int) error {
	config := simulator.Config{
		Partner:      simulator.Partner{ClientID: "id", ClientSecret: "secret", SubscriptionKey: "key"},
		Merchants:    []simulator.Merchant{{MSN: "123456", RedirectURIs: []string{"http://localhost/vipps/phone/callback"}}},
		PollInterval: caddy.Duration(interval),
	}
	for i := range rounds * logins {
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

// startPlugin starts the Caddy that is measured.
func (b *bench) startPlugin() error {
	built := *binary
	if built == "" {
		built = filepath.Join(b.folder, "caddy")
		build := exec.Command("go", "-C", "..", "build", "-o", built, "./cmd/caddy")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return err
		}
	}
	return b.startCaddy(exec.Command(built), fmt.Sprintf(`	vipps_login {
		environment %s
		client_id id
		client_secret secret
		subscription_key key
	}
`, b.vipps.URL), fmt.Sprintf(`	vipps_login 123456 {
		scope openid name phoneNumber
		phone {
			api_key %s
			webhook_secret %s
		}
	}
	respond "hello"
`, apiKey, webhookSecret))
}

// startCaddy starts a Caddy with these global options and this site.
func (b *bench) startCaddy(cmd *exec.Cmd, global, site string) (err error) {
	if b.port, err = rig.Port(); err != nil {
		return err
	}
	b.admin = rig.AdminOff
	if *profiles != "" {
		if b.admin, err = rig.Admin(); err != nil {
			return err
		}
	}
	caddyfile := filepath.Join(b.folder, "Caddyfile")
	err = os.WriteFile(caddyfile, fmt.Appendf(nil, `{
	admin %s
	persist_config off
	auto_https off
	storage file_system %q
	log {
		level WARN
	}
%s}
http://localhost:%d {
	bind 127.0.0.1
%s}
`, b.admin, filepath.Join(b.folder, "storage"), global, b.port, site), 0o600)
	if err != nil {
		return err
	}
	cmd.Args = append(cmd.Args, "run", "--config", caddyfile)
	cmd.Stderr = os.Stderr
	b.caddy = cmd
	if err := cmd.Start(); err != nil {
		return err
	}
	for range 500 {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(b.port)); err == nil {
			return conn.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.stopCaddy()
	return errors.New("caddy did not start")
}

func (b *bench) stopCaddy() {
	_ = b.caddy.Process.Kill()
	_ = b.caddy.Wait()
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

// cpu is the time that the Caddy has computed (Linux: proc_pid_stat(5), in hundredths of a second).
func (b *bench) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.caddy.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
