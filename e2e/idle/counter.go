// Package idle checks that controllers send no requests when there is nothing to do:
// after its test has ended, a controller is left running and must neither read nor write.
package idle

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"maintenance-controller.io/e2e/faultproxy"
)

// Window is how long a controller must send nothing to count as idle. It is longer than
// any delay in the tests' configurations, and longer than any interval at which the
// controller polls what it cannot watch.
const Window = 3 * time.Second

// Counter remembers the requests of a controller. It ignores those that an idle
// controller sends as well: Leases, discovery, watches and Events.
type Counter struct {
	now func() time.Time

	mu       sync.Mutex
	since    time.Time // of the first Check
	requests []request // of the last Window
	all      int
	failed   time.Time // the last reconcile that ended in an error
}

type request struct {
	at   time.Time
	what string
}

// NewCounter makes a Counter without requests.
func NewCounter() *Counter { return &Counter{now: time.Now} }

// Wrap counts the requests of a client's transport.
func (c *Counter) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		c.Count(faultproxy.CallOf(r))
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Count adds a request.
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

// ReconcileFailed notes a reconcile that ended in an error: the controller retries it with backoff.
func (c *Counter) ReconcileFailed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = c.now()
}

// recent drops what is older than the Window.
func (c *Counter) recent(now time.Time) []request {
	return slices.DeleteFunc(c.requests, func(r request) bool { return now.Sub(r.at) >= Window })
}

// Check says whether the controller is idle. It is idle if it has sent nothing for the
// Window or, after a failed reconcile, nothing twice, since it backs off. If it is not
// idle, Check returns what was sent and when to check again.
func (c *Counter) Check() (idle bool, sent []string, again time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.since.IsZero() {
		c.since = now
	}
	c.requests = c.recent(now)
	if left := c.since.Add(Window).Sub(now); left > 0 {
		return false, nil, left // the first Window is not over
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
