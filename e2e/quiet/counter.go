// Package quiet leaves controllers alone once their tests have ended, and wants them to
// send nothing: where nothing changes, nothing is asked and nothing written.
package quiet

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"maintenance-controller.io/e2e/faultproxy"
)

// Window is how long a controller has to send nothing. It is longer than any wait of the
// tests' configurations, and than any that the controller has of its own between two
// looks at what no watch tells.
const Window = 3 * time.Second

// Counter remembers the requests of a controller. Not counted are the Lease, discovery,
// watches, and Events, which are sent beside the work.
type Counter struct {
	now func() time.Time

	mu       sync.Mutex
	since    time.Time // of the first look
	requests []request // of the last Window
	all      int
	failed   time.Time // last reconcile that ended in an error
}

type request struct {
	at   time.Time
	what string
}

// NewCounter makes a Counter that has counted nothing.
func NewCounter() *Counter { return &Counter{now: time.Now} }

// Wrap counts what goes through a client's transport.
func (c *Counter) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		c.Count(faultproxy.CallOf(r))
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Count takes a request.
func (c *Counter) Count(call faultproxy.Call) {
	if call.Verb == "watch" || call.Discovery() || call.Resource == "leases" || call.Resource == "events" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	c.all++
	c.requests = append(c.recent(now), request{at: now, what: call.String() + " " + call.Namespace + "/" + call.Name})
}

// Failed takes a reconcile that ended in an error: it will be tried again, later and later.
func (c *Counter) Failed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = c.now()
}

// recent drops what is older than the Window.
func (c *Counter) recent(now time.Time) []request {
	return slices.DeleteFunc(c.requests, func(r request) bool { return now.Sub(r.at) >= Window })
}

// Look says whether the controller rests: it has sent nothing for the Window, or, if
// its last reconcile failed, nothing twice, since it backs off. If not, it gives what
// was sent, and when to look again.
func (c *Counter) Look() (rests bool, sent []string, again time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.since.IsZero() {
		c.since = now
	}
	c.requests = c.recent(now)
	if left := c.since.Add(Window).Sub(now); left > 0 {
		return false, nil, left // it has not been left alone for so long
	}
	if len(c.requests) == 0 {
		return true, nil, 0
	}
	twice := false
	for i, r := range c.requests {
		sent = append(sent, r.what)
		twice = twice || slices.ContainsFunc(c.requests[:i], func(q request) bool { return q.what == r.what })
	}
	const slowest = 40 * time.Second // longer than the longest backoff
	if backsOff := !c.failed.IsZero() && now.Sub(c.failed) < slowest; backsOff && !twice {
		return true, nil, 0
	}
	return false, sent, max(c.requests[0].at.Add(Window).Sub(now), 10*time.Millisecond)
}
