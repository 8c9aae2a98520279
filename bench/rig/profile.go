package rig

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// AdminOff is for a Caddy without an admin API.
const AdminOff = "off"

// Admin is an address for a Caddy's admin API.
func Admin() (string, error) {
	port, err := Port()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

// Profile writes to a file what the Caddy with this admin API computes from now on, for so many seconds.
// Read it with go tool pprof.
func Profile(admin, file string, duration time.Duration) error {
	return fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", admin, max(1, duration.Seconds())), file)
}

// AllocationProfile writes to a file where the Caddy with this admin API has allocated since its start.
func AllocationProfile(admin, file string) error {
	return fetch("http://"+admin+"/debug/pprof/allocs", file)
}

func fetch(address, file string) error {
	resp, err := http.Get(address)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("no profile: %s", resp.Status)
	}
	to, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, resp.Body)
	if err2 := to.Close(); err == nil {
		err = err2
	}
	return err
}
