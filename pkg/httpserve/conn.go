package httpserve

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// scratch is the memory that a connection needs while it is being answered. An
// idle connection has none: that is what lets ten thousand of them be held.
type scratch struct {
	in  [8 << 10]byte
	out []byte
	req Request
}

var scratches = sync.Pool{New: func() any {
	return &scratch{out: make([]byte, 0, 8<<10), req: Request{Fields: make([]Field, 0, maxFields)}}
}}

func borrow() *scratch { return scratches.Get().(*scratch) }

func (s *scratch) giveBack() {
	clear(s.req.Fields[:cap(s.req.Fields)]) // hold on to nobody's header
	s.req = Request{Fields: s.req.Fields[:0]}
	s.out = s.out[:0]
	scratches.Put(s)
}

// conn is a connection from its acceptance to its close, whichever lane it is in.
type conn struct {
	net.Conn
	raw      syscall.RawConn // nil where the connection has no descriptor
	server   *Server
	protocol Protocol
	replay   []byte // read already, before net/http got the connection
	sawEnd   atomic.Bool
	closed   atomic.Bool

	readUntil, writeUntil time.Time // the deadlines in force
}

func (s *Server) newConn(nc net.Conn) *conn {
	c := &conn{Conn: nc, server: s}
	if sc, ok := nc.(syscall.Conn); ok && hasDescriptors {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	return c
}

// await waits for bytes without holding a buffer, then reads them into one.
func (c *conn) await() (*scratch, int, error) {
	if c.raw == nil {
		s := borrow()
		n, err := c.Conn.Read(s.in[:])
		return c.received(s, n, err)
	}
	var s *scratch
	var n int
	var readErr error
	err := c.raw.Read(func(fd uintptr) bool {
		s = borrow()
		n, readErr = readDescriptor(fd, s.in[:])
		if errors.Is(readErr, errWouldBlock) {
			s.giveBack()
			s = nil
			return false
		}
		return true
	})
	if err == nil {
		err = readErr
	}
	return c.received(s, n, err)
}

func (c *conn) received(s *scratch, n int, err error) (*scratch, int, error) {
	if n > 0 {
		return s, n, nil
	}
	if s != nil {
		s.giveBack()
	}
	if err == nil {
		err = io.EOF
	}
	if !isTimeout(err) {
		c.sawEnd.Store(true)
	}
	return nil, 0, err
}

// Read gives net/http what was read before it got the connection, then the rest.
func (c *conn) Read(b []byte) (int, error) {
	if len(c.replay) > 0 {
		n := copy(b, c.replay)
		if c.replay = c.replay[n:]; len(c.replay) == 0 {
			c.replay = nil
		}
		return n, nil
	}
	n, err := c.Conn.Read(b)
	if err != nil && !isTimeout(err) {
		c.sawEnd.Store(true)
	}
	return n, err
}

// CloseWrite is what net/http calls when it has answered before the end of a body.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

const (
	lingerTime  = 5 * time.Second
	lingerBytes = 4 << 20
)

// Close ends the connection so that the answer arrives. Closing a socket with
// unread bytes makes the kernel send a reset, which destroys what the other end
// has not read yet (RFC 9112 9.6): a proxy in the middle of an upload would make
// a 502 of the page. So the sending half is closed, what still comes is thrown
// away, and after lingerBytes it is just left waiting until lingerTime is over.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.server.forget(c)
	if c.sawEnd.Load() || c.CloseWrite() != nil {
		return c.Conn.Close()
	}
	go c.linger()
	return nil
}

func (c *conn) linger() {
	end := time.Now().Add(lingerTime)
	if c.Conn.SetReadDeadline(end) == nil {
		for read := 0; read < lingerBytes; {
			s, n, err := c.await()
			if err != nil {
				_ = c.Conn.Close()
				return
			}
			s.giveBack()
			read += n
		}
	}
	time.AfterFunc(time.Until(end), func() { _ = c.Conn.Close() })
}

// readFor and writeFor keep a deadline at least three quarters of d away. They
// move it in steps, because moving it for each request costs as much as parsing one.
func (c *conn) readFor(d time.Duration, now time.Time) error {
	if left := c.readUntil.Sub(now); left <= d && left > d-d/4 {
		return nil
	}
	c.readUntil = now.Add(d)
	return c.Conn.SetReadDeadline(c.readUntil)
}

func (c *conn) writeFor(d time.Duration, now time.Time) error {
	if left := c.writeUntil.Sub(now); left <= d && left > d-d/4 {
		return nil
	}
	c.writeUntil = now.Add(d)
	return c.Conn.SetWriteDeadline(c.writeUntil)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
