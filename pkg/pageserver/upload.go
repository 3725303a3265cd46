package pageserver

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// sendTimeout is how long a client may take to receive an answer.
	sendTimeout = time.Minute
	// keepTimeout and keepBytes are how long and how much of a request's content is read to
	// keep the connection. Beyond that a new connection is cheaper. net/http has the same
	// limit in bytes.
	keepTimeout = time.Second
	keepBytes   = 256 << 10
	// streamLinger is short because some clients consider an answer complete only when its
	// stream ends.
	streamLinger = time.Second
)

// upload is the content of a request. The answer does not depend on it, and so it must not
// wait for the end of an upload, must reach a client that is still sending, and must never
// leave part of the content on a connection that is used again.
//
//   - HTTP/1: the content is read before the answer, up to keepTimeout and keepBytes, so
//     that the connection can be kept. If there is more, the answer says
//     "Connection: close", and httpserve discards the rest.
//   - HTTP/2: the rest is read after the answer, up to streamLinger. net/http resets the
//     stream (RFC 9113 8.1) if the handler returns before the content ends, and curl 7.88
//     drops an answer that it has not read by then.
type upload struct {
	control *http.ResponseController
	w       http.ResponseWriter
	r       *http.Request
}

// begin sets the answer's deadline, and decides whether the connection is kept before the
// header is written. It reads the content for at most the timeout.
func begin(w http.ResponseWriter, r *http.Request, timeout time.Duration) upload {
	u := upload{http.NewResponseController(w), w, r}
	_ = u.control.SetWriteDeadline(time.Now().Add(sendTimeout)) // a recorder in a test has no deadlines
	if u.pending() && r.ProtoMajor == 1 && !u.closing() && !u.readAll(timeout) {
		w.Header().Set("Connection", "close")
	}
	return u
}

// pending says whether the client may still send content. A client that waits for "100
// Continue" never does, and net/http closes its connection.
func (u upload) pending() bool { return u.r.ContentLength != 0 && u.r.Header.Get("Expect") == "" }

func (u upload) closing() bool { return u.w.Header().Get("Connection") == "close" }

func (u upload) readAll(timeout time.Duration) bool {
	if u.r.ContentLength > keepBytes || u.control.SetReadDeadline(time.Now().Add(timeout)) != nil {
		return false
	}
	_, err := io.CopyN(io.Discard, u.r.Body, keepBytes+1)
	return errors.Is(err, io.EOF)
}

// finish flushes the answer, of which length bytes are body, while the client is still
// sending. An answer without a body, such as gRPC's, is not flushed, since in HTTP/2 it must
// be a single header block.
func (u upload) finish(length int) {
	switch {
	case !u.pending():
	case u.r.ProtoMajor > 1:
		if length > 0 && u.control.Flush() == nil && u.control.SetReadDeadline(time.Now().Add(streamLinger)) == nil {
			_, _ = io.Copy(io.Discard, u.r.Body) // an error ends the stream
		}
	case u.closing():
		if u.control.Flush() == nil {
			_ = u.control.SetReadDeadline(time.Unix(1, 0)) // or net/http waits for more content
		}
	}
}
