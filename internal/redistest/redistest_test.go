package redistest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// killedTest in the environment makes this test binary one that starts a server and is killed.
const killedTest = "VIPPSLOGIN_KILLED_TEST"

// TestServerEndsWithTheTests: a server is no orphan when a test binary is killed, as `go test -timeout` or a CI does.
func TestServerEndsWithTheTests(t *testing.T) {
	if os.Getenv(killedTest) != "" {
		fmt.Println("port", Start(t).Port)
		select {} // until it is killed
	}
	killed := exec.Command(os.Args[0], "-test.run", "^TestServerEndsWithTheTests$")
	killed.Env = append(os.Environ(), killedTest+"=1", "TMPDIR="+t.TempDir())
	stdout, err := killed.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = killed.Process.Kill(); _ = killed.Wait() })
	s := &Server{T: t}
	for lines := bufio.NewScanner(stdout); s.Port == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "port %d", &s.Port)
	}
	s.connect()
	if err := s.Client.Ping(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Process.Kill()
	for deadline := time.Now().Add(10 * time.Second); s.Client.Ping(context.Background()).Err() == nil; {
		if time.Now().After(deadline) {
			s.Client.ShutdownNoSave(context.Background())
			t.Fatal("the server goes on")
		}
	}
}
