package vippslogin

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The flows of logins, as a label and in log lines.
const (
	flowBrowser = "browser" // besides those of internal/phone
)

// counters belong to the process and survive reloads, each of which has a registry of its own. No label has a value from
// outside. The label msn is empty unless the config asks for it; to Prometheus, an empty label is an absent one.
type counters struct {
	started, completed, failed *prometheus.CounterVec
	calls                      *prometheus.HistogramVec
	sessions, webhooks         *prometheus.CounterVec
	stateLost                  prometheus.Counter
}

const (
	metricsNamespace = "caddy"
	metricsSubsystem = "vipps_login"
)

var counted = counters{
	started:   newCounter("logins_started_total", "Logins that were started.", "flow", "msn"),
	completed: newCounter("logins_completed_total", "Logins that ended with a known person.", "flow", "msn"),
	failed:    newCounter("logins_failed_total", "Logins that ended otherwise, and requests for one that was refused.", "flow", "reason", "msn"),
	sessions:  newCounter("sessions_total", "Session cookies that came with a request, by what they were good for.", "result", "msn"),
	webhooks:  newCounter("webhooks_refused_total", "Webhooks that were not taken, by what was wrong with them.", "reason"),
	stateLost: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "state_lost_total",
		Help: "Times that the shared state was found to have lost what was stored.",
	}),
	calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "vipps_call_duration_seconds",
		Help:    "Calls to Vipps MobilePay, by endpoint and class of status.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"endpoint", "status"}),
}

// webhookReasons are the reasons to refuse a webhook.
var webhookReasons = []string{"signature", "secret", "body", "too_large"}

func newCounter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: name, Help: help,
	}, labels)
}

// observeCall counts a call to Vipps MobilePay. Status 0 means no answer.
func (c counters) observeCall(endpoint string, status int, took time.Duration) {
	class := "error"
	if status != 0 {
		class = strconv.Itoa(status/100) + "xx"
	}
	c.calls.WithLabelValues(endpoint, class).Observe(took.Seconds())
}

// sessionResults are the counters for requests with a session cookie, looked up in advance.
type sessionResults struct {
	opened, unreadable, expired, idle, unconfirmed, revoked prometheus.Counter
}

func (c counters) sessionResults(msn string) sessionResults {
	return sessionResults{
		opened:      c.sessions.WithLabelValues("opened", msn),
		unreadable:  c.sessions.WithLabelValues("unreadable", msn),
		expired:     c.sessions.WithLabelValues("expired", msn),
		idle:        c.sessions.WithLabelValues("idle", msn),
		unconfirmed: c.sessions.WithLabelValues("unconfirmed", msn),
		revoked:     c.sessions.WithLabelValues("revoked", msn),
	}
}

// register registers the metrics with a config's registry. Metrics that are there already are no error: apps may share a
// registry.
func (c counters) register(registry *prometheus.Registry, of *shared) error {
	for _, reason := range webhookReasons {
		c.webhooks.WithLabelValues(reason) // from the start, so that the first one is an increase
	}
	for _, collector := range []prometheus.Collector{c.started, c.completed, c.failed, c.sessions, c.webhooks, c.stateLost, c.calls, sharedCollector{of}} {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(collector); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}

// sharedCollector collects the gauges of what configs share.
type sharedCollector struct{ shared *shared }

var (
	tokenAge = newDescription("partner_token_age_seconds", "Age of the partner access token; absent while there is none.")
	tokenEnd = newDescription("partner_token_expires_seconds", "Time until the partner access token is not used any more; absent while there is none.")
	pending  = newDescription("phone_logins_pending", "Logins from phone numbers that were started by this instance and have not ended as far as it knows.")
)

func newDescription(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metricsNamespace, metricsSubsystem, name), help, nil, nil)
}

// Describe implements prometheus.Collector.
func (sharedCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- tokenAge
	descriptions <- tokenEnd
	descriptions <- pending
}

// Collect implements prometheus.Collector.
func (c sharedCollector) Collect(metrics chan<- prometheus.Metric) {
	now := time.Now()
	if fetched, expires, ok := c.shared.client.Token.Life(); ok && now.Before(expires) {
		metrics <- prometheus.MustNewConstMetric(tokenAge, prometheus.GaugeValue, now.Sub(fetched).Seconds())
		metrics <- prometheus.MustNewConstMetric(tokenEnd, prometheus.GaugeValue, expires.Sub(now).Seconds())
	}
	metrics <- prometheus.MustNewConstMetric(pending, prometheus.GaugeValue, float64(c.shared.phones.Pending()))
}
