package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-vipps/vippslogin/bench/rig"
)

// memstats are those of runtime.MemStats that are told.
type memstats struct {
	HeapAlloc, HeapInuse, HeapIdle, HeapReleased, StackInuse, MSpanInuse, GCSys, OtherSys, NextGC uint64
	NumGC                                                                                         uint32
}

// profileWaiting writes the heap and the goroutines of the Caddy, if that was asked for, and tells what of its memory is in use.
func (b *bench) profileWaiting(name string) error {
	if *profiles == "" {
		return nil
	}
	if err := b.tell("as it is"); err != nil {
		return err
	}
	for kind, query := range map[string]string{"heap": "?gc=1", "goroutine": "", "goroutines": "?debug=1"} {
		path := kind
		if kind == "goroutines" {
			path = "goroutine"
		}
		if err := b.save(path+query, name+"."+kind); err != nil {
			return err
		}
	}
	return b.tell("after a collection")
}

func (b *bench) tell(when string) error {
	resp, err := http.Get("http://" + b.admin + "/debug/vars")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var vars struct{ Memstats memstats }
	if err := json.NewDecoder(resp.Body).Decode(&vars); err != nil {
		return err
	}
	const mib = 1 << 20
	m := vars.Memstats
	fmt.Printf("  %s: resident %.1f MiB; heap %.1f in use (spans %.1f), %.1f idle of which %.1f released, next collection at %.1f; stacks %.1f; collector %.1f; %d collections\n", when, b.memory(),
		float64(m.HeapAlloc)/mib, float64(m.HeapInuse)/mib, float64(m.HeapIdle)/mib, float64(m.HeapReleased)/mib, float64(m.NextGC)/mib, float64(m.StackInuse)/mib, float64(m.GCSys+m.MSpanInuse)/mib, m.NumGC)
	return nil
}

func (b *bench) save(profile, name string) error {
	resp, err := http.Get("http://" + b.admin + "/debug/pprof/" + profile)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*profiles, name), content, 0o600)
}

// profileCPU begins a profile of what the Caddy computes while clients are answered, if that was asked for.
func (b *bench) profileCPU(name string) (stop func() error) {
	if *profiles == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- rig.Profile(b.admin, filepath.Join(*profiles, name+".cpu"), 5*time.Second) }()
	time.Sleep(100 * time.Millisecond) // it has begun
	return func() error { return <-done }
}
