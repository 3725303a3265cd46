package httpserve

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// conn is a connection from its acceptance until it is closed.
type conn struct {
	net.Conn
	server       *Server
	speaks       atomic.Uint32 // a Protocol
	replay       []byte        // bytes that were read before net/http got the connection
	headDeadline time.Time     // of the first head; zero once net/http has set its deadline
	sawEnd       atomic.Bool   // the client has closed the connection
	closed       atomic.Bool
	waiting      atomic.Int64 // since when it waits for a request, in Unix nanoseconds; 0 while one is being answered
	head         atomic.Int64 // cost of the heads that were read and have not been answered
	recent       atomic.Int64 // the part of head that may belong to a head that has not ended yet
	last         int64        // cost of the last read; net/http reports the state before it reads again
	byteCost     atomic.Int64 // cost of a byte under TLS; 0 until the client says which protocols it speaks
}

func (c *conn) protocol() Protocol { return Protocol(c.speaks.Load()) }

// admit accepts a connection if there is memory for it.
func (s *Server) admit(nc net.Conn) (*conn, bool) {
	c := &conn{Conn: nc, server: s}
	c.wait()
	if !s.memory.reserve(c, connCost) {
		s.stats.refused.Add(1)
		_ = nc.Close()
		return nil, false
	}
	s.stats.opened()
	return c, true
}

// dispatch reads the connection's first bytes and passes it on to net/http.
func (s *Server) dispatch(c *conn) {
	if err := c.sniff(); err != nil {
		_ = c.Close()
		return
	}
	protocol := c.protocol()
	s.stats.sniffed(protocol)
	if protocol == Unknown {
		c.sawEnd.Store(true) // the client would not understand an answer
		_ = c.Close()
		return
	}
	listener := s.plain
	if protocol == TLS {
		listener = s.tls
	}
	if protocol != HTTP1 && !s.memory.reserve(c, sessionCost) || !listener.pass(c) {
		_ = c.Close()
	}
}

// sniff reads until it knows the protocol. It waits IdleTimeout for the first byte, and
// HeaderTimeout from there.
func (c *conn) sniff() error {
	if err := c.Conn.SetReadDeadline(time.Now().Add(c.server.IdleTimeout)); err != nil {
		return err
	}
	first := make([]byte, 0, firstBytes)
	for {
		n, err := c.Conn.Read(first[len(first):cap(first)])
		first = first[:len(first)+n]
		if err != nil {
			return c.ended(err)
		}
		if c.headDeadline.IsZero() {
			c.headDeadline = time.Now().Add(c.server.HeaderTimeout)
			if err := c.Conn.SetReadDeadline(c.headDeadline); err != nil {
				return err
			}
		}
		preamble := proxyPreamble(first)
		if protocol := preamble.protocol(first); protocol != Undecided {
			c.speaks.Store(uint32(protocol))
			c.replay = first[preamble.size:]
			return nil
		}
		first = slices.Grow(first, firstBytes)
	}
}

const firstBytes = 256 // by which the buffer for sniffing grows

// wait records that it is the client's turn now.
func (c *conn) wait() { c.waiting.Store(time.Now().UnixNano()) }

// connState is called by net/http when a connection starts to wait for a request, or when a
// request has begun to arrive.
func connState(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*conn)
	for !ok {
		inner, wraps := nc.(interface{ NetConn() net.Conn }) // crypto/tls
		if !wraps {
			return
		}
		nc = inner.NetConn()
		c, ok = nc.(*conn)
	}
	switch state {
	case http.StateActive:
		c.waiting.Store(0)
		if c.protocol() != TLS { // a TLS record can have the frames of several reads
			c.recent.Store(c.last)
		}
	case http.StateIdle:
		c.wait()
		c.headsEnded()
	case http.StateNew, http.StateHijacked, http.StateClosed:
	}
}

// errPressure ends a head without an answer: net/http treats it as a failed read.
var errPressure = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("no memory is left for a head of this size")}

// Read implements net.Conn for net/http. It returns first what sniff has read, and counts
// what heads take while they arrive.
func (c *conn) Read(b []byte) (int, error) {
	n, err := len(c.replay), error(nil)
	if n > 0 {
		n = copy(b, c.replay)
		if c.replay = c.replay[n:]; len(c.replay) == 0 {
			c.replay = nil
		}
	} else {
		n, err = c.Conn.Read(b)
	}
	if n > 0 && (c.waiting.Load() != 0 || c.multiplexes()) && !c.headGrows(b[:n]) {
		c.sawEnd.Store(true)
		return 0, errPressure
	}
	return n, c.ended(err)
}

// multiplexes says whether a head may arrive while other requests are being answered.
func (c *conn) multiplexes() bool {
	return c.protocol() == HTTP2 || c.byteCost.Load() == fieldCost
}

