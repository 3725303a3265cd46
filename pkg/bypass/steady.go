package bypass

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// bufferPool lends what answers are copied through.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 16 << 10

var buffers bufferPool //nolint:gochecknoglobals // a pool is for everybody

func (b *bufferPool) Get() []byte {
	if buffer, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return buffer[:]
	}
	return make([]byte, bufferSize)
}

func (b *bufferPool) Put(buffer []byte) { b.pool.Put((*[bufferSize]byte)(buffer)) }

// steadyWriter gives up on a client that takes nothing of an answer for a while.
// Between two writes it has all the time of the world: the app is not in a hurry.
type steadyWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	stall    time.Duration
	hijacked bool // for a WebSocket
}

func newSteadyWriter(w http.ResponseWriter, stall time.Duration) *steadyWriter {
	return &steadyWriter{ResponseWriter: w, control: http.NewResponseController(w), stall: stall}
}

// Hijack is for WebSockets.
func (s *steadyWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := s.control.Hijack()
	s.hijacked = err == nil
	return conn, buffered, err
}

func (s *steadyWriter) begin() { _ = s.control.SetWriteDeadline(time.Now().Add(s.stall)) }

// end takes the deadline back: in HTTP/2 one that passes ends the stream also while
// nothing is written, and in HTTP/1 the end of the answer would come too late for it.
func (s *steadyWriter) end() { _ = s.control.SetWriteDeadline(time.Time{}) }

func (s *steadyWriter) Write(b []byte) (int, error) {
	s.begin()
	defer s.end()
	return s.ResponseWriter.Write(b)
}

// FlushError is what http.ResponseController calls.
func (s *steadyWriter) FlushError() error {
	s.begin()
	defer s.end()
	return s.control.Flush()
}

// Unwrap is for http.ResponseController.
func (s *steadyWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// steadyReader gives up on a client that sends nothing of a request's content for a
// while, not counting the time in which the app takes none.
type steadyReader struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
	broken  atomic.Bool // it could not be read to its end
}

func newSteadyReader(w http.ResponseWriter, r *http.Request, stall time.Duration) *steadyReader {
	body := r.Body
	if body == nil {
		body = http.NoBody
	}
	return &steadyReader{ReadCloser: body, control: http.NewResponseController(w), stall: stall}
}

func (s *steadyReader) Read(b []byte) (int, error) {
	_ = s.control.SetReadDeadline(time.Now().Add(s.stall))
	n, err := s.ReadCloser.Read(b)
	if err == nil || errors.Is(err, io.EOF) {
		_ = s.control.SetReadDeadline(time.Time{})
	} else {
		s.broken.Store(true)
	}
	return n, err
}
