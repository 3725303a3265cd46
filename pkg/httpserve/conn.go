package httpserve

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

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

	// The arguments and results of the two functions that the runtime calls when
	// the descriptor may be read or written, so that a call allocates nothing.
	readable, writable func(fd uintptr) bool
	limit              int // of bytes to read
	got                *scratch
	rest               []byte // to write
	n                  int
	err                error
}

func (s *Server) newConn(nc net.Conn) *conn {
	c := &conn{Conn: nc, server: s}
	if sc, ok := nc.(syscall.Conn); ok && hasDescriptors {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw, c.readable, c.writable = raw, c.tryRead, c.tryWrite
		}
	}
	return c
}

// await waits for bytes without holding a scratch, then reads up to limit of
// them into one.
func (c *conn) await(limit int) (*scratch, int, error) {
	if c.raw == nil {
		c.got = private()
		c.n, c.err = c.Conn.Read(c.got.in[:min(limit, scratchIn)])
	} else {
		c.limit, c.n = min(limit, scratchIn), 0
		if err := c.raw.Read(c.readable); err != nil {
			c.err = err
		}
	}
	s := c.got
	c.got = nil
	if c.n > 0 {
		return s, c.n, nil
	}
	if s != nil {
		s.giveBack()
	}
	if c.err == nil {
		c.err = io.EOF
	}
	if !isTimeout(c.err) {
		c.sawEnd.Store(true)
	}
	return nil, 0, c.err
}

func (c *conn) tryRead(fd uintptr) bool {
	c.got = <-c.server.pool
	c.n, c.err = readDescriptor(fd, c.got.in[:c.limit])
	if errors.Is(c.err, errWouldBlock) {
		c.got.giveBack()
		c.got = nil
		return false
	}
	return true
}

// writeNow writes what the kernel takes of b without waiting.
func (c *conn) writeNow(b []byte) (int, error) {
	if c.raw == nil {
		return 0, nil
	}
	c.rest, c.n, c.err = b, 0, nil
	if err := c.raw.Write(c.writable); err != nil {
		c.err = err
	}
	c.rest = nil
	return c.n, c.err
}

func (c *conn) tryWrite(fd uintptr) bool {
	c.n, c.err = writeDescriptor(fd, c.rest)
	if errors.Is(c.err, errWouldBlock) {
		c.err = nil
	}
	return true
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
			s, n, err := c.await(scratchIn)
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