// headGrows reserves memory for a part of a head, and returns false if there is none.
func (c *conn) headGrows(b []byte) bool {
	cost, most := c.headCost(b), int64(math.MaxInt64)
	if c.multiplexes() {
		most = int64(2 * c.server.MaxHeaderBytes)
	}
	c.last = cost
	c.recent.Add(cost)
	for {
		before := c.head.Load()
		after := min(before+cost, most)
		if c.head.CompareAndSwap(before, after) {
			over := max(after, freeHead) - max(before, freeHead)
			return over == 0 || c.server.memory.reserve(c, over)
		}
	}
}

// headsEnded releases what the heads of answered requests took. In HTTP/2 the next head may
// have begun in the meantime, and net/http reports it only when it has ended. So what arrived
// since the first of the answered requests stays reserved until the next one is answered,
// and with TLS until the end of the connection.
func (c *conn) headsEnded() {
	var kept int64
	if c.multiplexes() {
		kept = c.recent.Load()
	}
	for {
		before := c.head.Load()
		after := min(before, kept)
		if c.head.CompareAndSwap(before, after) {
			c.server.memory.release(c, max(before, freeHead)-max(after, freeHead))
			return
		}
	}
}

// ended records that the client has closed the connection, so that it does not read either.
func (c *conn) ended(err error) error {
	if err != nil && !isTimeout(err) {
		c.sawEnd.Store(true)
	}
	return err
}

// SetReadDeadline implements net.Conn. net/http's first deadline is for the first head,
// whose time began before net/http got the connection.
func (c *conn) SetReadDeadline(t time.Time) error {
	if first := c.headDeadline; !first.IsZero() {
		c.headDeadline = time.Time{}
		if t.IsZero() || t.After(first) {
			t = first
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// CloseWrite is called by net/http when it has answered before the end of the content.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// How long Close waits for the client: in total, and without receiving anything. They are the
// defaults of nginx's lingering_time and lingering_timeout.
const (
	lingerTimeout     = 30 * time.Second
	lingerIdleTimeout = 5 * time.Second
)

// Close ends the connection in a way that lets the answer arrive. If a socket is closed
// while there are unread bytes, the kernel sends a reset, which destroys what the other side
// has not read yet (RFC 9112 9.6): a proxy in the middle of an upload would turn the page
// into a 502. So Close shuts down only the sending half, and discards what still arrives for
// up to lingerTimeout, since some clients (Python's http.client) send everything before they
// read. During that time it counts as a connection that waits for its client.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.wait()
	if c.sawEnd.Load() || c.CloseWrite() != nil {
		return c.end()
	}
	go func() {
		c.linger()
		_ = c.end()
	}()
	return nil
}

func (c *conn) linger() {
	last := time.Now().Add(lingerTimeout)
	dropped := make([]byte, 4<<10)
	for deadline := time.Now().Add(lingerIdleTimeout); ; deadline = time.Now().Add(lingerIdleTimeout) {
		if deadline.After(last) {
			deadline = last
		}
		if c.Conn.SetReadDeadline(deadline) != nil {
			return
		}
		if _, err := c.Conn.Read(dropped); err != nil {
			return
		}
	}
}

func (c *conn) end() error {
	c.server.memory.releaseAll(c)
	c.server.stats.closed(c.protocol())
	return c.Conn.Close()
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// Memory that a byte of a head can take in net/http at most. In HTTP/1, a line of five bytes
// becomes a map entry with a slice. In HTTP/2, a single byte can be a field from HPACK's
// tables.
const (
	lineCost  = 32 // a byte of HTTP/1 under TLS
	fieldCost = 64 // a byte of HTTP/2
	helloCost = 8  // a byte of a TLS handshake
)

// headCost is what a part of a head takes in net/http: the bytes twice, and a map entry with
// a slice for each line. The worst case counts for what TLS and HPACK hide.
func (c *conn) headCost(b []byte) int64 {
	switch c.protocol() {
	case HTTP1:
		return int64(2*len(b) + 150*bytes.Count(b, []byte("\n")))
	case HTTP2:
		return int64(fieldCost * len(b))
	case Undecided, TLS, Unknown, protocols:
	}
	return int64(len(b)) * cmp.Or(c.byteCost.Load(), helloCost)
}

// onClientHello records which protocol a TLS connection will speak.
func onClientHello(h *tls.ClientHelloInfo) (*tls.Config, error) {
	if c, ok := h.Conn.(*conn); ok {
		c.byteCost.Store(lineCost)
		if slices.Contains(h.SupportedProtos, "h2") {
			c.byteCost.Store(fieldCost)
		}
	}
	return nil, nil //nolint:nilnil // nil means that the configuration stays the same
}
