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

// conn is a connection from its acceptance to its close.
type conn struct {
	net.Conn
	server  *Server
	speaks  atomic.Uint32 // a Protocol
	replay  []byte        // read already, before net/http got the connection
	headBy  time.Time     // when the first head is due; zero once net/http has set its deadline
	sawEnd  atomic.Bool
	closed  atomic.Bool
	waiting atomic.Int64 // since when for a request, in Unix nanoseconds; 0 while one is answered
	head    atomic.Int64 // what the heads that were read cost, as far as it is not given back
	recent  atomic.Int64 // of head, what may be of a head that has not ended yet
	last    int64        // what the last read cost; net/http reads again once it has told of the state
	sealed  atomic.Int64 // what a byte costs that TLS hides; 0 until the client says what it will speak
}

func (c *conn) protocol() Protocol { return Protocol(c.speaks.Load()) }

// admit takes a connection in if there is room for it.
func (s *Server) admit(nc net.Conn) (*conn, bool) {
	c := &conn{Conn: nc, server: s}
	c.wait()
	if !s.memory.take(c, connCost) {
		s.stats.refused.Add(1)
		_ = nc.Close()
		return nil, false
	}
	s.stats.opened()
	return c, true
}

// sort reads the connection's first bytes and gives it to net/http with them.
func (s *Server) sort(c *conn) {
	if err := c.sniff(); err != nil {
		_ = c.Close()
		return
	}
	protocol := c.protocol()
	s.stats.sniffed(protocol)
	if protocol == Unknown {
		c.sawEnd.Store(true) // nobody there who would read an answer
		_ = c.Close()
		return
	}
	lane := s.clear
	if protocol == TLS {
		lane = s.tls
	}
	if protocol != HTTP1 && !s.memory.take(c, sessionCost) || !lane.give(c) {
		_ = c.Close()
	}
}

// sniff reads until it knows the protocol: for as long as a connection may idle
// for the first byte, and as long as a head may take from there.
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
		if c.headBy.IsZero() {
			c.headBy = time.Now().Add(c.server.HeaderTimeout)
			if err := c.Conn.SetReadDeadline(c.headBy); err != nil {
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

const firstBytes = 256

// wait notes that the client has the word now.
func (c *conn) wait() { c.waiting.Store(time.Now().UnixNano()) }

// connState is net/http's word on where a connection is: waiting for a request,
// its head included, or answering one.
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
		if c.protocol() != TLS { // a record holds frames of several reads
			c.recent.Store(c.last)
		}
	case http.StateIdle:
		c.wait()
		c.headsEnded()
	case http.StateNew, http.StateHijacked, http.StateClosed:
	}
}

// errPressure ends a head without an answer: net/http takes it for a read's failure.
var errPressure = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("no memory is left for a head of this size")}

// Read gives net/http what was read before it got the connection, then the rest.
// What a head takes is counted while it arrives.
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

// multiplexes says whether heads may come while others are being answered.
func (c *conn) multiplexes() bool {
	return c.protocol() == HTTP2 || c.sealed.Load() == fieldCost
}

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
			over := max(after, headFree) - max(before, headFree)
			return over == 0 || c.server.memory.take(c, over)
		}
	}
}

// headsEnded gives back what the heads took that have been answered. In HTTP/2 the
// next one may have begun meanwhile, and there is no word on it until it ends: what
// came since the first of those that were answered stays booked until the next one,
// and with TLS for good.
func (c *conn) headsEnded() {
	var kept int64
	if c.multiplexes() {
		kept = c.recent.Load()
	}
	for {
		before := c.head.Load()
		after := min(before, kept)
		if c.head.CompareAndSwap(before, after) {
			c.server.memory.release(c, max(before, headFree)-max(after, headFree))
			return
		}
	}
}

// ended remembers that the client will not read either.
func (c *conn) ended(err error) error {
	if err != nil && !isTimeout(err) {
		c.sawEnd.Store(true)
	}
	return err
}

// SetReadDeadline is the same, but for the first one: the time of the first head
// began before net/http got the connection.
func (c *conn) SetReadDeadline(t time.Time) error {
	if by := c.headBy; !by.IsZero() {
		c.headBy = time.Time{}
		if t.IsZero() || t.After(by) {
			t = by
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// CloseWrite is what net/http calls when it has answered before the end of a body.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// The bounds of nginx's lingering_time and lingering_timeout.
const (
	lingerTime  = 30 * time.Second
	lingerQuiet = 5 * time.Second
)

// Close ends the connection so that the answer arrives. Closing a socket with
// unread bytes makes the kernel send a reset, which destroys what the other end
// has not read yet (RFC 9112 9.6): a proxy in the middle of an upload would make
// a 502 of the page. So the sending half is closed, and what still comes is
// thrown away for lingerTime, since some clients (Python's http.client) send all
// they have before they read. Until then it counts as a connection that waits.
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
	until := time.Now().Add(lingerTime)
	dropped := make([]byte, 4<<10)
	for quiet := time.Now().Add(lingerQuiet); ; quiet = time.Now().Add(lingerQuiet) {
		if quiet.After(until) {
			quiet = until
		}
		if c.Conn.SetReadDeadline(quiet) != nil {
			return
		}
		if _, err := c.Conn.Read(dropped); err != nil {
			return
		}
	}
}

func (c *conn) end() error {
	c.server.memory.forget(c)
	c.server.stats.closed(c.protocol())
	return c.Conn.Close()
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// What net/http makes of a byte of a head at most: in HTTP/1 a line of five is a map
// entry with its slice, in HTTP/2 a single one may be a field of HPACK's tables.
const (
	lineCost  = 32
	fieldCost = 64
	helloCost = 8 // of a byte of a TLS handshake
)

// headCost is what net/http makes of a part of a head: the bytes twice, and a map
// entry with its slice for each line. What TLS and HPACK hide is taken for the worst.
func (c *conn) headCost(b []byte) int64 {
	switch c.protocol() {
	case HTTP1:
		return int64(2*len(b) + 150*bytes.Count(b, []byte("\n")))
	case HTTP2:
		return int64(fieldCost * len(b))
	case Undecided, TLS, Unknown, protocols:
	}
	return int64(len(b)) * cmp.Or(c.sealed.Load(), helloCost)
}

// hello tells of a TLS connection what will be spoken in it.
func hello(h *tls.ClientHelloInfo) (*tls.Config, error) {
	if c, ok := h.Conn.(*conn); ok {
		c.sealed.Store(lineCost)
		if slices.Contains(h.SupportedProtos, "h2") {
			c.sealed.Store(fieldCost)
		}
	}
	return nil, nil //nolint:nilnil // the same configuration for everybody
}
