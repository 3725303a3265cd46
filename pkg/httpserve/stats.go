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

// Each calls f for every protocol with the connections open now and ever.
func (s *Stats) Each(f func(p Protocol, now int64, total uint64)) {
	for p := range protocols {
		f(p, s.now[p].Load(), s.total[p].Load())
	}
}

// Panics is the number of panics that were contained.
func (s *Stats) Panics() uint64 { return s.panics.Load() }

// Pressed is how many connections were refused, and how many idle ones closed,
// for want of memory.
func (s *Stats) Pressed() (refused, evicted uint64) { return s.refused.Load(), s.evicted.Load() }
