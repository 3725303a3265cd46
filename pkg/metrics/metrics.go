// Package metrics holds the controller's Prometheus metrics, on a registry of its own.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Snapshot is what the controller sees at the moment of a scrape.
type Snapshot struct {
	// Targets in maintenance, or on their way to it, by kind and state.
	Targets map[Target]int
	// Unrestored are the targets, by kind, whose maintenance is off and that are not
	// as they were before yet.
	Unrestored map[string]int
	// Oldest is when the longest maintenance of all began; zero if there is none.
	Oldest   time.Time
	PageSets int
	Queued   map[string]int // by queue
	// Bypass counts, by reason, the page sets of which something keeps those who should be
	// let through from the app.
	Bypass map[string]int
}

// Target labels a count of targets.
type Target struct{ Kind, State string }

// Metrics of the controller.
type Metrics struct {
	registry  *prometheus.Registry
	reconcile *prometheus.HistogramVec
	leader    prometheus.Gauge
	statuses  prometheus.Counter
}

// New registers the metrics.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		reconcile: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "maintenance_reconcile_duration_seconds",
			Help:    "How long reconciles took, by queue (target, page-set, checker, checker-status) and result (ok, conflict, error).",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"queue", "result"}),
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "maintenance_leader",
			Help: "1 if this replica is the one that works, else 0.",
		}),
	}
	m.statuses = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "maintenance_checker_status_writes_total",
		Help: "Writes of the status of ServiceCheckers.",
	})
	m.registry.MustRegister(m.reconcile, m.leader, m.statuses, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe counts one reconcile.
func (m *Metrics) Observe(queue, result string, took time.Duration) {
	m.reconcile.WithLabelValues(queue, result).Observe(took.Seconds())
}

// Leading says that this replica works, and what it sees.
func (m *Metrics) Leading(snapshot func() Snapshot) {
	m.leader.Set(1)
	m.registry.MustRegister(state(snapshot))
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// state is read at each scrape, so that it can never be out of date.
type state func() Snapshot

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe sends nothing: the collector is unchecked, and its names are its own.
func (s state) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s state) Collect(ch chan<- prometheus.Metric) {
	now := s()
	targets := describe("maintenance_targets", "Targets in maintenance or on their way to it, by kind and state (switching, active, pending, blocked, contested).", "kind", "state")
	for t, n := range now.Targets {
		ch <- prometheus.MustNewConstMetric(targets, prometheus.GaugeValue, float64(n), t.Kind, t.State)
	}
	unrestored := describe("maintenance_unrestored_targets", "Targets whose maintenance is off and that are not as they were before yet, by kind: for more than moments, a restore fails.", "kind")
	for kind, n := range now.Unrestored {
		ch <- prometheus.MustNewConstMetric(unrestored, prometheus.GaugeValue, float64(n), kind)
	}
	oldest := 0.0
	if !now.Oldest.IsZero() {
		oldest = float64(now.Oldest.Unix())
	}
	ch <- prometheus.MustNewConstMetric(describe("maintenance_oldest_start_timestamp_seconds",
		"Unix time at which the longest maintenance that goes on began; 0 if there is none."), prometheus.GaugeValue, oldest)
	ch <- prometheus.MustNewConstMetric(describe("maintenance_page_sets", "Page sets there are."), prometheus.GaugeValue, float64(now.PageSets))
	bypass := describe("maintenance_bypass_troubles", "Page sets of which somebody who should be let through is not, by reason (secret-missing, secret-unusable, app-unreachable).", "reason")
	for reason, n := range now.Bypass {
		ch <- prometheus.MustNewConstMetric(bypass, prometheus.GaugeValue, float64(n), reason)
	}
	queued := describe("maintenance_queue_length", "Keys that wait to be reconciled.", "queue")
	for name, n := range now.Queued {
		ch <- prometheus.MustNewConstMetric(queued, prometheus.GaugeValue, float64(n), name)
	}
}
