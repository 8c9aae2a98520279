package stacks_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
)

// machine starts servers, and ends them with the test.
type machine struct {
	t        *testing.T
	programs string // a copy of testdata that every user may read, since Apache and nginx give up root
	run      string // a folder of the servers
	ports    map[string]int
	waiting  []server
}

// server is one that was started, and may not be listening yet.
type server struct {
	name  string
	ports []string
	ended chan error
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	folder, err := os.MkdirTemp("", "stacks") // short: the path of a socket has 107 characters at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	m := &machine{t: t, programs: filepath.Join(folder, "programs"), run: filepath.Join(folder, "run"), ports: make(map[string]int)}
	if err := os.CopyFS(m.programs, os.DirFS("integration/stacks/testdata")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{folder, m.run} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // the servers' own users make sockets in there
			t.Fatal(err)
		}
	}
	return m
}

// port is the port of a name: the same one each time.
func (m *machine) port(name string) string {
	m.t.Helper()
	if m.ports[name] == 0 {
		m.ports[name] = freeport.New(m.t)
	}
	return fmt.Sprint(m.ports[name])
}

var variable = regexp.MustCompile(`\$[A-Z][A-Z0-9_]*`)

// config writes a config of testdata/conf, with ports and folders of this machine, and returns its path.
func (m *machine) config(name string) string {
	m.t.Helper()
	content, err := os.ReadFile(filepath.Join(m.programs, "conf", name))
	if err != nil {
		m.t.Fatal(err)
	}
	return m.write(name, m.replace(string(content)))
}

// replace puts this machine's ports and folders in the place of $ names.
func (m *machine) replace(text string) string {
	m.t.Helper()
	return variable.ReplaceAllStringFunc(text, func(name string) string {
		switch name = name[1:]; name {
		case "PROGRAMS":
			return m.programs
		case "RUN":
			return m.run
		case "LIBPHP":
			return filepath.Base(m.newest("/usr/lib/apache2/modules/libphp*.so"))
		}
		return m.port(name)
	})
}

// from is a file of an example, with this machine's folders and ports: texts and what they are here, in turn.
func (m *machine) from(file string, here ...string) string {
	m.t.Helper()
	return m.swap(m.read(file), here...)
}

// swap is from for a text.
func (m *machine) swap(text string, here ...string) string {
	m.t.Helper()
	for i := 0; i < len(here); i += 2 {
		if !strings.Contains(text, here[i]) {
			m.t.Fatalf("there is no %q in %s", here[i], text)
		}
	}
	return m.replace(strings.NewReplacer(here...).Replace(text))
}

func (m *machine) write(name, content string) string {
	m.t.Helper()
	path := filepath.Join(m.run, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil { //nolint:gosec // read by the servers' own users
		m.t.Fatal(err)
	}
	return path
}

// newest is the last of the files that fit a pattern.
func (m *machine) newest(pattern string) string {
	m.t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		m.t.Fatalf("there is no %s: run scripts/install-test-tools (%v)", pattern, err)
	}
	return found[len(found)-1]
}

// start starts a server that will listen on the ports of these names.
func (m *machine) start(ports []string, program string, args ...string) {
	m.t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		m.t.Fatalf("%v: run scripts/install-test-tools", err)
	}
	output, err := os.Create(filepath.Join(m.t.TempDir(), "output"))
	if err != nil {
		m.t.Fatal(err)
	}
	command := exec.Command(path, args...)
	command.Dir, command.Stdout, command.Stderr = m.run, output, output
	// The locale, because Ruby reads its programs in it.
	command.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1")
	command.SysProcAttr = inGroup
	if err := command.Start(); err != nil {
		m.t.Fatal(err)
	}
	s := server{name: filepath.Base(path), ports: ports, ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		s.ended <- command.Wait()
		close(done)
	}()
	m.waiting = append(m.waiting, s)
	m.t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(time.Second): // Apache gives mod_wsgi ten
		}
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // its children, too
		<-done
		output.Close()
		if content, err := os.ReadFile(output.Name()); m.t.Failed() && err == nil {
			m.t.Logf("%s: %s", strings.Join(append([]string{path}, args...), " "), content)
		}
	})
}

// ready waits until every server listens.
func (m *machine) ready() {
	m.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for _, s := range m.waiting {
		for _, port := range s.ports {
			for !m.listens(port) {
				select {
				case err := <-s.ended:
					m.t.Fatalf("%s ended before it was ready: %v (scripts/install-test-tools installs what it needs)", s.name, err)
				case <-time.After(10 * time.Millisecond):
				}
				if time.Now().After(deadline) {
					m.t.Fatalf("%s does not listen for %s", s.name, port)
				}
			}
		}
	}
	m.waiting = nil
}

func (m *machine) listens(port string) bool {
	conn, err := net.Dial("tcp", "127.0.0.1:"+m.port(port))
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
