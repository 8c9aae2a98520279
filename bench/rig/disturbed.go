package rig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Memory is what a Caddy has allocated since its start.
type Memory struct{ Mallocs, TotalAlloc uint64 }

// ReadMemory asks a Caddy with this admin API.
func ReadMemory(admin string) (Memory, error) {
	resp, err := http.Get("http://" + admin + "/debug/vars")
	if err != nil {
		return Memory{}, err
	}
	defer resp.Body.Close()
	var vars struct{ Memstats Memory }
	err = json.NewDecoder(resp.Body).Decode(&vars)
	if err == nil && vars.Memstats.Mallocs == 0 {
		err = fmt.Errorf("no memstats: %s", resp.Status)
	}
	return vars.Memstats, err
}

// Others is a look at the machine: who computed how much until then.
type Others struct {
	processes         []*Process
	busy, total, ours time.Duration
}

// WatchOthers begins to watch how much processes other than these, this one and its children compute.
func WatchOthers(ours ...*Process) (*Others, error) {
	w := &Others{processes: ours}
	var err error
	w.busy, w.total, w.ours, err = w.look()
	return w, err
}

// Share is how much of the machine's CPU time other processes have taken since WatchOthers, from 0 to 1. What a host takes from
// a virtual machine counts as well.
func (w *Others) Share() (float64, error) {
	busy, total, ours, err := w.look()
	if err != nil || total == w.total {
		return 0, err
	}
	return float64((busy-w.busy)-(ours-w.ours)) / float64(total-w.total), nil
}

func (w *Others) look() (busy, total, ours time.Duration, err error) {
	if busy, total, err = machineTime(); err != nil {
		return 0, 0, 0, err
	}
	for _, p := range w.processes {
		took, err := p.CPU()
		if err != nil {
			return 0, 0, 0, err
		}
		ours += took
	}
	self, err := processTime("self", 4) // with the children that have ended, as wrk
	return busy, total, ours + self, err
}

// machineTime reads the first line of /proc/stat (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal.
// Interrupts are the requests' own packets on loopback, so they count as nobody's.
func machineTime() (busy, total time.Duration, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 {
		return 0, 0, errors.New("/proc/stat is not as expected")
	}
	for i, field := range fields[1:9] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		took := time.Duration(ticks) * time.Second / ticksPerSecond
		total += took
		switch i {
		case 0, 1, 2, 7:
			busy += took
		}
	}
	return busy, total, nil
}
