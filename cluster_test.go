package vippslogin_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
)

// instanceConfig makes this test binary a Caddy: tests that need several processes start themselves.
const instanceConfig = "VIPPSLOGIN_TEST_CADDYFILE"

// caddyCommand makes this test binary the `caddy` command.
const caddyCommand = "VIPPSLOGIN_TEST_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(caddyCommand) != "" {
		caddycmd.Main() // with our arguments
		return
	}
	if file := os.Getenv(instanceConfig); file != "" {
		if err := runInstance(file); err != nil {
			log.Fatal(err)
		}
		return
	}
	remove, err := trustVipps()
	if err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	remove()
	os.Exit(code)
}

// runInstance runs a Caddy until its standard input ends, which it does when the test is gone, or until a
// signal stops it as it stops any Caddy.
func runInstance(file string) error {
	caddyfile, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	caddy.TrapSignals()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	if err := caddy.Load(config, true); err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// instance is a Caddy in a process of its own.
type instance struct {
	*exec.Cmd
	port int
}

// startInstance starts a Caddy on a port of its own. It shares w's storage with all the others, and the
// cookie secret in it.
func (w *world) startInstance(sites string) *instance {
	w.t.Helper()
	return w.startInstanceOn(freeport.New(w.t), sites)
}

func (w *world) startInstanceOn(port int, sites string) *instance {
	w.t.Helper()
	return w.startChangedInstance(port, sites, strings.NewReplacer())
}

// startChangedInstance starts one with other global options.
func (w *world) startChangedInstance(port int, sites string, changed *strings.Replacer) *instance {
	w.t.Helper()
	globals := strings.Replace(w.globals(), "cookie_secret "+cookieSecret, "", 1) // the one in storage
	w.logs = append(w.logs, filepath.Join(w.t.TempDir(), "caddy.log"))
	globals = strings.Replace(globals, w.log, w.logs[len(w.logs)-1], 1)
	caddyfile := changed.Replace(strings.ReplaceAll(globals+sites, "$HTTP", fmt.Sprint(port)))
	file := filepath.Join(w.t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(w.vars.Replace(caddyfile)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	i := &instance{Cmd: exec.Command(os.Args[0]), port: port}
	i.Env = append(os.Environ(), instanceConfig+"="+file)
	var stderr bytes.Buffer
	i.Stderr = &stderr
	stdin, err := i.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	stdout, err := i.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := i.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { stdin.Close(); i.kill() })
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		w.t.Fatalf("the instance did not start: %s", stderr.String())
	}
	return i
}

// kill ends the process as kill -9 does.
func (i *instance) kill() {
	_ = i.Process.Kill()
	_ = i.Wait()
}

// stop tells the instance to stop as systemd does, and waits until it has.
func (i *instance) stop() {
	_ = i.Process.Signal(syscall.SIGTERM)
	_ = i.Wait()
}

// through is a till whose requests go through one instance.
func (w *world) through(i *instance) till {
	return newTill(w.t, fmt.Sprintf("http://shop-a.localhost:%d", i.port))
}

// TestPhoneCluster: a login is started at one instance and read at the other; one of them is killed in
// between; no login is lost, and no poll is one too many.
func TestPhoneCluster(t *testing.T) {
	t.Setenv("TILL_API_KEY", apiKey)
	t.Setenv("TILL_OLDER_API_KEY", olderAPIKey)
	w := newPhoneWorld(t)
	if err := caddy.Stop(); err != nil { // the one in this process
		t.Fatal(err)
	}
	var mu sync.Mutex
	polls := map[string][]time.Time{}
	w.vipps.answer(pathToken, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		mu.Lock()
		polls[form.Get("auth_req_id")] = append(polls[form.Get("auth_req_id")], time.Now())
		mu.Unlock()
		w.vipps.sim.ServeHTTP(rw, r)
	})
	a, b := w.startInstance(phoneShops), w.startInstance(phoneShops)

	const n = 10
	ids := make(map[string]string) // ours to Vipps'
	for _, number := range manyNumbers(n) {
		id, authReqID := w.through(a).start(w, `{"phone_number":"`+number+`"}`)
		ids[id] = authReqID
	}
	var all sync.WaitGroup
	for id := range ids {
		// Clients wait at both; the ones at the instance that is killed are cut off.
		all.Go(func() {
			req := newRequest(t, "GET", w.through(a).shop+"/vipps/phone/"+id+"?wait=60", nil, "Authorization: Bearer "+apiKey)
			if resp, err := newBrowser(t).client.Do(req); err == nil {
				resp.Body.Close()
			}
		})
		all.Go(func() {
			s := w.through(b).call("GET", "/phone/"+id+"?wait=60", "").wantStatus(t, http.StatusOK).state(t)
			if s.Status != "complete" {
				t.Errorf("%+v", s)
			}
		})
	}
	waitFor(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(polls) == n })
	a.kill()
	for _, authReqID := range ids {
		mustAnswer(t, w, authReqID, true)
	}
	all.Wait()
	c := w.startInstance(phoneShops)
	for id := range ids {
		if s := w.through(c).status(id); s.Status != "complete" {
			t.Errorf("read at a new instance: %+v", s)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, times := range polls {
		for i := 1; i < len(times); i++ {
			if gap := times[i].Sub(times[i-1]); gap < 900*time.Millisecond {
				t.Errorf("two polls of one login within %s", gap)
			}
		}
	}
}

// TestPingAtTheOtherInstance reaches a client that waits at this one.
func TestPingAtTheOtherInstance(t *testing.T) {
	w := newPhoneWorld(t)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.vipps.answer("/vipps-login-ciba/api/backchannel/authentication", func(rw http.ResponseWriter, r *http.Request) {
		recorded := newRecorder()
		w.vipps.sim.ServeHTTP(recorded, r)
		_, _ = io.WriteString(rw, strings.Replace(recorded.body.String(), `"interval":1`, `"interval":30`, 1))
	})
	a, b := w.startInstance(phoneShops), w.startInstance(phoneShops)
	id, authReqID := w.through(a).start(w, `{"phone_number":"+4712345678"}`)
	mustAnswer(t, w, authReqID, true)
	answered := make(chan phoneState, 1)
	go func() { answered <- w.through(a).call("GET", "/phone/"+id+"?wait=20", "").state(t) }()
	w.ping(t, w.through(b).shop+"/vipps/webhook", `{"auth_req_id":"`+authReqID+`"}`, webhookSecret, nil).wantStatus(t, http.StatusOK)
	sent := time.Now()
	if s := <-answered; s.Status != "complete" || time.Since(sent) > 5*time.Second {
		t.Errorf("%+v after %s", s, time.Since(sent))
	}
}
