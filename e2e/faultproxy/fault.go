package faultproxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fault makes a call fail in some way.
type Fault struct {
	Name string // under which it is counted; empty = not counted
	// wrap injects the fault; next passes the call on to the API server.
	wrap func(next http.Handler) http.Handler
}

// Named returns the fault with another name.
func (f Fault) Named(name string) *Fault {
	f.Name = name
	return &f
}

// Refuse answers with an HTTP status. The call does not reach the API server.
func Refuse(code int, reason metav1.StatusReason) *Fault {
	return &Fault{Name: strconv.Itoa(code), wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { status(w, code, reason) })
	}}
}

// TimeOutAfterEffect lets the call take effect and then answers that it timed out.
func TimeOutAfterEffect() *Fault {
	return &Fault{Name: "504 after it took effect", wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&discardedAnswer{}, r)
			status(w, http.StatusGatewayTimeout, metav1.StatusReasonTimeout)
		})
	}}
}

// LoseAnswer lets the call take effect, calls then, which may be nil, and closes the
// connection without an answer.
func LoseAnswer(then func()) *Fault {
	return &Fault{Name: "answer lost", wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&discardedAnswer{}, r)
			if then != nil {
				then()
			}
			panic(http.ErrAbortHandler)
		})
	}}
}

// AfterAnswer changes nothing. It calls then once the answer was sent to the client.
func AfterAnswer(then func()) *Fault {
	return &Fault{Name: "answered", wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			_ = http.NewResponseController(w).Flush() // a client that has disconnected needs no answer
			then()
		})
	}}
}

// Slow delays the call before it is passed on.
func Slow(wait time.Duration) *Fault {
	return &Fault{Name: "slow", wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			pause(r, wait)
			next.ServeHTTP(w, r)
		})
	}}
}

// Hang gives no answer for a time and then closes the connection. The call does not
// reach the API server. A time of 0 means for as long as the client waits.
func Hang(wait time.Duration) *Fault {
	return &Fault{Name: "nothing", wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if wait == 0 {
				<-r.Context().Done()
			} else {
				pause(r, wait)
			}
			panic(http.ErrAbortHandler)
		})
	}}
}

// pause waits, unless the client disconnects.
func pause(r *http.Request, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// status answers like an API server that refuses a call.
func status(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	s := metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: fmt.Sprintf("%s, by the test", reason),
	}
	if code == http.StatusTooManyRequests {
		const seconds = 1
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		s.Details = &metav1.StatusDetails{RetryAfterSeconds: seconds}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(s) // a client that has disconnected needs no answer
}

// discardedAnswer takes an answer that is not sent to anybody.
type discardedAnswer struct{ header http.Header }

func (u *discardedAnswer) Header() http.Header {
	if u.header == nil {
		u.header = http.Header{}
	}
	return u.header
}
func (u *discardedAnswer) Write(b []byte) (int, error) { return len(b), nil }
func (u *discardedAnswer) WriteHeader(int)             {}
