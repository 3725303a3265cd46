package httpserve

import "sync/atomic"

// Stats counts connections by protocol.
type Stats struct {
	now     [protocols]atomic.Int64
	total   [protocols]atomic.Uint64
	panics  atomic.Uint64
	refused atomic.Uint64
	evicted atomic.Uint64
}

func (s *Stats) opened() { s.now[Undecided].Add(1) }

func (s *Stats) sniffed(p Protocol) {
	s.now[Undecided].Add(-1)
	s.now[p].Add(1)
	s.total[p].Add(1)
}

func (s *Stats) closed(p Protocol) { s.now[p].Add(-1) }

// Each calls f for every protocol, with the number of open connections and the number so
// far.
func (s *Stats) Each(f func(p Protocol, now int64, total uint64)) {
	for p := range protocols {
		f(p, s.now[p].Load(), s.total[p].Load())
	}
}

// Panics is the number of requests so far whose handler panicked.
func (s *Stats) Panics() uint64 { return s.panics.Load() }

// Pressure is how many connections so far were refused, and how many waiting ones were
// closed, because memory was used up.
func (s *Stats) Pressure() (refused, evicted uint64) { return s.refused.Load(), s.evicted.Load() }
