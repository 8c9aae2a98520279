// Package scrape reads the metrics of a world's Caddy.
package scrape

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// Metrics returns what Caddy's registry says now: "name{label=value,…}" to value; of a histogram its
// count.
func Metrics(w *harness.World) map[string]float64 {
	w.T.Helper()
	a := harness.NewBrowser(w.T).Get(w.Shop("metrics.localhost") + "/")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(a.WantStatus(w.T, http.StatusOK).Text))
	if err != nil {
		w.T.Fatal(err)
	}
	values := make(map[string]float64)
	for name, family := range families {
		if !strings.HasPrefix(name, "caddy_vipps_login_") {
			continue
		}
		for _, m := range family.Metric {
			var labels []string
			for _, label := range m.Label {
				if label.GetValue() != "" { // as if it were not there
					labels = append(labels, label.GetName()+"="+label.GetValue())
				}
			}
			key := fmt.Sprintf("%s{%s}", strings.TrimPrefix(name, "caddy_vipps_login_"), strings.Join(labels, ","))
			values[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

// Site is a site that shows the metrics. Metrics wants it among the sites.
const Site = `
http://metrics.localhost:$HTTP {
	metrics
}
`

// WantMore checks by how much counters have grown since before.
func WantMore(t *testing.T, before, after map[string]float64, want map[string]float64) {
	t.Helper()
	for key, n := range want {
		if got := after[key] - before[key]; got != n {
			t.Errorf("%s grew by %v, want %v", key, got, n)
		}
	}
}
