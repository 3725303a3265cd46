package httpserve

import (
	"net"
	"sync/atomic"
	"time"
)

// Direct answers plain HTTP/1.1 requests without net/http. It appends to dst
// the status line and the header fields, Content-Length included, each line
// ended by CRLF, but not Date, Connection and the empty line; the body comes
// back beside it and is only read. r is valid until Answer returns.
type Direct interface {
	Answer(dst []byte, r *Request) (head, body []byte)
}

// maxSkip is how much of a request's content is read and thrown away to keep the
// connection; beyond it a new connection is cheaper. net/http has the same bound.
const maxSkip = 256 << 10

// serve reads the connection's first bytes and puts it in its lane.
func (s *Server) serve(c *conn) {
	defer s.contain(c)
	now := time.Now()
	if c.readFor(s.IdleTimeout, now) != nil {
		_ = c.Close()
		return
	}
	buf, n, err := c.await()
	if err != nil {
		_ = c.Close()
		return
	}
	for c.protocol = Sniff(buf.in[:n]); c.protocol == Undecided; c.protocol = Sniff(buf.in[:n]) {
		more, err := c.more(buf, n)
		if err != nil {
			buf.giveBack()
			_ = c.Close()
			return
		}
		n += more
	}
	s.stats.sniffed(c.protocol)
	switch {
	case c.protocol == Unknown:
		buf.giveBack()
		c.sawEnd.Store(true) // nobody there who would read an answer
		_ = c.Close()
	case c.protocol == HTTP1 && s.Direct != nil:
		s.serveDirect(c, buf, n)
	default:
		s.handOver(c, buf, buf.in[:n])
	}
}

// more reads on into buf, within the time that a head may take.
func (c *conn) more(buf *scratch, n int) (int, error) {
	if err := c.readFor(c.server.HeaderTimeout, time.Now()); err != nil {
		return 0, err
	}
	return c.Read(buf.in[n:])
}

// serveDirect answers requests until the connection ends or something unusual
// comes, with which net/http then goes on. buf holds n bytes that are read.
func (s *Server) serveDirect(c *conn, buf *scratch, n int) {
	for {
		used, next := s.answerAll(c, buf, n)
		switch next {
		case finished:
			buf.giveBack()
			_ = c.Close()
			return
		case passOn:
			s.handOver(c, buf, buf.in[used:n])
			return
		case readOn:
			n = copy(buf.in[:], buf.in[used:n])
			more, err := c.more(buf, n)
			if err != nil {
				buf.giveBack()
				_ = c.Close()
				return
			}
			n += more
			continue
		}
		buf.giveBack()
		var err error
		if err = c.readFor(s.IdleTimeout, time.Now()); err == nil {
			buf, n, err = c.await()
		}
		if err != nil {
			_ = c.Close()
			return
		}
	}
}

// step is what comes after the bytes that were there.
type step uint8

const (
	waitFor  step = iota // the next request, for as long as a connection may idle
	readOn               // the rest of a head, for as long as a head may take
	passOn               // to net/http
	finished             // close
)

// answerAll answers the requests in buf.in[:n] with as few writes as it can, and
// returns how many bytes are done with.
func (s *Server) answerAll(c *conn, buf *scratch, n int) (used int, next step) {
	now := time.Now()
	buf.req.Remote = c.RemoteAddr()
	for used < n {
		size, v := parseHead(buf.in[used:n], &buf.req)
		if v == incomplete && used == 0 && n == len(buf.in) || v == plain && buf.req.Length > maxSkip {
			v = unusual
		}
		if v != plain {
			if c.flush(buf, nil, now) != nil {
				return used, finished
			}
			if v == unusual {
				return used, passOn
			}
			return used, readOn
		}
		used += size
		closing := buf.req.Close || s.draining.Load()
		if !s.respond(c, buf, closing, now) {
			return used, finished
		}
		inBuffer := min(buf.req.Length, int64(n-used))
		used += int(inBuffer)
		rest := buf.req.Length - inBuffer
		if closing || rest > 0 {
			if c.flush(buf, nil, now) != nil || closing || c.skip(rest) != nil {
				return used, finished
			}
		}
	}
	if c.flush(buf, nil, now) != nil {
		return used, finished
	}
	return used, waitFor
}

// respond appends one answer to what is to be sent, and sends when it is much.
func (s *Server) respond(c *conn, buf *scratch, closing bool, now time.Time) bool {
	if cap(buf.out)-len(buf.out) < 2<<10 && c.flush(buf, nil, now) != nil {
		return false
	}
	buf.req.Close = closing
	head, body := s.Direct.Answer(buf.out, &buf.req)
	head = append(head, "Date: "...)
	head = append(head, s.date.at(now)...)
	if closing {
		head = append(head, "\r\nConnection: close"...)
	}
	head = append(head, "\r\n\r\n"...)
	buf.out = head
	if buf.req.Method == "HEAD" {
		return true
	}
	if len(head)+len(body) <= cap(head) {
		buf.out = append(head, body...)
		return true
	}
	return c.flush(buf, body, now) == nil
}

// flush sends what is collected in buf.out, and body after it.
func (c *conn) flush(buf *scratch, body []byte, now time.Time) error {
	if len(buf.out) == 0 && len(body) == 0 {
		return nil
	}
	if err := c.writeFor(c.server.WriteTimeout, now); err != nil {
		return err
	}
	var err error
	if len(body) == 0 {
		_, err = c.Conn.Write(buf.out)
	} else {
		_, err = (&net.Buffers{buf.out, body}).WriteTo(c.Conn)
	}
	buf.out = buf.out[:0]
	return err
}

// skip throws the rest of a request's content away, within HeaderTimeout.
func (c *conn) skip(rest int64) error {
	c.readUntil = time.Now().Add(c.server.HeaderTimeout)
	if err := c.Conn.SetReadDeadline(c.readUntil); err != nil {
		return err
	}
	for rest > 0 {
		s := borrow()
		n, err := c.Read(s.in[:min(rest, int64(len(s.in)))])
		s.giveBack()
		if err != nil {
			return err
		}
		rest -= int64(n)
	}
	return nil
}

// dates holds the Date field's value of the current second.
type dates struct{ last atomic.Pointer[date] }

type date struct {
	second int64
	text   []byte
}

func (d *dates) at(now time.Time) []byte {
	last := d.last.Load()
	if last == nil || last.second != now.Unix() {
		last = &date{now.Unix(), now.UTC().AppendFormat(nil, "Mon, 02 Jan 2006 15:04:05 GMT")}
		d.last.Store(last)
	}
	return last.text
}
