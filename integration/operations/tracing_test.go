package operations_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-vipps/vippslogin/internal/harness"
)

// TestHeaderPlaceholdersWithTracing: tracing hands on a copy of the request; the placeholders of the headers
// know the person all the same, and nothing that a client made up.
func TestHeaderPlaceholdersWithTracing(t *testing.T) {
	for _, tracing := range []string{"", "tracing"} {
		w := harness.NewWorld(t)
		w.Load(`
http://shop-a.localhost:$HTTP {
	` + tracing + `
	vipps_login 123456
	reverse_proxy $UPSTREAM {
		header_up X-User "{http.request.header.X-Vipps-Sub} {http.request.header.X-Vipps-Made-Up}"
	}
}
`)
		b := harness.NewBrowser(t)
		b.Login(w.Shop("shop-a.localhost")+"/", harness.Kari).WantStatus(t, http.StatusOK)
		b.Get(w.Shop("shop-a.localhost")+"/", "X-Vipps-Made-Up: evil", "X-Vipps-Sub: evil").WantStatus(t, http.StatusOK)
		r := w.Upstream.Last(t)
		if sub := r.Header.Get("X-Vipps-Sub"); sub == "" || r.Header.Get("X-User") != sub+" " && r.Header.Get("X-User") != sub {
			t.Errorf("%q: the site got %q, and %q of the placeholder", tracing, sub, r.Header.Get("X-User"))
		}
	}
}

// TestTracing: inside Caddy's tracing directive each call to Vipps MobilePay is a span in the request's
// trace, and no span holds anything secret or personal.
func TestTracing(t *testing.T) {
	var mu sync.Mutex
	var spans []*trace.Span
	var raw []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &request) != nil {
			t.Error("this is no export of spans")
		}
		mu.Lock()
		defer mu.Unlock()
		raw = append(raw, body...)
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				spans = append(spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")

	w := harness.NewWorld(t)
	w.Load(strings.Replace(harness.TwoShops, "vipps_login 123456\n", "tracing {\n\t\tspan shop\n\t}\n\tvipps_login 123456 {\n\t\tscope openid name phoneNumber email address\n\t}\n", 1))
	b := harness.NewBrowser(t)
	callback := b.Approved(w.Shop("shop-a.localhost")+"/", harness.Kari).RedirectTo()
	b.Follow(b.Get(callback)).WantStatus(t, http.StatusOK)
	for _, r := range w.Vipps.Requests(harness.PathToken) {
		if r.Header.Get("Traceparent") != "" {
			t.Error("our trace is told to Vipps")
		}
	}

	want := []string{"vipps accesstoken", "vipps discovery", "vipps keys", "vipps token", "vipps userinfo"}
	harness.WaitFor(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.ContainsFunc(spans, func(s *trace.Span) bool { return s.Name == "vipps userinfo" })
	})
	mu.Lock()
	defer mu.Unlock()
	ids := map[string]string{}
	for _, span := range spans {
		ids[hex.EncodeToString(span.SpanId)] = span.Name
	}
	var found []string
	for _, span := range spans {
		if !strings.HasPrefix(span.Name, "vipps") {
			continue
		}
		found = append(found, span.Name)
		if parent := ids[hex.EncodeToString(span.ParentSpanId)]; parent != "shop" {
			t.Errorf("%s is inside of %q, not of the request", span.Name, parent)
		}
	}
	slices.Sort(found)
	if !slices.Equal(found, want) {
		t.Errorf("spans: %v, want %v", found, want)
	}
	secrets := []string{harness.PartnerID, harness.PartnerSecret, harness.PartnerKey, harness.Kari, "Kari", "Nordmann", harness.MustQuery(t, callback).Get("code"), harness.MustQuery(t, callback).Get("state")}
	for _, secret := range secrets {
		if strings.Contains(string(raw), secret) {
			t.Errorf("%q is in a span", secret)
		}
	}
}
