// Package freeport finds ports for the servers that tests start.
package freeport

import (
	"math/rand/v2"
	"net"
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
)

// New returns a port that nobody listens on, and that this process was not given before.
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
		if listener, err := net.Listen("tcp", ":"+strconv.Itoa(port)); err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}
