package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"maintenance-controller.io/pkg/annotations"
)

// problem is an error response in the format of RFC 9457.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// retryAfter is when to retry, in seconds; 0 if a retry would not help.
	retryAfter int
}

// Error implements error.
func (p problem) Error() string { return p.Detail }

func problemf(status int, format string, args ...any) problem {
	return problem{Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// unavailable returns a problem that is temporary.
func unavailable(format string, args ...any) problem {
	p := problemf(http.StatusServiceUnavailable, format, args...)
	p.retryAfter = 1
	return p
}

var (
	errStarting = unavailable("this replica has not read everything yet")
	errBusy     = unavailable("too many responses are being sent")
)

// quoted makes a client's text safe to repeat.
func quoted(s string) string { return strconv.QuoteToASCII(annotations.Clip(s)) }

// replyOf returns the reply for an error.
func replyOf(err error) *reply {
	var p problem
	if !errors.As(err, &p) {
		p = problemf(http.StatusInternalServerError, "the response could not be built")
	}
	body, err := json.Marshal(p)
	if err != nil { // it contains only text and numbers
		body = []byte(`{}`)
	}
	return &reply{status: p.Status, contentType: "application/problem+json", retryAfter: p.retryAfter, body: append(body, '\n')}
}

// writeProblem writes the reply for an error.
func writeProblem(w http.ResponseWriter, r *http.Request, err error) { replyOf(err).write(w, r) }
