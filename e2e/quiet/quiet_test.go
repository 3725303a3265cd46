package quiet

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

// every sends a call again and again.
func every(c *Counter, wait func(n int) time.Duration, fails bool) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			c.Count(put)
			if fails {
				c.Failed()
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

// TestWhoRests: what goes on for ever is found, whatever its beat; what has ended, and
// what backs off from an error, rests.
func TestWhoRests(t *testing.T) {
	t.Parallel()
	fixed := func(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }
	growing := func(n int) time.Duration { return min(30*time.Second, 50*time.Millisecond<<min(n, 20)) }
	for name, tc := range map[string]struct {
		wait  func(int) time.Duration
		fails bool
		rests bool
	}{
		"a storm":                           {wait: fixed(10 * time.Millisecond)},
		"a look each quarter of a second":   {wait: fixed(250 * time.Millisecond)},
		"a look each second":                {wait: fixed(time.Second)},
		"errors that are not backed off":    {wait: fixed(time.Second), fails: true},
		"errors that are backed off":        {wait: growing, fails: true, rests: true},
		"one request and then none":         {wait: fixed(time.Hour), rests: true},
		"several that follow, and then not": {wait: func(n int) time.Duration { return time.Duration(n/20) * time.Hour }, rests: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := NewCounter()
				stop := every(c, tc.wait, tc.fails)
				var room Room
				room.Leave("TestX", c, stop)
				rested, restless := room.Empty()
				assert.Equal(t, 1, rested)
				if tc.rests {
					assert.Empty(t, restless)
					return
				}
				require.Len(t, restless, 1)
				assert.Contains(t, restless[0], "TestX: a controller that was left alone")
				assert.Contains(t, restless[0], "× update ingresses shop/my-app")
			})
		})
	}
}

// TestWhatIsNotCounted is sent by a controller that does nothing.
func TestWhatIsNotCounted(t *testing.T) {
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

// TestTheAuditRecord is read as it grows.
func TestTheAuditRecord(t *testing.T) {
	t.Parallel()
	const line = `{"verb":"update","objectRef":{"resource":"ingresses","namespace":"shop","name":"my-app"}}` + "\n"
	for name, tc := range map[string]struct {
		writes int
		bound  time.Duration
	}{
		"one that rests":    {0, time.Minute}, // it takes no longer than the Window
		"one that does not": {1000, Window + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := NewAudit(t.TempDir(), "somebody")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(a.log, nil, 0o600))
			assert.ErrorContains(t, a.Until(time.Minute), "no request of the controller")
			require.NoError(t, os.WriteFile(a.log, []byte(line), 0o600))
			end := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for range tc.writes {
					file, err := os.OpenFile(a.log, os.O_APPEND|os.O_WRONLY, 0)
					assert.NoError(t, err)
					_, err = file.WriteString(line)
					assert.NoError(t, err)
					assert.NoError(t, file.Close())
					select {
					case <-end:
						return
					case <-time.After(50 * time.Millisecond):
					}
				}
			})
			err = a.Until(tc.bound)
			close(end)
			wg.Wait()
			if tc.writes == 0 {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, "× update ingresses shop/my-app")
			}
		})
	}
}
