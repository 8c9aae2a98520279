// Package rig starts what the measurements need, each in a process of its own on this machine, and ends
// it again: Caddys, the simulator as Vipps MobilePay, a site behind the Caddys. It drives them, and reads
// what CPU time they have used (Linux).
package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Caddy, which comes with the simulator, takes over the standard logger, and writes JSON. Why a measurement has failed is told
// plainly.
func init() {
	log.SetFlags(0)
	log.SetOutput(os.Stderr)
}

// Rig is everything that a measurement has started. Close ends it.
type Rig struct {
	Folder string // for files; gone after Close

	ctx       context.Context
	processes []*Process
	caddy     []string // the command
	caddyEnv  []string
}

// New makes a rig without any process. When ctx ends, so do its processes.
func New(ctx context.Context) (*Rig, error) {
	folder, err := os.MkdirTemp("", "vippslogin-bench")
	return &Rig{Folder: folder, ctx: ctx}, err
}

// Close ends every process that the rig has started, the last one first.
func (r *Rig) Close() {
	for i := len(r.processes) - 1; i >= 0; i-- {
		r.processes[i].stop()
	}
	_ = os.RemoveAll(r.Folder)
}

// BuildCaddy builds the one binary that every Caddy of the rig is: nothing but the config differs.
func (r *Rig) BuildCaddy() error {
	r.caddy = []string{filepath.Join(r.Folder, "caddy")}
	build := exec.CommandContext(r.ctx, "go", "-C", "..", "build", "-o", r.caddy[0], "./cmd/caddy")
	build.Stderr = os.Stderr
	return build.Run()
}

// UseCaddy takes another binary in place of BuildCaddy's: a test is a Caddy itself, where its environment
// says so.
func (r *Rig) UseCaddy(binary string, environment ...string) {
	r.caddy, r.caddyEnv = []string{binary}, environment
}

// Process is something that the rig has started.
type Process struct {
	Address string // host and port: of a child of ours, or of a Caddy's admin API where it has one

	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{}
}

func (p *Process) stop() {
	_ = p.stdin.Close() // a child of ours ends by that
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (r *Rig) start(name string, cmd *exec.Cmd) (*Process, io.WriteCloser, error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &Process{name: name, cmd: cmd, stdin: stdin, ended: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.ended) }()
	r.processes = append(r.processes, p)
	return p, stdin, nil
}

// StartCaddy starts a Caddy with this Caddyfile, and returns when it serves. It says so itself, by
// `--pingback`: that is how `caddy start` knows.
func (r *Rig) StartCaddy(name, caddyfile string, environment ...string) (*Process, error) {
	path := filepath.Join(r.Folder, name+".Caddyfile")
	if err := os.WriteFile(path, []byte(caddyfile), 0o600); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	cmd := exec.CommandContext(r.ctx, r.caddy[0], append(r.caddy[1:], "run", "--config", path, "--adapter", "caddyfile", "--pingback", listener.Addr().String())...)
	cmd.Env = append(append(os.Environ(), r.caddyEnv...), environment...)
	p, stdin, err := r.start(name, cmd)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(stdin, "ready"); err != nil { // what it is to say
		return nil, err
	}
	if err := stdin.Close(); err != nil {
		return nil, err
	}
	called := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, err = io.ReadAll(conn)
			conn.Close()
		}
		called <- err
	}()
	return p, p.wait(called)
}

func (p *Process) wait(ready <-chan error) error {
	select {
	case err := <-ready:
		return err
	case <-p.ended:
		return fmt.Errorf("%s has ended: %s", p.name, p.cmd.ProcessState)
	case <-time.After(time.Minute):
		return fmt.Errorf("%s did not start", p.name)
	}
}

// roleVariable makes a program that calls Child a child of itself.
const roleVariable = "VIPPSLOGIN_BENCH_ROLE"

// Child is what main and TestMain call first. In a process that StartSelf has started it plays its role
// until its parent ends it or is gone, and then returns true.
func Child() bool {
	play, ok := roles[os.Getenv(roleVariable)]
	if !ok {
		return false
	}
	if err := playRole(play); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func playRole(play role) error {
	input := bufio.NewReader(os.Stdin)
	options, err := input.ReadBytes('\n')
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serve, err := play(options)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- serve(listener) }()
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, input) // to the end: the parent has let go
		failed <- nil
	}()
	return <-failed
}

// startSelf starts this program again, in a role.
func (r *Rig) startSelf(name string, options any) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(r.ctx, self)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	stdout, address := io.Pipe()
	cmd.Stdout = address
	p, stdin, err := r.start(name, cmd)
	if err != nil {
		return nil, err
	}
	if _, err := stdin.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	said := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(stdout).ReadString('\n')
		p.Address = strings.TrimSpace(line)
		said <- err
		_, _ = io.Copy(io.Discard, stdout)
	}()
	return p, p.wait(said)
}

// Port returns a port that nobody listens on, and that no outgoing connection is given (Linux begins at
// 32768).
func Port() (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("no port is free")
}

// Ports is Port, n times.
func Ports(n int) ([]int, error) {
	var ports []int
	for len(ports) < n {
		port, err := Port()
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
