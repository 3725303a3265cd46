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

// refusal lets some of the controller's requests fail, as a revoked right or a
// sick API server does.
type refusal struct {
	mu      sync.Mutex
	which   func(method, path string) bool
	refused chan struct{}
}

func (r *refusal) set(which func(method, path string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.which = which
}

func (r *refusal) wrap(_ *controllerConfig, config *restConfig) {
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

// untilRefused waits until so many requests were refused; what it must not come to
// meanwhile ends the test at once.
func (r *refusal) untilRefused(t *testing.T, times int, wrong <-chan struct{}) {
	t.Helper()
	deadline := after(patience)
	for range times {
		select {
		case <-r.refused:
		case <-wrong:
			t.Fatal("it did without what was refused")
		case <-deadline:
			t.Fatal("no request to refuse came")
		}
	}
}

// killer ends a controller after its n-th write: that one reaches the API
// server, its answer and everything later reach nobody.
type killer struct {
	mu    sync.Mutex
	left  int
	dead  bool
	died  chan struct{}
	wrote []string
}

func newKiller(after int) *killer { return &killer{left: after, died: make(chan struct{})} }

func (k *killer) wrap(_ *controllerConfig, config *restConfig) {
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
					k.dead = true // parallel requests die with it
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
