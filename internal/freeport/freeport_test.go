package freeport

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
)

const reservedPort = "VIPPSLOGIN_TEST_RESERVED_PORT"

// TestReservedPorts: a port that a process was given is not given to another one that runs beside it.
func TestReservedPorts(t *testing.T) {
	if port, err := strconv.Atoi(os.Getenv(reservedPort)); err == nil {
		if reserve(port) {
			t.Error("two processes have the same port")
		}
		return
	}
	other := exec.Command(os.Args[0], "-test.run=^TestReservedPorts$")
	other.Env = append(os.Environ(), reservedPort+"="+strconv.Itoa(New(t)))
	if out, err := other.CombinedOutput(); err != nil && runtime.GOOS == "linux" {
		t.Errorf("%v: %s", err, out)
	}
}
