package idle

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/faultproxy"
)

var put = faultproxy.Call{Verb: "update", Namespace: "shop", Resource: "ingresses", Name: "my-app"}

// repeat sends a call again and again.
func repeat(c *Counter, wait func(n int) time.Duration, fails bool) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			c.Count(put)
			if fails {
				c.ReconcileFailed()
			}
			select {
			case <-end:
				return
			case <-time.After(wait(n)):
			}
		}
	}()
	return func() { close(end); <-ended }
}

// TestIdleDetection: endless requests are found at any rate. A controller that has
// stopped sending, or that backs off from an error, is idle.
func TestIdleDetection(t *testing.T) {
	t.Parallel()
	fixed := func(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }
	growing := func(n int) time.Duration { return min(30*time.Second, 50*time.Millisecond<<min(n, 20)) }
	for name, tc := range map[string]struct {
		wait  func(int) time.Duration
		fails bool
		idle  bool
	}{
		"a storm of requests":                {wait: fixed(10 * time.Millisecond)},
		"a request each quarter of a second": {wait: fixed(250 * time.Millisecond)},
		"a request each second":              {wait: fixed(time.Second)},
		"errors without backoff":             {wait: fixed(time.Second), fails: true},
		"errors with backoff":                {wait: growing, fails: true, idle: true},
		"one request, then none":             {wait: fixed(time.Hour), idle: true},
		"several requests, then none":        {wait: func(n int) time.Duration { return time.Duration(n/20) * time.Hour }, idle: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := NewCounter()
				stop := repeat(c, tc.wait, tc.fails)
				var group Group
				group.Watch("TestX", c, stop)
				checked, busy := group.Wait()
				assert.Equal(t, 1, checked)
				if tc.idle {
					assert.Empty(t, busy)
					return
				}
				require.Len(t, busy, 1)
				assert.Contains(t, busy[0], "TestX: the controller had nothing to do")
				assert.Contains(t, busy[0], "× update ingresses shop/my-app")
			})
		})
	}
}

// TestIgnoredRequests: what an idle controller sends as well is not counted.
func TestIgnoredRequests(t *testing.T) {
	t.Parallel()
	c := NewCounter()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	client := http.Client{Transport: c.Wrap(http.DefaultTransport)}
	for path, counted := range map[string]bool{
		"/api/v1/namespaces/shop/configmaps/a":                              true,
		"/api/v1/configmaps":                                                true,
		"/api/v1/configmaps?watch=true":                                     false,
		"/apis/networking.k8s.io/v1":                                        false,
		"/api/v1/namespaces/shop/events":                                    false,
		"/apis/coordination.k8s.io/v1/namespaces/own/leases/m":              false,
		"/apis/networking.k8s.io/v1/namespaces/shop/ingresses/my-app":       true,
		"/apis/traefik.io/v1alpha1/ingressroutes?resourceVersion=0&watch=1": false,
	} {
		before := c.all
		response, err := client.Get(server.URL + path)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, counted, c.all > before, path)
	}
}

// TestAuditLog: the log is read while it grows, also in the middle of a line.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	const line = `{"verb":"update","objectRef":{"resource":"ingresses","namespace":"shop","name":"my-app"}}` + "\n"
	for name, tc := range map[string]struct {
		writes  int
		timeout time.Duration
	}{
		"idle": {0, time.Minute}, // it takes no longer than the Window
		"busy": {1000, Window + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, err := NewAudit(t.TempDir(), "somebody")
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(a.log, nil, 0o600))
				assert.ErrorContains(t, a.WaitIdle(time.Minute), "no request of the controller")
				require.NoError(t, os.WriteFile(a.log, []byte(line), 0o600))
				end := make(chan struct{})
				var wg sync.WaitGroup
				wg.Go(func() {
					for n := range 2 * tc.writes {
						file, err := os.OpenFile(a.log, os.O_APPEND|os.O_WRONLY, 0)
						assert.NoError(t, err)
						_, err = file.WriteString([]string{line[:40], line[40:]}[n%2])
						assert.NoError(t, err)
						assert.NoError(t, file.Close())
						select {
						case <-end:
							return
						case <-time.After(30 * time.Millisecond):
						}
					}
				})
				err = a.WaitIdle(tc.timeout)
				close(end)
				wg.Wait()
				if tc.writes == 0 {
					assert.NoError(t, err)
				} else {
					assert.ErrorContains(t, err, "× update ingresses shop/my-app")
				}
			})
		})
	}
}
