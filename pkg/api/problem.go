package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"maintenance-controller.io/pkg/annotations"
)

// problem is why there is no answer, in the form of RFC 9457.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// retry is when to ask again, in seconds; 0 if that would not help.
	retry int
}

// Error implements error.
func (p problem) Error() string { return p.Detail }

func problemf(status int, format string, args ...any) problem {
	return problem{Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// later is a problem that goes by itself.
func later(format string, args ...any) problem {
	p := problemf(http.StatusServiceUnavailable, format, args...)
	p.retry = 1
	return p
}

var (
	errStarting = later("this replica has not read everything yet")
	errBusy     = later("there are too many answers under way")
)

// quoted makes what a client sent fit to be repeated.
func quoted(s string) string { return strconv.QuoteToASCII(annotations.Clip(s)) }

// replyOf makes the reply to a question that has no answer.
func replyOf(err error) *reply {
	var p problem
	if !errors.As(err, &p) {
		p = problemf(http.StatusInternalServerError, "the answer could not be made")
	}
	body, err := json.Marshal(p)
	if err != nil { // it has nothing but text and numbers
		body = []byte(`{}`)
	}
	return &reply{status: p.Status, contentType: "application/problem+json", retry: p.retry, body: append(body, '\n')}
}

// refuse answers with a problem.
func refuse(w http.ResponseWriter, r *http.Request, err error) { replyOf(err).write(w, r) }
