package apiserver

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// roundTripper is a function that sends requests.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var errRefused = errors.New("refused by the test")

// requestFailures makes some of the controller's requests fail, as a revoked right or a
// broken API server would.
type requestFailures struct {
	mu      sync.Mutex
	which   func(method, path string) bool
	refused chan struct{}
}

func (r *requestFailures) set(which func(method, path string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.which = which
}

func (r *requestFailures) wrap(_ *controllerConfig, config *restConfig) {
	r.refused = make(chan struct{}, 1000)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			r.mu.Lock()
			which := r.which
			r.mu.Unlock()
			if which != nil && !strings.Contains(req.URL.RawQuery, "watch=true") && which(req.Method, req.URL.Path) {
				select {
				case r.refused <- struct{}{}:
				default:
				}
				return nil, errRefused
			}
			return next.RoundTrip(req)
		})
	})
}

// waitForRefused waits until this number of requests was refused. The test fails if wrong
// is closed before.
func (r *requestFailures) waitForRefused(t *testing.T, times int, wrong <-chan struct{}) {
	t.Helper()
	deadline := after(waitTimeout)
	for range times {
		select {
		case <-r.refused:
		case <-wrong:
			t.Fatal("it worked without the refused request")
		case <-deadline:
			t.Fatal("timed out: too few requests to refuse")
		}
	}
}

// crasher stops a controller after its n-th write: that write reaches the API server, but
// its answer and all later requests are lost.
type crasher struct {
	mu    sync.Mutex
	left  int
	dead  bool
	died  chan struct{}
	wrote []string
}

func newCrasher(after int) *crasher { return &crasher{left: after, died: make(chan struct{})} }

func (k *crasher) wrap(_ *controllerConfig, config *restConfig) {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			k.mu.Lock()
			if k.dead {
				k.mu.Unlock()
				return nil, errRefused
			}
			last := false
			if req.Method != http.MethodGet {
				k.wrote = append(k.wrote, req.Method+" "+req.URL.Path)
				k.left--
				if last = k.left == 0; last {
					k.dead = true // concurrent requests fail as well
				}
			}
			k.mu.Unlock()
			resp, err := next.RoundTrip(req)
			if last {
				if err == nil {
					_ = resp.Body.Close()
				}
				close(k.died)
				return nil, errRefused
			}
			return resp, err
		})
	})
}
