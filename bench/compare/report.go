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

// figures are what one Caddy has done in a round.
type figures struct {
	rig.Result
	cpu float64 // microseconds for a request, of the whole process
}

// round is one measurement of each, right after one another.
type round struct{ with, without figures }

// value is one line of the report.
type value struct {
	name string
	of   func(figures) float64
	note string
}

func report(out io.Writer, c sample, rounds []round) {
	fmt.Fprintf(out, "\n%s: %s\n", c.name, c.title)
	perSecond := func(f figures) float64 { return f.PerSecond }
	lines := []value{
		{"requests/s", perSecond, ""},
		{"p50 us", func(f figures) float64 { return micros(f.P50) }, ""},
		{"p99 us", func(f figures) float64 { return micros(f.P99) }, ""},
		{"CPU us/request", func(f figures) float64 { return f.cpu }, ""},
	}
	if c.least > 0 {
		lines[0].note = fmt.Sprintf("asked for: at least %.2f", c.least)
	}
	if c.most > 0 {
		lines[3].note = fmt.Sprintf("asked for: at most %.2f", c.most)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "\twith\tbare\tratio\tof each round\t\n")
	for _, line := range lines {
		with, without, ratios := columns(rounds, line.of)
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.3f\t%.3f\t %s\n", line.name, rig.Median(with), rig.Median(without), rig.Median(ratios), ratios, line.note)
	}
	_ = table.Flush()
}

func columns(rounds []round, of func(figures) float64) (with, without, ratios []float64) {
	for _, r := range rounds {
		a, b := of(r.with), of(r.without)
		with, without, ratios = append(with, a), append(without, b), append(ratios, a/b)
	}
	return with, without, ratios
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
