package harness

import (
	"bufio"
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
)

// InstanceConfig in the environment makes this test binary a Caddy: tests that need several processes start themselves.
const InstanceConfig = "VIPPSLOGIN_TEST_CADDYFILE"

// CaddyCommand in the environment makes this test binary the `caddy` command.
const CaddyCommand = "VIPPSLOGIN_TEST_CADDY"

// testBinary returns the path of this process's program.
func testBinary() string {
	path, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	return path
}

// endsAtOnce is the variable of the environment with which a process under the race detector does not stay for a second when
// it is done, which the detector gives other goroutines to finish reports of races. Tests of commands waited for that half of the time.
func endsAtOnce() string { return "GORACE=" + os.Getenv("GORACE") + " atexit_sleep_ms=50" }

// Instance is a Caddy in a process of its own.
type Instance struct {
	*exec.Cmd
	Port int
	File string // its Caddyfile
}

// StartInstance starts a Caddy on a port of its own. It shares w's storage with all the others, and the
// cookie secret in it.
func (w *World) StartInstance(sites string) *Instance {
	w.T.Helper()
	return w.StartInstanceOn(freeport.New(w.T), sites)
}

// StartInstanceOn is StartInstance on a given port.
func (w *World) StartInstanceOn(port int, sites string) *Instance {
	w.T.Helper()
	return w.StartChangedInstance(port, sites, strings.NewReplacer())
}

// StartChangedInstance starts one with other global options.
func (w *World) StartChangedInstance(port int, sites string, changed *strings.Replacer) *Instance {
	w.T.Helper()
	globals := strings.Replace(w.Globals(), "cookie_secret "+CookieSecret, "", 1) // the one in storage
	w.logs = append(w.logs, filepath.Join(w.T.TempDir(), "caddy.log"))
	globals = strings.Replace(globals, w.LogFile, w.logs[len(w.logs)-1], 1)
	caddyfile := changed.Replace(strings.ReplaceAll(globals+sites, "$HTTP", fmt.Sprint(port)))
	file := filepath.Join(w.T.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(w.Vars.Replace(caddyfile)), 0o600); err != nil {
		w.T.Fatal(err)
	}
	i := &Instance{Cmd: exec.Command(testBinary()), Port: port, File: file}
	i.Env = append(os.Environ(), InstanceConfig+"="+file, endsAtOnce())
	var stderr bytes.Buffer
	i.Stderr = &stderr
	stdin, err := i.StdinPipe()
	if err != nil {
		w.T.Fatal(err)
	}
	stdout, err := i.StdoutPipe()
	if err != nil {
		w.T.Fatal(err)
	}
	if err := i.Start(); err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() { stdin.Close(); i.Kill() })
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		w.T.Fatalf("the instance did not start: %s", stderr.String())
	}
	return i
}

// Kill ends the process as kill -9 does.
func (i *Instance) Kill() {
	_ = i.Process.Kill()
	_ = i.Wait()
}

// Stop tells the instance to stop as systemd does, and waits until it has.
func (i *Instance) Stop() {
	_ = i.Process.Signal(syscall.SIGTERM)
	_ = i.Wait()
}

// Through is a till whose requests go through one instance.
func (w *World) Through(i *Instance) Till {
	return NewTill(w.T, fmt.Sprintf("http://shop-a.localhost:%d", i.Port))
}
