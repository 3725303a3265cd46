package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Checks is the state of the ServiceCheckers at the time of a scrape.
type Checks struct {
	// Checkers counts ServiceCheckers by the status of their condition Available: True, False or
	// Unknown.
	Checkers map[string]int
	// Services counts the entries of all ServiceCheckers.
	Services map[CheckedLabels]int
}

// CheckedLabels are the labels of a count of services: State is Up, Down or Unknown.
type CheckedLabels struct {
	State    string
	Critical bool // for any checker that names the service
}

// RegisterChecks serves the state of the ServiceCheckers at each scrape. Only the leader calls it,
// once.
func (m *Metrics) RegisterChecks(now func() Checks) {
	m.registry.MustRegister(checks(now))
}

// StatusWritten counts a status write of a ServiceChecker.
func (m *Metrics) StatusWritten() { m.statuses.Inc() }

// checks are read at each scrape.
type checks func() Checks

// Describe sends nothing: the collector is unchecked.
func (c checks) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c checks) Collect(ch chan<- prometheus.Metric) {
	now := c()
	checkers := describe("maintenance_checkers", "ServiceCheckers by the status of their condition Available (True, False, Unknown).", "available")
	for status, n := range now.Checkers {
		ch <- prometheus.MustNewConstMetric(checkers, prometheus.GaugeValue, float64(n), status)
	}
	services := describe("maintenance_checker_services", "Services named by ServiceCheckers, by state (Up, Down, Unknown) and whether they are critical.", "state", "critical")
	for s, n := range now.Services {
		ch <- prometheus.MustNewConstMetric(services, prometheus.GaugeValue, float64(n), s.State, strconv.FormatBool(s.Critical))
	}
}
