package pageapp

import (
	"fmt"
	"io"
	"strings"

	"maintenance-controller.io/pkg/httpserve"
	"maintenance-controller.io/pkg/pageserver"
	"maintenance-controller.io/pkg/version"
)

// writeMetrics writes all metrics in Prometheus's text format. It ignores errors: they only
// mean that the scraper has gone away.
func writeMetrics(w io.Writer, pages *pageserver.Server, server *httpserve.Server) {
	_, _ = pages.Metrics().WriteTo(w)
	var open, ever strings.Builder
	server.Stats().Each(func(p httpserve.Protocol, now int64, total uint64) {
		fmt.Fprintf(&open, "maintenance_page_connections{protocol=%q} %d\n", p, now)
		if p != httpserve.Undecided {
			fmt.Fprintf(&ever, "maintenance_page_connections_total{protocol=%q} %d\n", p, total)
		}
	})
	metric := func(name, kind, help, samples string) {
		_, _ = fmt.Fprintf(w, "# HELP %[1]s %[2]s\n# TYPE %[1]s %[3]s\n%[4]s", name, help, kind, samples)
	}
	metric("maintenance_page_connections", "gauge", "Open connections, by the protocol of their first bytes.", open.String())
	metric("maintenance_page_connections_total", "counter", "Connections so far, by the protocol of their first bytes.", ever.String())
	refused, evicted := server.Stats().Pressure()
	metric("maintenance_page_connections_pressed_total", "counter", "Connections that were refused, or closed while idle, because memory was used up.",
		fmt.Sprintf("maintenance_page_connections_pressed_total{outcome=\"refused\"} %d\nmaintenance_page_connections_pressed_total{outcome=\"closed\"} %d\n", refused, evicted))
	metric("maintenance_page_panics_total", "counter", "Requests that panicked; all other requests went on.",
		fmt.Sprintf("maintenance_page_panics_total %d\n", server.Stats().Panics()))
	metric("maintenance_page_build_info", "gauge", "Always 1; the labels identify the build.",
		fmt.Sprintf("maintenance_page_build_info{version=%q,commit=%q} 1\n", version.Version, version.Commit))
}
