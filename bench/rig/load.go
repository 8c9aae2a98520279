package rig

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Load is one request, sent again and again on so many connections, each of which waits for its answer.
type Load struct {
	URL         string
	Header      http.Header
	Connections int
	Duration    time.Duration
	Status      int // that every answer must have
}

// Result is what came of it.
type Result struct {
	Requests  int
	PerSecond float64
	P50, P99  time.Duration
}

// Driver sends the requests of a load.
type Driver interface {
	Run(context.Context, Load) (Result, error)
}

// BestDriver is wrk where it is installed.
func BestDriver(folder string) Driver {
	if program, err := exec.LookPath("wrk"); err == nil {
		return wrk{program, folder}
	}
	return GoDriver{}
}

// wrk is https://github.com/wg/wrk, which takes less of a core than anything in Go: what it takes is
// missing to what is measured.
type wrk struct{ program, folder string }

func (wrk) String() string { return "wrk" }

// wrkScript prints the result for a program to read. It looks at no answer, which would cost: wrk counts
// statuses from 400 by itself, and checkOnce has seen the right one.
const wrkScript = `
function done(summary, latency, requests)
	local e = summary.errors
	io.write(string.format("result %d %d %d %d %d\n", summary.requests, summary.duration,
		latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
`

func (d wrk) Run(ctx context.Context, l Load) (Result, error) {
	if err := checkOnce(ctx, l); err != nil {
		return Result{}, err
	}
	script := filepath.Join(d.folder, "wrk.lua")
	if err := os.WriteFile(script, []byte(wrkScript), 0o600); err != nil {
		return Result{}, err
	}
	arguments := []string{"--threads", "1", "--connections", fmt.Sprint(l.Connections), "--duration", fmt.Sprintf("%.0fs", max(1, l.Duration.Seconds())), "--script", script}
	for name, values := range l.Header {
		arguments = append(arguments, "--header", name+": "+values[0])
	}
	cmd := exec.CommandContext(ctx, d.program, append(arguments, l.URL)...)
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return Result{}, fmt.Errorf("wrk: %w\n%s", err, output)
	}
	_, line, ok := strings.Cut(string(output), "\nresult ")
	var requests, micros, p50, p99, failed int
	if n, _ := fmt.Sscan(line, &requests, &micros, &p50, &p99, &failed); !ok || n != 5 || micros == 0 {
		return Result{}, fmt.Errorf("wrk printed something else:\n%s", output)
	}
	if failed > 0 || requests == 0 {
		return Result{}, fmt.Errorf("%d of %d requests failed", failed, requests)
	}
	return Result{
		Requests: requests, PerSecond: float64(requests) / float64(micros) * 1e6,
		P50: time.Duration(p50) * time.Microsecond, P99: time.Duration(p99) * time.Microsecond,
	}, nil
}

// GoDriver is in the place of wrk where there is none. It takes its share of the machine.
type GoDriver struct{}

func (GoDriver) String() string { return "a driver in Go, since there is no wrk" }

// checkOnce sends the request once, and looks at the status.
func checkOnce(ctx context.Context, l Load) error {
	l.Connections, l.Duration = 1, 0
	_, err := GoDriver{}.Run(ctx, l)
	return err
}

func (GoDriver) Run(ctx context.Context, l Load) (Result, error) {
	var mu sync.Mutex
	var all []time.Duration
	var failures []error
	begin := time.Now()
	var connections sync.WaitGroup
	for range l.Connections {
		connections.Go(func() {
			took, err := sendOn(ctx, l, begin.Add(l.Duration))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			failures = append(failures, err)
		})
	}
	connections.Wait()
	if err := errors.Join(failures...); err != nil {
		return Result{}, err
	}
	seconds := time.Since(begin).Seconds()
	slices.Sort(all)
	return Result{
		Requests: len(all), PerSecond: float64(len(all)) / seconds,
		P50: all[len(all)/2], P99: all[len(all)*99/100],
	}, nil
}

// sendOn sends the request on one connection until the end, at least once.
func sendOn(ctx context.Context, l Load, end time.Time) ([]time.Duration, error) {
	target, err := url.Parse(l.URL)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodGet, l.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header = l.Header.Clone()
	if host := l.Header.Get("Host"); host != "" {
		req.Host = host
	}
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", target.Host)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	var took []time.Duration
	for {
		began := time.Now()
		if _, err := conn.Write(wire.Bytes()); err != nil {
			return took, err
		}
		resp, err := http.ReadResponse(answers, req)
		if err != nil {
			return took, err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return took, err
		}
		if resp.StatusCode != l.Status {
			return took, fmt.Errorf("status %d, want %d", resp.StatusCode, l.Status)
		}
		now := time.Now()
		took = append(took, now.Sub(began))
		if !now.Before(end) || ctx.Err() != nil {
			return took, ctx.Err()
		}
	}
}
