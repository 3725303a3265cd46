package httpserve

import "runtime"

// scratch is the memory in which requests are read and answers put together.
type scratch struct {
	in   []byte
	out  []byte
	req  Request
	home scratches // nil for a private one
}

const (
	scratchIn  = 8 << 10 // a larger head goes to net/http
	scratchOut = 8 << 10
	// roomForHead is what an answer's head needs at most; out grows if it is more.
	roomForHead = 2 << 10
)

// scratches are few, however many connections there are, because nobody holds
// one while waiting for a client: whoever has to wait takes a private copy along
// (own). So ten thousand idle connections hold none, a thousand busy ones take
// turns, and only clients that are slow cost memory of their own.
type scratches chan *scratch

func newScratches() scratches {
	pool := make(scratches, 4*runtime.GOMAXPROCS(0))
	for range cap(pool) {
		s := private()
		s.home = pool
		pool <- s
	}
	return pool
}

func private() *scratch {
	return &scratch{in: make([]byte, scratchIn), out: make([]byte, 0, scratchOut), req: Request{Fields: make([]Field, 0, maxFields)}}
}

func (s *scratch) giveBack() {
	if s.home == nil {
		return
	}
	s.out = s.out[:0]
	s.req = Request{Fields: s.req.Fields[:0]}
	s.home <- s
}

// own gives s back and returns a private copy of its first n bytes of input and
// of its output. What was parsed from s is void.
func (s *scratch) own(n int) *scratch {
	if s.home == nil {
		return s
	}
	p := private()
	copy(p.in, s.in[:n])
	p.out = append(p.out, s.out...)
	s.giveBack()
	return p
}
