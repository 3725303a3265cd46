package httpserve

import (
	"net/http"
	"sync"
	"time"
)

// What things take, as measured and rounded up: the goroutine, net/http's two
// buffers and the kernel's socket of a connection; what TLS or HTTP/2 add; a
// stream's goroutine, buffers and state. A head of ordinary size is in connCost.
const (
	connCost    = 32 << 10
	sessionCost = 48 << 10
	headFree    = 8 << 10

	streamBuffer = 64 << 10
)

func streamCost(r *http.Request) int64 {
	cost := int64(32 << 10)
	for name, values := range r.Header {
		for _, value := range values {
			cost += int64(len(name) + 2*len(value) + 64)
		}
	}
	if r.ContentLength != 0 { // what may come before the handler reads it
		cost += streamBuffer
	}
	return cost
}

// patience is how long a client may keep the server waiting before its
// connection may go in favour of a new one.
const patience = time.Second

// budget keeps what connections hold under a limit. When it is used up, the one
// that has been waiting for its client longest goes, in the middle of a head or
// between requests; whoever is being answered stays. If nobody waits long
// enough, what asked for memory does not get it.
type budget struct {
	limit int64

	mu    sync.Mutex
	used  int64
	holds map[*conn]int64
}

func newBudget(limit int64) *budget { return &budget{limit: limit, holds: map[*conn]int64{}} }

// take books n bytes on c.
func (b *budget) take(c *conn, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.makeRoom(n, c) {
		return false
	}
	b.used += n
	b.holds[c] += n
	return true
}

func (b *budget) release(c *conn, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if held, ok := b.holds[c]; ok { // it was not made to go meanwhile
		b.holds[c] = held - n
		b.used -= n
	}
}

// borrow books n bytes on no connection, until giveBack. An eighth of the limit is
// not lent: a few connections may open streams without end (and reset them), and
// nobody else would get in.
func (b *budget) borrow(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.makeRoom(n+b.limit/8, nil) {
		return false
	}
	b.used += n
	return true
}

func (b *budget) giveBack(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

func (b *budget) forget(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(c)
}

func (b *budget) drop(c *conn) {
	b.used -= b.holds[c]
	delete(b.holds, c)
}

func (b *budget) makeRoom(n int64, forWhom *conn) bool {
	for b.used+n > b.limit {
		longest, since := (*conn)(nil), time.Now().Add(-patience).UnixNano()
		for c := range b.holds {
			if w := c.waiting.Load(); w != 0 && w < since && c != forWhom {
				longest, since = c, w
			}
		}
		if longest == nil {
			return false
		}
		b.drop(longest)
		longest.server.stats.evicted.Add(1)
		_ = longest.Conn.Close() // whoever reads from it sees the end, and cleans up
	}
	return true
}

// closeWaiting closes every HTTP/1 connection that waits for a request, also in
// the middle of a head; net/http says goodbye on those of HTTP/2.
func (b *budget) closeWaiting() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.holds {
		if p := c.protocol(); c.waiting.Load() != 0 && !c.closed.Load() && (p == HTTP1 || p == Undecided) {
			_ = c.Conn.Close()
		}
	}
}
