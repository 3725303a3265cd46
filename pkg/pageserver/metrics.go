package pageserver

import (
	"fmt"
	"io"
	"sync/atomic"
)

// Metrics counts answers. The Prometheus client library would take half of this program's
// memory, so it writes the text format itself
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
type Metrics struct {
	requests [len(methods) + 1][kinds]atomic.Uint64
	status   [kinds]atomic.Uint32 // the last status of each kind: only readiness has two
	unready  atomic.Uint64
}

// methods are those with a name in the metrics. Clients can invent others, each of which
// would be a new time series.
var methods = [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}

func (m *Metrics) count(method string, k kind, status int) {
	if k == kindReady && status != 200 {
		m.unready.Add(1)
		return
	}
	if m.status[k].Load() != uint32(status) {
		m.status[k].Store(uint32(status))
	}
	for i, name := range methods {
		if name == method {
			m.requests[i][k].Add(1)
			return
		}
	}
	m.requests[len(methods)][k].Add(1)
}

// Requests is the number of answers so far in a format ("html", "json", "xml", "text",
// "problem", "grpc", "connect", "preflight" or "ready").
func (m *Metrics) Requests(format string) uint64 {
	var sum uint64
	for k := range kinds {
		if k.String() == format {
			for i := range m.requests {
				sum += m.requests[i][k].Load()
			}
		}
	}
	return sum
}

// WriteTo implements io.WriterTo. It writes the counters in the text format, without series
// that are 0.
func (m *Metrics) WriteTo(w io.Writer) (int64, error) {
	const name = "maintenance_page_requests_total"
	total, err := fmt.Fprintf(w, "# HELP %[1]s Requests answered, by method, format of the answer and HTTP status.\n# TYPE %[1]s counter\n", name)
	write := func(method string, k kind, status uint32, n uint64) {
		if n == 0 || err != nil {
			return
		}
		var written int
		written, err = fmt.Fprintf(w, "%s{method=%q,format=%q,status=\"%d\"} %d\n", name, method, k, status, n)
		total += written
	}
	for i := range m.requests {
		method := "other"
		if i < len(methods) {
			method = methods[i]
		}
		for k := range kinds {
			write(method, k, m.status[k].Load(), m.requests[i][k].Load())
		}
	}
	write("GET", kindReady, 503, m.unready.Load())
	return int64(total), err
}
