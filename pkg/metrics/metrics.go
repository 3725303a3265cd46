// Package metrics holds the controller's Prometheus metrics, on their own registry.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Snapshot is the state of the controller at the time of a scrape.
type Snapshot struct {
	// Targets counts targets that have a state, by kind and state.
	Targets map[TargetLabels]int
	// Unrestored counts targets, by kind, whose maintenance is off but that are not restored yet.
	Unrestored map[string]int
	// Oldest is when the longest maintenance in progress began; zero if there is none.
	Oldest   time.Time
	PageSets int            // page sets of the installation
	Queued   map[string]int // queue lengths, by queue
	// Bypass counts page sets whose bypass does not work for somebody, by reason.
	Bypass map[string]int
}

// TargetLabels are the labels of a count of targets.
type TargetLabels struct {
	Kind  string
	State string // as in annotation maintenance/state
}

// Metrics of the controller. It is safe for concurrent use.
type Metrics struct {
	registry  *prometheus.Registry
	reconcile *prometheus.HistogramVec
	leader    prometheus.Gauge
	statuses  prometheus.Counter
}

// New returns Metrics with all metrics registered that every replica has.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		reconcile: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "maintenance_reconcile_duration_seconds",
			Help:    "Duration of reconciles, by queue (target, page-set, checker, checker-status) and result (ok, conflict, error).",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"queue", "result"}),
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "maintenance_leader",
			Help: "1 if this replica leads, else 0.",
		}),
	}
	m.statuses = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "maintenance_checker_status_writes_total",
		Help: "Status writes of ServiceCheckers.",
	})
	m.registry.MustRegister(m.reconcile, m.leader, m.statuses, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe records one reconcile: its queue, its result (ok, conflict or error) and its duration.
func (m *Metrics) Observe(queue, result string, took time.Duration) {
	m.reconcile.WithLabelValues(queue, result).Observe(took.Seconds())
}

// SetLeading marks this replica as the leader and serves its snapshot at each scrape. Call it once.
func (m *Metrics) SetLeading(snapshot func() Snapshot) {
	m.leader.Set(1)
	m.registry.MustRegister(state(snapshot))
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// state is read at each scrape, so that it is never out of date.
type state func() Snapshot

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe sends nothing: the collector is unchecked.
func (s state) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s state) Collect(ch chan<- prometheus.Metric) {
	now := s()
	targets := describe("maintenance_targets", "Targets that have a state, by kind and state (pending, blocked, switching, active, restoring, contested).", "kind", "state")
	for t, n := range now.Targets {
		ch <- prometheus.MustNewConstMetric(targets, prometheus.GaugeValue, float64(n), t.Kind, t.State)
	}
	unrestored := describe("maintenance_unrestored_targets", "Targets whose maintenance is off but that are not restored yet, by kind. If this persists, a restore is failing.", "kind")
	for kind, n := range now.Unrestored {
		ch <- prometheus.MustNewConstMetric(unrestored, prometheus.GaugeValue, float64(n), kind)
	}
	oldest := 0.0
	if !now.Oldest.IsZero() {
		oldest = float64(now.Oldest.Unix())
	}
	ch <- prometheus.MustNewConstMetric(describe("maintenance_oldest_start_timestamp_seconds",
		"Unix time when the longest maintenance in progress began; 0 if there is none."), prometheus.GaugeValue, oldest)
	ch <- prometheus.MustNewConstMetric(describe("maintenance_page_sets", "Number of page sets."), prometheus.GaugeValue, float64(now.PageSets))
	bypass := describe("maintenance_bypass_failing", "Page sets whose bypass does not work for somebody, by reason (secret-missing, secret-unusable, app-unreachable).", "reason")
	for reason, n := range now.Bypass {
		ch <- prometheus.MustNewConstMetric(bypass, prometheus.GaugeValue, float64(n), reason)
	}
	queued := describe("maintenance_queue_length", "Keys waiting to be reconciled.", "queue")
	for name, n := range now.Queued {
		ch <- prometheus.MustNewConstMetric(queued, prometheus.GaugeValue, float64(n), name)
	}
}
