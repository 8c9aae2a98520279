// Package freeport finds ports for the servers that tests start.
package freeport

import (
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"sync"
	"testing"
)

// Ports that no system hands out to outgoing connections by itself (RFC 6335 section 6, and Linux, which
// begins at 32768): one of those could take a port between here and the server's start.
const first, count = 20000, 12000

var (
	mu   sync.Mutex
	used = make(map[int]bool)
	// reservations are kept for as long as the process runs: the garbage collector would close them.
	reservations []net.Listener
)

// New returns a port that nobody listens on, and that neither this process was given before nor another one that runs. (A
// test may stop its server and start it again: in between, nobody listens.)
func New(t testing.TB) int {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	for range count {
		port := first + rand.IntN(count)
		if used[port] {
			continue
		}
		used[port] = true
		if !reserve(port) {
			continue
		}
		if listener, err := net.Listen("tcp", ":"+strconv.Itoa(port)); err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// reserve reports whether no other process has the port, which is this process's then, until it ends. mu is held.
func reserve(port int) bool {
	if runtime.GOOS != "linux" {
		return true
	}
	// An abstract socket: no file, and it goes with its process.
	reservation, err := net.Listen("unix", "@vippslogin-freeport-"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	reservations = append(reservations, reservation)
	return true
}
