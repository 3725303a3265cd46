package faultproxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fault is something that goes wrong with a call.
type Fault struct {
	Name string // for counts; empty for what is none
	// over lets it go wrong: next is the way to the API server.
	over func(next http.Handler) http.Handler
}

// Named gives the fault another name.
func (f Fault) Named(name string) *Fault {
	f.Name = name
	return &f
}

// Refuse answers with an HTTP status in the API server's place, which never
// hears of the call.
func Refuse(code int, reason metav1.StatusReason) *Fault {
	return &Fault{Name: strconv.Itoa(code), over: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { status(w, code, reason) })
	}}
}

// Late lets the call take effect and then answers that it took too long.
func Late() *Fault {
	return &Fault{Name: "504 after it took effect", over: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&unheard{}, r)
			status(w, http.StatusGatewayTimeout, metav1.StatusReasonTimeout)
		})
	}}
}

// Lose lets the call take effect, calls then, which may be nil, and breaks the
// connection off without an answer.
func Lose(then func()) *Fault {
	return &Fault{Name: "answer lost", over: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&unheard{}, r)
			if then != nil {
				then()
			}
			panic(http.ErrAbortHandler)
		})
	}}
}

// Answered lets all be well, and calls then once the client has been sent the answer.
func Answered(then func()) *Fault {
	return &Fault{Name: "answered", over: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			_ = http.NewResponseController(w).Flush() // a client that is gone needs no answer
			then()
		})
	}}
}

// Slow lets the call wait before it is passed on.
func Slow(wait time.Duration) *Fault {
	return &Fault{Name: "slow", over: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			pause(r, wait)
			next.ServeHTTP(w, r)
		})
	}}
}

// Hang gives no answer at all for a time, then breaks the connection off. The API
// server never hears of the call. A time of 0 is for as long as the client waits.
func Hang(wait time.Duration) *Fault {
	return &Fault{Name: "nothing", over: func(http.Handler) http.Handler {
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

// pause waits, but not for a client that is gone.
func pause(r *http.Request, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// status answers as the API server does when it refuses.
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
	_ = json.NewEncoder(w).Encode(s) // a client that is gone needs no answer
}

// unheard takes an answer that nobody gets.
type unheard struct{ header http.Header }

func (u *unheard) Header() http.Header {
	if u.header == nil {
		u.header = http.Header{}
	}
	return u.header
}
func (u *unheard) Write(b []byte) (int, error) { return len(b), nil }
func (u *unheard) WriteHeader(int)             {}
