package pageserver

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// sendTime bounds how long a client may take to read an answer.
	sendTime = time.Minute
	// keepTime and keepBytes bound how much of a request's content is waited for to
	// keep the connection; beyond them a new connection is cheaper. net/http has
	// the same bound in bytes.
	keepTime  = time.Second
	keepBytes = 256 << 10
	// streamLinger is short, because some clients take an answer for complete only
	// when its stream ends.
	streamLinger = time.Second
)

// upload is the content of a request, which is answered without looking at it.
// An answer must not wait for an upload of any size, must reach a client that is
// still sending, and must never leave a part of the content on a connection that
// is used again.
//
//   - HTTP/1: what comes within keepTime and keepBytes is read before the answer,
//     so that the connection is kept. If that is not all of it, the answer says
//     "Connection: close", and httpserve throws the rest away.
//   - HTTP/2: the rest is read after the answer for streamLinger. net/http resets
//     the stream (RFC 9113 8.1) when the handler returns before the content ends,
//     and curl 7.88 drops an answer that it has not read by then.
type upload struct {
	control *http.ResponseController
	w       http.ResponseWriter
	r       *http.Request
}

// begin sets the answer's deadline and, before the header is written, settles
// whether the connection is kept.
func begin(w http.ResponseWriter, r *http.Request) upload {
	u := upload{http.NewResponseController(w), w, r}
	_ = u.control.SetWriteDeadline(time.Now().Add(sendTime)) // a recorder in a test has none
	if u.pending() && r.ProtoMajor == 1 && !u.closing() && !u.readAll() {
		w.Header().Set("Connection", "close")
	}
	return u
}

// pending says whether content may be on its way. Content that waits for
// "100 Continue" never comes; net/http ends the connection by itself.
func (u upload) pending() bool { return u.r.ContentLength != 0 && u.r.Header.Get("Expect") == "" }

func (u upload) closing() bool { return u.w.Header().Get("Connection") == "close" }

func (u upload) readAll() bool {
	if u.r.ContentLength > keepBytes || u.control.SetReadDeadline(time.Now().Add(keepTime)) != nil {
		return false
	}
	_, err := io.CopyN(io.Discard, u.r.Body, keepBytes+1)
	return errors.Is(err, io.EOF)
}

// finish sends the answer, of which length bytes are body, on its way while
// content is still to come. One without a body, such as gRPC's, must stay a
// single header block in HTTP/2: no flush.
func (u upload) finish(length int) {
	switch {
	case !u.pending():
	case u.r.ProtoMajor > 1:
		if length > 0 && u.control.Flush() == nil && u.control.SetReadDeadline(time.Now().Add(streamLinger)) == nil {
			_, _ = io.Copy(io.Discard, u.r.Body) // an error ends the stream
		}
	case u.closing():
		if u.control.Flush() == nil {
			_ = u.control.SetReadDeadline(time.Unix(1, 0)) // net/http would wait for more
		}
	}
}
