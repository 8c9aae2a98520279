package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is USER_HZ, which is 100 wherever Go runs on Linux.
const ticksPerSecond = 100

// CPU is the time that all threads of the process have computed so far, in the kernel too.
func (p *Process) CPU() (time.Duration, error) {
	return processTime(strconv.Itoa(p.cmd.Process.Pid), 2)
}

// processTime reads /proc/PID/stat (proc_pid_stat(5)): utime, stime and, of children that have ended, cutime and cstime, so
// many of them.
func processTime(pid string, count int) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	// The name of the program is in brackets, and may hold anything; utime is the 14th field.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, errors.New("/proc/PID/stat is not as expected")
	}
	var sum int64
	for _, field := range fields[11 : 11+count] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += ticks
	}
	return time.Duration(sum) * time.Second / ticksPerSecond, nil
}

// Machine is a line about the machine and what else it does.
func Machine() string {
	model := "unknown processor"
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpuinfo)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	average, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%d cores of %s, %s, load %s before", runtime.NumCPU(), model, runtime.Version(), average)
}

// Median is the middle one, or the mean of the two in the middle.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
