package httpserve

import (
	"net/http"
	"sync"
	"time"
)

// Memory that things take, in bytes, measured and rounded up.
const (
	connCost     = 32 << 10 // a connection: its goroutine, net/http's two buffers, the kernel's socket, a head of up to freeHead
	sessionCost  = 48 << 10 // what TLS or HTTP/2 add to a connection
	freeHead     = 8 << 10  // the part of a connection's heads that connCost includes
	streamBuffer = 64 << 10 // the content of a stream that net/http buffers
)

// streamCost is what an HTTP/2 stream takes: its goroutine, buffers and header.

func streamCost(r *http.Request) int64 {
	cost := int64(32 << 10)
	for name, values := range r.Header {
		for _, value := range values {
			cost += int64(len(name) + 2*len(value) + 64)
		}
	}
	if r.ContentLength != 0 { // content may come before the handler reads it
		cost += streamBuffer
	}
	return cost
}

// minWait is how long a connection must have been waiting for its client before it can be
// closed in favour of another.
const minWait = time.Second

// budget keeps the memory of connections under a limit. When it is used up, the connection
// that has been waiting for its client longest is closed, be it in the middle of a head or
// between requests. A connection whose request is being answered is never closed. If none
// has been waiting for minWait, the reservation fails.
type budget struct {
	limit int64

	mu    sync.Mutex
	used  int64
	holds map[*conn]int64 // reservations of open connections
}

func newBudget(limit int64) *budget { return &budget{limit: limit, holds: map[*conn]int64{}} }

// reserve reserves n bytes for c.
func (b *budget) reserve(c *conn, n int64) bool {
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
	if held, ok := b.holds[c]; ok { // it has not been closed in the meantime
		b.holds[c] = held - n
		b.used -= n
	}
}

// reserveStream reserves n bytes for a stream, until releaseStream. Streams do not get the
// last eighth of the limit: otherwise a few connections could open (and reset) streams
// without end and keep everybody else out.
func (b *budget) reserveStream(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.makeRoom(n+b.limit/8, nil) {
		return false
	}
	b.used += n
	return true
}

func (b *budget) releaseStream(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

// releaseAll releases what a connection that ends has reserved.
func (b *budget) releaseAll(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(c)
}

func (b *budget) drop(c *conn) {
	b.used -= b.holds[c]
	delete(b.holds, c)
}

// makeRoom closes connections other than forWhom until n bytes are free, and returns false
// if it cannot.
func (b *budget) makeRoom(n int64, forWhom *conn) bool {
	for b.used+n > b.limit {
		longest, since := (*conn)(nil), time.Now().Add(-minWait).UnixNano()
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
		_ = longest.Conn.Close() // its reader gets an error, and cleans up
	}
	return true
}

// closeWaiting closes every HTTP/1 connection that waits for a request or for the rest of a
// head. net/http ends those of HTTP/2 with a GOAWAY.
func (b *budget) closeWaiting() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.holds {
		if p := c.protocol(); c.waiting.Load() != 0 && !c.closed.Load() && (p == HTTP1 || p == Undecided) {
			_ = c.Conn.Close()
		}
	}
}
