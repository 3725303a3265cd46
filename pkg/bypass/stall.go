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

// bufferPool lends the buffers through which responses are copied.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 16 << 10

var buffers bufferPool //nolint:gochecknoglobals // all doors share it

func (b *bufferPool) Get() []byte {
	if buffer, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return buffer[:]
	}
	return make([]byte, bufferSize)
}

func (b *bufferPool) Put(buffer []byte) { b.pool.Put((*[bufferSize]byte)(buffer)) }

// stallWriter fails if the client takes nothing of a response for the timeout. The time
// between two writes does not count, since then the app is the one to wait for.
type stallWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	timeout  time.Duration
	hijacked bool // for a WebSocket
}

func newStallWriter(w http.ResponseWriter, timeout time.Duration) *stallWriter {
	return &stallWriter{ResponseWriter: w, control: http.NewResponseController(w), timeout: timeout}
}

// Hijack implements http.Hijacker, for WebSockets.
func (s *stallWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := s.control.Hijack()
	s.hijacked = err == nil
	return conn, buffered, err
}

func (s *stallWriter) setDeadline() { _ = s.control.SetWriteDeadline(time.Now().Add(s.timeout)) }

// clearDeadline is necessary after each write: in HTTP/2 a deadline ends the stream even if
// nothing is being written, and in HTTP/1 the end of the response would miss it.
func (s *stallWriter) clearDeadline() { _ = s.control.SetWriteDeadline(time.Time{}) }

// WriteHeader leaves 100 (Continue) to net/http, which sends it when the content is read. The app's
// comes at that moment and would be a second one, which some clients take for the response.
func (s *stallWriter) WriteHeader(status int) {
	if status != http.StatusContinue {
		s.ResponseWriter.WriteHeader(status)
	}
}

func (s *stallWriter) Write(b []byte) (int, error) {
	s.setDeadline()
	defer s.clearDeadline()
	return s.ResponseWriter.Write(b)
}

// FlushError implements flushing for http.ResponseController.
func (s *stallWriter) FlushError() error {
	s.setDeadline()
	defer s.clearDeadline()
	return s.control.Flush()
}

// Unwrap gives http.ResponseController the other methods.
func (s *stallWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// stallReader fails if the client sends none of a request's content for the timeout. The
// time in which the app reads none does not count.
type stallReader struct {
	io.ReadCloser
	control *http.ResponseController
	timeout time.Duration
	broken  atomic.Bool // it could not be read to its end
}

func newStallReader(w http.ResponseWriter, r *http.Request, timeout time.Duration) *stallReader {
	body := r.Body
	if body == nil {
		body = http.NoBody
	}
	return &stallReader{ReadCloser: body, control: http.NewResponseController(w), timeout: timeout}
}

func (s *stallReader) Read(b []byte) (int, error) {
	_ = s.control.SetReadDeadline(time.Now().Add(s.timeout))
	n, err := s.ReadCloser.Read(b)
	if err == nil || errors.Is(err, io.EOF) {
		_ = s.control.SetReadDeadline(time.Time{})
	} else {
		s.broken.Store(true)
	}
	return n, err
}
