package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddy-vipps/vippslogin/bench/rig"
)

// result is what was measured of a case.
type result struct {
	sample
	rounds []round
}

// value is one line of the report.
type value struct {
	name string
	of   func(figures) float64
	note string
}

func perSecond(f figures) float64   { return f.PerSecond }
func cpu(f figures) float64         { return f.cpu }
func allocations(f figures) float64 { return f.allocations }
func bytes(f figures) float64       { return f.bytes }

// report prints the plugin beside each of the other sides.
func report(out io.Writer, c sample, rounds []round) {
	fmt.Fprintf(out, "\n%s: %s\n", c.name, c.title)
	against(out, rounds, bareCookies, c.least, c.most)
	if !c.anonymous {
		against(out, rounds, bareHeaders, c.leastSent, c.mostSent)
	}
}

func against(out io.Writer, rounds []round, other int, least, most float64) {
	lines := []value{
		{"requests/s", perSecond, ""},
		{"p50 us", func(f figures) float64 { return micros(f.P50) }, ""},
		{"p99 us", func(f figures) float64 { return micros(f.P99) }, ""},
		{"CPU us/request", cpu, ""},
		{"allocations", allocations, ""},
		{"bytes", bytes, ""},
	}
	if least > 0 {
		lines[0].note = fmt.Sprintf("asked for: at least %.2f", least)
	}
	if most > 0 {
		lines[3].note = fmt.Sprintf("asked for: at most %.2f", most)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\twith\t%s\tratio\tof each round\t\n", sideNames[other])
	for _, line := range lines {
		with, without, ratios := columns(rounds, withPlugin, other, line.of)
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.3f\t%.3f\t %s\n", line.name, rig.Median(with), rig.Median(without), rig.Median(ratios), ratios, line.note)
	}
	_ = table.Flush()
}

// summary prints all cases in one table, as medians over the bare Caddy that does the same.
func summary(out io.Writer, results []result) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "\n\tallocations\tbytes\tCPU us\tthroughput\t\n")
	for _, r := range results {
		fmt.Fprintf(table, "%s: bare\t%.0f\t%.0f\t%.1f\t1\t\n", r.name, median(r.rounds, bareCookies, allocations), median(r.rounds, bareCookies, bytes), median(r.rounds, bareCookies, cpu))
		for _, side := range []int{bareHeaders, withPlugin} {
			if r.anonymous && side == bareHeaders {
				continue
			}
			over := func(of func(figures) float64) float64 {
				return median(r.rounds, side, of) - median(r.rounds, bareCookies, of)
			}
			_, _, throughput := columns(r.rounds, side, bareCookies, perSecond)
			fmt.Fprintf(table, "%s: %s\t%+.0f\t%+.0f\t%+.1f\t%.2f\t\n", r.name, sideNames[side], over(allocations), over(bytes), over(cpu), rig.Median(throughput))
		}
	}
	_ = table.Flush()
}

func median(rounds []round, side int, of func(figures) float64) float64 {
	var values []float64
	for _, r := range rounds {
		values = append(values, of(r[side]))
	}
	return rig.Median(values)
}

// columns are a figure of two sides, and the ratios.
func columns(rounds []round, side, other int, of func(figures) float64) (ones, others, ratios []float64) {
	for _, r := range rounds {
		a, b := of(r[side]), of(r[other])
		ones, others, ratios = append(ones, a), append(others, b), append(ratios, a/b)
	}
	return ones, others, ratios
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// identityHeaders are those that the upstream of a site gets about the person.
func identityHeaders(client *http.Client, site, session string) (http.Header, error) {
	req, err := http.NewRequest(http.MethodGet, site+rig.HeadersPath, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Cookie", session)
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var header http.Header
	err = json.NewDecoder(resp.Body).Decode(&header)
	for field := range header {
		if !strings.HasPrefix(field, "X-Vipps-") {
			delete(header, field)
		}
	}
	return header, err
}
