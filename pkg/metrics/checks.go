package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Checks are what ServiceCheckers say at the moment of a scrape.
type Checks struct {
	// Checkers by the status of their condition Available: True, False or Unknown.
	Checkers map[string]int
	// Services that they name, one for each time.
	Services map[Checked]int
}

// Checked labels a count of services: Up, Down or Unknown, and whether it is critical.
type Checked struct {
	State    string
	Critical bool
}

// Checking says that this replica writes what ServiceCheckers say, and what that is.
func (m *Metrics) Checking(now func() Checks) {
	m.registry.MustRegister(checks(now))
}

// StatusWritten counts a write of a ServiceChecker's status.
func (m *Metrics) StatusWritten() { m.statuses.Inc() }

// checks are read at each scrape.
type checks func() Checks

// Describe sends nothing: the collector is unchecked, and its names are its own.
func (c checks) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c checks) Collect(ch chan<- prometheus.Metric) {
	now := c()
	checkers := describe("maintenance_checkers", "ServiceCheckers by the status of their condition Available (True, False, Unknown).", "available")
	for status, n := range now.Checkers {
		ch <- prometheus.MustNewConstMetric(checkers, prometheus.GaugeValue, float64(n), status)
	}
	services := describe("maintenance_checker_services", "Services that ServiceCheckers name, by what they count as (Up, Down, Unknown) and whether they are critical.", "state", "critical")
	for s, n := range now.Services {
		ch <- prometheus.MustNewConstMetric(services, prometheus.GaugeValue, float64(n), s.State, strconv.FormatBool(s.Critical))
	}
}
