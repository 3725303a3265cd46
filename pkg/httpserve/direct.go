package httpserve

import (
	"sync/atomic"
	"time"
)

// Direct answers plain HTTP/1.1 requests without net/http. It appends to dst
// the status line and the header fields, Content-Length included, each line
// ended by CRLF, but not Date, Connection and the empty line; the body comes
// back beside it and is only read. r and its strings are valid until Answer
// returns; neither dst nor body may contain views of them, only copies.
type Direct interface {
	Answer(dst []byte, r *Request) (head, body []byte)
}

// maxSkip is how much of a request's content is read and thrown away to keep the
// connection; beyond it a new connection is cheaper. net/http has the same bound.
const maxSkip = 256 << 10

// visit is a connection with the scratch that it holds right now.
type visit struct {
	*conn
	buf *scratch // nil while waiting for a request
	n   int      // bytes in buf.in
}

// serve reads the connection's first bytes and puts it in its lane.
func (s *Server) serve(c *conn) {
	v := &visit{conn: c}
	defer s.contain(v)
	if !v.next() {
		return
	}
	for c.protocol = Sniff(v.buf.in[:v.n]); c.protocol == Undecided; c.protocol = Sniff(v.buf.in[:v.n]) {
		if !v.more() {
			return
		}
	}
	s.stats.sniffed(c.protocol)
	switch {
	case c.protocol == Unknown:
		c.sawEnd.Store(true) // nobody there who would read an answer
		v.end()
	case c.protocol == HTTP1 && s.Direct != nil:
		v.serveDirect()
	default:
		v.handOver(0)
	}
}

// end gives the scratch back and closes the connection.
func (v *visit) end() {
	if v.buf != nil {
		v.buf.giveBack()
		v.buf = nil
	}
	_ = v.Close()
}

// next waits for a request, for as long as a connection may idle. Where it
// returns false the connection is closed, and so it is in more.
func (v *visit) next() bool {
	if v.buf != nil {
		v.buf.giveBack()
		v.buf = nil
	}
	err := v.readFor(v.server.IdleTimeout, time.Now())
	if err == nil {
		v.buf, v.n, err = v.await(scratchIn)
	}
	if err != nil {
		v.end()
	}
	return err == nil
}

// more reads on behind the bytes that are there, for as long as a head may take.
func (v *visit) more() bool {
	v.buf = v.buf.own(v.n)
	err := v.readFor(v.server.HeaderTimeout, time.Now())
	if err == nil {
		var n int
		n, err = v.Read(v.buf.in[v.n:])
		v.n += n
	}
	if err != nil {
		v.end()
	}
	return err == nil
}

// serveDirect answers requests until the connection ends or something unusual
// comes, with which net/http then goes on.
func (v *visit) serveDirect() {
	for {
		used, then := v.answerAll()
		switch then {
		case finished:
			v.end()
			return
		case passOn:
			v.handOver(used)
			return
		case readOn:
			v.n = copy(v.buf.in, v.buf.in[used:v.n])
			if !v.more() {
				return
			}
		case waitFor:
			if !v.next() {
				return
			}
		}
	}
}

// step is what comes after the bytes that were there.
type step uint8

const (
	waitFor  step = iota // the next request
	readOn               // the rest of a head
	passOn               // to net/http
	finished             // close
)

// answerAll answers the requests that are there with as few writes as it can,
// and returns how many bytes are done with.
func (v *visit) answerAll() (used int, then step) {
	now := time.Now()
	for used < v.n {
		if cap(v.buf.out)-len(v.buf.out) < roomForHead && v.flush(nil, now) != nil {
			return used, finished
		}
		r := &v.buf.req
		size, verdict := parseHead(v.buf.in[used:v.n], r)
		if verdict == incomplete && used == 0 && v.n == len(v.buf.in) || verdict == plain && r.Length > maxSkip {
			verdict = unusual
		}
		if verdict != plain {
			then = readOn
			if verdict == unusual {
				then = passOn
			}
			break
		}
		used += size
		inBuffer := min(r.Length, int64(v.n-used))
		used += int(inBuffer)
		rest := r.Length - inBuffer
		r.Close = r.Close || v.server.draining.Load()
		closing := r.Close
		if v.respond(now) != nil {
			return used, finished
		}
		if closing || rest > 0 {
			if v.flush(nil, now) != nil || closing || v.skip(rest) != nil {
				return used, finished
			}
		}
	}
	if v.flush(nil, now) != nil {
		return used, finished
	}
	return used, then
}

// respond appends one answer to what is to be sent, and sends if it is much.
func (v *visit) respond(now time.Time) error {
	r := &v.buf.req
	r.Remote = v.RemoteAddr()
	head, body := v.server.Direct.Answer(v.buf.out, r)
	head = append(head, "Date: "...)
	head = append(head, v.server.date.at(now)...)
	if r.Close {
		head = append(head, "\r\nConnection: close"...)
	}
	head = append(head, "\r\n\r\n"...)
	v.buf.out = head
	switch {
	case r.Method == "HEAD":
		return nil
	case len(head)+len(body) <= cap(head):
		v.buf.out = append(head, body...)
		return nil
	}
	return v.flush(body, now)
}

// flush sends what is collected, and body after it. Only if the client does not
// read fast enough does it wait, and then with a scratch of its own.
func (v *visit) flush(body []byte, now time.Time) error {
	if err := v.writeFor(v.server.WriteTimeout, now); err != nil {
		return err
	}
	for _, b := range [...][]byte{v.buf.out, body} {
		if len(b) == 0 {
			continue
		}
		n, err := v.writeNow(b)
		if err != nil {
			return err
		}
		if n == len(b) {
			continue
		}
		if len(body) == 0 || &b[0] != &body[0] { // b is in the scratch, which is about to change hands
			v.buf = v.buf.own(v.n)
			b = v.buf.out
		}
		if _, err := v.Conn.Write(b[n:]); err != nil {
			return err
		}
	}
	v.buf.out = v.buf.out[:0]
	return nil
}

// skip throws the rest of a request's content away, within HeaderTimeout.
func (v *visit) skip(rest int64) error {
	v.buf = v.buf.own(0) // all of it is answered
	v.n = 0
	v.readUntil = time.Now().Add(v.server.HeaderTimeout)
	if err := v.SetReadDeadline(v.readUntil); err != nil {
		return err
	}
	for rest > 0 {
		n, err := v.Read(v.buf.in[:min(rest, scratchIn)])
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
