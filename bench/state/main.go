// Command state measures what phone logins and ended sessions cost in the shared state: operations, bytes and memory, with
// a Redis server and with Caddy's file storage, for ten instances. It runs the parts of the plugin that use the state, each
// instance with a connection of its own, in one process. Everything is on this machine and ends by itself.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
)

func main() {
	engine := flag.String("engine", "redis", "redis or file")
	phones := flag.Int("phones", 0, "phone logins")
	ended := flag.Int("ended", 0, "ended sessions")
	instances := flag.Int("instances", 10, "instances")
	flag.Parse()
	if err := run(*engine, *phones, *ended, *instances); err != nil {
		log.Fatal(err)
	}
}

func run(engine string, phones, ended, instances int) error {
	folder, err := os.MkdirTemp("", "vippslogin-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	var s shared
	switch engine {
	case "redis":
		s, err = startRedis(folder, instances)
	case "file":
		s, err = newFiles(folder, instances), nil
	default:
		err = fmt.Errorf("there is no engine %q", engine)
	}
	if err != nil {
		return err
	}
	defer s.stop()
	if phones > 0 {
		if err := measurePhones(s, phones); err != nil {
			return err
		}
	}
	if ended > 0 {
		return measureEnded(s, ended)
	}
	return nil
}

// usage is what the shared state was asked for since it began, and what it takes now.
type usage struct {
	operations map[string]int64
	memory     int64 // of the server, without what its connections take
	disk       int64
	files      int
	sent, got  int64 // by the server, in bytes
}

// report prints what has come between two usages.
func report(what string, n int, before, after usage) {
	fmt.Printf("%s\n", what)
	total := int64(0)
	var parts []string
	for name, count := range after.operations {
		if count -= before.operations[name]; count > 0 {
			total += count
			parts = append(parts, fmt.Sprintf("%s %d", name, count))
		}
	}
	slices.Sort(parts)
	fmt.Printf("  operations %d, %.4f for each: %s\n", total, float64(total)/float64(n), strings.Join(parts, ", "))
	line := func(name string, before, after int64) {
		if after != 0 {
			fmt.Printf("  %s %+d bytes, %.1f for each, now %.1f MiB\n", name, after-before, float64(after-before)/float64(n), float64(after)/(1<<20))
		}
	}
	line("memory", before.memory, after.memory)
	line("disk", before.disk, after.disk)
	line("sent", before.sent, after.sent)
	line("received", before.got, after.got)
	if after.files != 0 {
		fmt.Printf("  files %+d, now %d\n", after.files-before.files, after.files)
	}
}

// heap is what is in use after garbage collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// each calls do for 0 to n-1, some at a time, and returns the first error.
func each(n, atOnce int, do func(i int) error) error {
	next, failed := make(chan int), make(chan error, atOnce)
	var wait sync.WaitGroup
	for range atOnce {
		wait.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wait.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
