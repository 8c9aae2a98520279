package examples_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
	"github.com/caddy-vipps/vippslogin/simulator"
)

const (
	sentinelLines = "sentinel vipps_login 10.0.0.21:26379 10.0.0.22:26379 10.0.0.23:26379" + sentinelUser
	sentinelUser  = "\n\t\t\tsentinel_username vipps_login\n\t\t\tsentinel_password {env.REDIS_PASSWORD}"
	tillKey       = "an-api-key-of-the-till-with-32-characters"
)

// redisSetup is what examples/redis/setup has made, for addresses of this machine.
type redisSetup struct {
	t              *testing.T
	folder         string
	port, sentinel string
}

func newRedisSetup(t *testing.T, addresses ...string) *redisSetup {
	t.Helper()
	r := &redisSetup{t: t, folder: filepath.Join(t.TempDir(), "setup"), port: fmt.Sprint(freeport.New(t)), sentinel: fmt.Sprint(freeport.New(t))}
	out, err := exec.Command("redis/setup", append([]string{r.folder}, addresses...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("setup: %v\n%s", err, out)
	}
	for _, line := range strings.Fields(r.read("caddy/env")) {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
	t.Setenv("TILL_API_KEY", tillKey)
	return r
}

func (r *redisSetup) read(name string) string {
	r.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.folder, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

func (r *redisSetup) write(name, content string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.folder, name), []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// start starts a program with its config for an address: the folders are of this test, and it logs to the test.
func (r *redisSetup) start(address, name, config string, ready *regexp.Regexp) (kill func()) {
	r.t.Helper()
	machine := filepath.Join(r.folder, address)
	content := strings.NewReplacer("/etc/redis", machine, "/var/lib/redis", r.t.TempDir(), "26379", r.sentinel, "6379", r.port).
		Replace(r.read(filepath.Join(address, config)))
	content = regexp.MustCompile(`(?m)^logfile .*$`).ReplaceAllString(content, "")
	r.write(filepath.Join(address, config), content+"\n")
	file := filepath.Join(machine, config)
	pid := filepath.Join(machine, name+".pid")
	run(r.t, ready, program(r.t, name), file, "--pidfile", pid)
	return func() {
		if out, err := exec.Command("kill", "-9", r.read(filepath.Join(address, name+".pid"))).CombinedOutput(); err != nil {
			r.t.Fatalf("kill: %v\n%s", err, out)
		}
	}
}

var redisReady = regexp.MustCompile(`Ready to accept connections|monitor master`)

// cli runs a command of the operator at a server.
func (r *redisSetup) cli(address, port string, command ...string) string {
	r.t.Helper()
	return r.run(address, port, "operator", r.read("operator-password"), command...)
}

// sentinelCLI runs a command at a sentinel.
func (r *redisSetup) sentinelCLI(address string, command ...string) string {
	r.t.Helper()
	password := regexp.MustCompile(`sentinel-pass "?([0-9a-f]+)`).FindStringSubmatch(r.read(address + "/sentinel.conf"))
	return r.run(address, r.sentinel, "sentinel", password[1], command...)
}

// run runs a command as the README does. It returns what redis-cli prints.
func (r *redisSetup) run(address, port, user, password string, command ...string) string {
	r.t.Helper()
	c := exec.Command(program(r.t, "redis-cli"), append([]string{"-h", address, "-p", port, "--user", user, "--tls", "--cacert", r.folder + "/ca.crt",
		"--cert", r.folder + "/caddy/client.crt", "--key", r.folder + "/caddy/client.key"}, command...)...)
	c.Env = append(os.Environ(), "REDISCLI_AUTH="+password)
	out, err := c.CombinedOutput()
	if err != nil {
		r.t.Fatalf("redis-cli %s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// caddy starts the example's Caddyfile. The log has what the plugin says of the shared state.
func (r *redisSetup) caddy(state string) (e *example, log string) {
	r.t.Helper()
	log = filepath.Join(r.t.TempDir(), "log")
	return start(r.t, setup{
		folder: "redis", hosts: map[string]string{"shop.example.no": "123456"}, users: customers(),
		options: fmt.Sprintf("log vipps {\n\t\tinclude vipps_login\n\t\toutput file %s\n\t}", log),
		swaps: map[string]string{
			"127.0.0.1:8000": showing(r.t), sentinelLines: state,
			"ca /etc/caddy/redis/ca.crt":                                          "ca " + r.folder + "/caddy/ca.crt",
			"client_auth /etc/caddy/redis/client.crt /etc/caddy/redis/client.key": "client_auth " + r.folder + "/caddy/client.crt " + r.folder + "/caddy/client.key",
		},
	}), log
}

// customers are people with a phone of their own for each login: a number may be asked five times in ten minutes.
func customers() (users []simulator.User) {
	for i := range 20 {
		users = append(users, simulator.User{Name: fmt.Sprintf("Customer %d", i), PhoneNumber: fmt.Sprintf("47420000%02d", i)})
	}
	return users
}

// till calls the phone API.
type till struct {
	*browser
	started int
}

func (e *example) till() *till {
	b := e.browser()
	b.client.Jar = nil
	return &till{browser: b}
}

func (c *till) call(method, path, body string) (status int, answer map[string]any) {
	c.t.Helper()
	request := c.request(method, c.url("shop.example.no", "/vipps/phone"+path), "Authorization: Bearer "+tillKey, "Content-Type: application/json")
	request.Body = io.NopCloser(strings.NewReader(body))
	page := c.do(request)
	if err := json.Unmarshal([]byte(page.body), &answer); err != nil && page.body != "" {
		c.t.Fatalf("%d %q: %v", page.status, page.body, err)
	}
	return page.status, answer
}

// start starts the login of the next customer.
func (c *till) start() (status int, id, number string) {
	c.t.Helper()
	number = customers()[c.started%20].PhoneNumber
	c.started++
	status, answer := c.call(http.MethodPost, "", `{"phone_number":"+`+number+`"}`)
	id, _ = answer["id"].(string)
	return status, id, number
}

// finish approves a login and waits for it.
func (c *till) finish(id, number string) {
	c.t.Helper()
	for _, waiting := range c.sim.PhoneLogins() {
		if waiting.PhoneNumber == number {
			if _, err := c.sim.AnswerPhone(waiting.AuthReqID, true); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	if status, answer := c.call(http.MethodGet, "/"+id+"?wait=30", ""); status != http.StatusOK || answer["status"] != "complete" {
		c.t.Fatalf("%d %v", status, answer)
	}
}

// loggedOut logs a customer in and out again. It returns a copy of the cookies, which are worth nothing any more.
func (e *example) loggedOut() (copied *browser) {
	e.t.Helper()
	home := e.url("shop.example.no", "/")
	b, copied := e.browser(), e.browser()
	b.login(home, kari).want(e.t, http.StatusOK, home)
	at := b.request(http.MethodGet, home).URL
	copied.client.Jar.SetCookies(at, b.client.Jar.Cookies(at))
	copied.open(home).want(e.t, http.StatusOK, home)
	if page := b.first(b.request(http.MethodGet, e.url("shop.example.no", "/vipps/logout"))); page.status != http.StatusFound {
		e.t.Fatalf("%d %s", page.status, page.body)
	}
	e.wantLoggedOut(copied)
	return copied
}

func (e *example) wantLoggedOut(copied *browser) {
	e.t.Helper()
	if page := copied.first(copied.request(http.MethodGet, e.url("shop.example.no", "/"))); !e.asksForLogin(page) {
		e.t.Errorf("a session that has ended: %d %s", page.status, page.body)
	}
}

const stateLost = "the shared state is not the one that it was"

func (r *redisSetup) logged(log, text string) bool {
	content, _ := os.ReadFile(log) // there is none before the first line
	return strings.Contains(string(content), text)
}

// TestRedisExample: three servers and Sentinel, as ./setup makes them. When the primary dies, phone logins go on at the next
// one, one that was in progress as well, and nothing is lost.
func TestRedisExample(t *testing.T) {
	addresses := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}
	r := newRedisSetup(t, addresses...)
	var kill func()
	for i, address := range addresses {
		end := r.start(address, "redis-server", "redis.conf", redisReady)
		if i == 0 {
			kill = end
		}
	}
	for _, address := range addresses {
		r.start(address, "redis-sentinel", "sentinel.conf", redisReady)
	}
	for _, address := range addresses[1:] {
		waitFor(t, func() bool {
			return strings.Contains(r.cli(address, r.port, "info", "replication"), "master_link_status:up")
		})
	}
	waitFor(t, func() bool {
		return strings.Contains(r.sentinelCLI(addresses[2], "sentinel", "ckquorum", "vipps_login"), "OK 3 usable")
	})
	e, log := r.caddy("sentinel vipps_login 127.0.0.2:" + r.sentinel + " 127.0.0.3:" + r.sentinel + " 127.0.0.4:" + r.sentinel + sentinelUser)
	c := e.till()
	_, id, number := c.start()
	c.finish(id, number)
	copied := e.loggedOut()
	status, id, number := c.start()
	if status != http.StatusAccepted {
		t.Fatal(status)
	}
	kill()
	if status, _, _ := c.start(); status != http.StatusServiceUnavailable {
		t.Errorf("a phone login without a server: %d", status)
	}
	e.wantLoggedOut(copied)
	waitFor(t, func() bool { status, _, _ := c.start(); return status == http.StatusAccepted })
	c.finish(id, number)
	e.wantLoggedOut(copied)
	e.loggedOut()
	if r.logged(log, stateLost) {
		t.Error("something is lost")
	}
	for _, address := range addresses {
		if denied := r.sentinelCLI(address, "acl", "log"); denied != "" {
			t.Errorf("the sentinel at %s has refused: %s", address, denied)
		}
	}
	for _, address := range addresses[1:] {
		if denied := r.cli(address, r.port, "acl", "log"); denied != "" {
			t.Errorf("%s has refused: %s", address, denied)
		}
	}
}

// TestRedisExampleRights: with one server, the user's rights suffice for logins, phone logins, logouts and noticing that
// the server has lost everything; and each of them is needed.
func TestRedisExampleRights(t *testing.T) {
	const address = "127.0.0.1"
	r := newRedisSetup(t, address)
	r.start(address, "redis-server", "redis.conf", redisReady)
	e, log := r.caddy("address " + address + ":" + r.port)
	c := e.till()
	_, id, number := c.start()
	c.finish(id, number)
	if status, _ := c.call(http.MethodDelete, "/"+id, ""); status != http.StatusNoContent {
		t.Errorf("deleting a phone login: %d", status)
	}
	copied := e.loggedOut()
	const stream = "vipps_login:{revoked}:1d"
	if n := r.cli(address, r.port, "xlen", stream); n == "0" {
		t.Error("the logout is not stored")
	}
	// What was used, before anything is lost: all of it but for what comes every ten seconds.
	granted := regexp.MustCompile(`\+(\S+)`).FindAllStringSubmatch(userLine(r.read(address+"/users.acl")), -1)
	var unused []string
	t.Cleanup(func() {
		if len(unused) > 0 {
			t.Errorf("granted and not used: %s", unused)
		}
	})
	waitFor(t, func() bool { unused = r.unused(address, granted); return len(unused) == 0 })
	wantFull(t, r, c)
	wantRefused(t, r)
	r.cli(address, r.port, "flushall")
	waitFor(t, func() bool { return r.logged(log, stateLost) })
	waitFor(t, func() bool { return r.cli(address, r.port, "xlen", stream) != "0" })
	e.wantLoggedOut(copied)
	_, id, number = c.start()
	c.finish(id, number)
	if denied := r.cli(address, r.port, "acl", "log"); denied != "" {
		t.Errorf("refused: %s", denied)
	}
}

// wantFull fills the server up: phone logins are refused, logins and logouts go on, and afterwards everything does.
func wantFull(t *testing.T, r *redisSetup, c *till) {
	t.Helper()
	const address = "127.0.0.1"
	r.cli(address, r.port, "config", "set", "maxmemory", "1")
	if status, _, _ := c.start(); status != http.StatusServiceUnavailable {
		t.Errorf("a phone login while the server is full: %d", status)
	}
	c.loggedOut()
	r.cli(address, r.port, "config", "set", "maxmemory", "0")
	_, id, number := c.start()
	c.finish(id, number)
}

// wantRefused: nobody gets in without a certificate of the CA.
func wantRefused(t *testing.T, r *redisSetup) {
	t.Helper()
	out, _ := exec.Command(program(t, "redis-cli"), "-h", "127.0.0.1", "-p", r.port, "--tls", "--cacert", r.folder+"/ca.crt", "ping").CombinedOutput()
	if strings.Contains(string(out), "PONG") || strings.Contains(string(out), "NOAUTH") {
		t.Errorf("a client without a certificate is let in: %s", out)
	}
}

// TestRedisExampleImpostor: a server with a certificate of another CA is not used, though it takes any password.
func TestRedisExampleImpostor(t *testing.T) {
	const address = "127.0.0.1"
	r, impostor := newRedisSetup(t, address), newRedisSetup(t, address)
	impostor.write(address+"/users.acl", "user default off\nuser vipps_login on nopass ~* &* +@all\n")
	impostor.write(address+"/redis.conf", strings.Replace(impostor.read(address+"/redis.conf"), "tls-auth-clients yes", "tls-auth-clients no", 1))
	impostor.start(address, "redis-server", "redis.conf", redisReady)
	e, _ := r.caddy("address " + address + ":" + impostor.port)
	if status, _, _ := e.till().start(); status != http.StatusServiceUnavailable {
		t.Errorf("a phone login with an impostor's server: %d", status)
	}
}

func userLine(acl string) string {
	return regexp.MustCompile(`(?m)^user vipps_login .*$`).FindString(acl)
}

// unused returns which of the granted commands the server has not run.
func (r *redisSetup) unused(address string, granted [][]string) (names []string) {
	r.t.Helper()
	stats := r.cli(address, r.port, "info", "commandstats")
	for _, command := range granted {
		if !strings.Contains(stats, "cmdstat_"+command[1]+":") {
			names = append(names, command[1])
		}
	}
	return names
}
