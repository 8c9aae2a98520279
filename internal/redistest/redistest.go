// Package redistest runs redis-server for tests, on loopback, and breaks it.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-vipps/vippslogin/internal/freeport"
)

// Binary is the program that the tests start: that of the environment's REDIS_SERVER (a valkey-server, say), or
// redis-server.
func Binary() string {
	if binary := os.Getenv("REDIS_SERVER"); binary != "" {
		return binary
	}
	return "redis-server"
}

// Server is a server in a process of its own.
type Server struct {
	T    testing.TB
	Port int
	Dir  string // where it keeps its files
	// Client is an operator's connection.
	Client *redis.Client

	args  []string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
	out   bytes.Buffer
}

// Start starts a server with further arguments, as they stand in its configuration: "--maxmemory", "10mb". Unless they
// say otherwise it keeps everything on disk (appendonly), as docs/clusters.md asks for.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{T: t, Port: freeport.New(t), Dir: t.TempDir()}
	s.args = append([]string{"--port", fmt.Sprint(s.Port), "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "yes",
		"--appendfsync", "always", "--enable-debug-command", "yes"}, args...)
	s.connect()
	t.Cleanup(s.Kill)
	s.Run()
	return s
}

func (s *Server) connect() {
	s.Client = redis.NewClient(&redis.Options{Addr: s.Address(), MaxRetries: -1})
	s.T.Cleanup(func() { _ = s.Client.Close() })
}

// Address is where the server listens.
func (s *Server) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// Run starts the process again, once it was killed, and waits until it answers.
func (s *Server) Run() {
	s.T.Helper()
	s.RunWith()
}

// RunWith is Run with arguments that come last, and so count.
func (s *Server) RunWith(args ...string) {
	s.T.Helper()
	s.Launch(args...)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		err := s.Client.Ping(ctx).Err()
		if err == nil || strings.HasPrefix(err.Error(), "NOAUTH") || strings.HasPrefix(err.Error(), "WRONGPASS") {
			return
		}
		if ctx.Err() != nil {
			s.T.Fatalf("%s does not answer: %v\n%s", Binary(), err, s.out.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Launch starts the process and waits for nothing.
func (s *Server) Launch(args ...string) {
	s.T.Helper()
	s.cmd = exec.Command(Binary(), append(s.args[:len(s.args):len(s.args)], args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.SysProcAttr = endWithUs
	started, ended := make(chan error, 1), make(chan struct{})
	go func(cmd *exec.Cmd) {
		defer close(ended)
		runtime.LockOSThread() // prctl(2), PR_SET_PDEATHSIG: the signal comes when the thread that has started it ends
		err := cmd.Start()
		if started <- err; err == nil {
			_ = cmd.Wait()
		}
	}(s.cmd)
	s.ended = ended
	if err := <-started; err != nil {
		s.cmd = nil
		s.T.Fatal(err)
	}
}

// Kill ends the process as kill -9 does. What was written to disk stays.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// Lose deletes what is on disk. The server must not run.
func (s *Server) Lose() {
	s.T.Helper()
	for _, name := range []string{"appendonlydir", "dump.rdb"} {
		if err := os.RemoveAll(filepath.Join(s.Dir, name)); err != nil {
			s.T.Fatal(err)
		}
	}
}

// Hang stops the process, which keeps its connections and answers nobody, until Wake.
func (s *Server) Hang() { s.signal(syscall.SIGSTOP) }

// Wake lets the process go on after Hang.
func (s *Server) Wake() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal os.Signal) {
	s.T.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.T.Fatal(err)
	}
}

// Do sends one command, as an operator does.
func (s *Server) Do(args ...any) any {
	s.T.Helper()
	result, err := s.Client.Do(context.Background(), args...).Result()
	if err != nil && err != redis.Nil {
		s.T.Fatal(args, err)
	}
	return result
}
