package api

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestHeadIsGetWithoutBody(t *testing.T) {
	h := shop().api(Config{})
	for _, path := range []string{"/services", "/status", "/maintenance", "/services/shop/web", "/healthz", "/nowhere"} {
		get, head := ask(h, "GET", path), ask(h, "HEAD", path)
		assert.Equal(t, get.Code, head.Code, path)
		assert.Equal(t, get.Header(), head.Header(), path)
		assert.Equal(t, fmt.Sprint(get.Body.Len()), head.Header().Get("Content-Length"), path)
		assert.Zero(t, head.Body.Len(), path)
	}
}

// TestRevalidation: a client that has the current answer gets 304, with the same ETag from every
// replica.
func TestRevalidation(t *testing.T) {
	h, other := shop().api(Config{}), shop().api(Config{})
	w := ask(h, "GET", "/services")
	assert.Equal(t, "no-cache", w.Header().Get("Cache-Control"))
	etag := w.Header().Get("ETag")
	for _, field := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		w = ask(other, "GET", "/services", "If-None-Match: "+field)
		assert.Equal(t, http.StatusNotModified, w.Code, field)
		assert.Equal(t, etag, w.Header().Get("ETag"))
		assert.Zero(t, w.Body.Len())
	}
	assert.Equal(t, 200, ask(h, "GET", "/services", `If-None-Match: "x"`).Code)
	assert.NotEqual(t, etag, ask(h, "GET", "/services?critical=true").Header().Get("ETag"))
}

// TestConcurrentRequestsShareAReply: ten thousand identical requests cost little more than one, and
// no answer is older than allowed.
func TestConcurrentRequestsShareAReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := shop()
		h := k.api(Config{})
		var all sync.WaitGroup
		for range 10_000 {
			all.Go(func() { assert.Equal(t, 200, ask(h, "GET", "/maintenance").Code) })
		}
		all.Wait()
		assert.Less(t, k.asked, 100)
		time.Sleep(maxCacheTime)
		synctest.Wait()
		assert.Empty(t, h.replies.cached, "expired replies are dropped")
		k.rows = nil
		assert.Equal(t, "[]\n", ask(h, "GET", "/maintenance").Body.String())
		assert.Zero(t, h.replies.bytesInFlight)
	})
}

// TestReplyCacheIsBounded: the cache is bounded, and so are replies on their way to clients that do
// not read.
func TestReplyCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := shop().api(Config{})
		for i := range 4 * maxCachedReplies {
			assert.Equal(t, 200, ask(h, "GET", fmt.Sprintf("/maintenance?host=h%d.example", i)).Code)
			assert.LessOrEqual(t, len(h.replies.cached), maxCachedReplies)
		}
		h.replies.bytesInFlight = maxBytesInFlight
		w := ask(h, "GET", "/maintenance")
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Contains(t, w.Body.String(), "too many responses")
	})
}

func TestPanicIsNotCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Maintenance: nil}) // no source
		assert.Panics(t, func() { ask(h, "GET", "/maintenance") })
		time.Sleep(minCacheTime + 1)
		synctest.Wait()
		assert.Empty(t, h.replies.cached)
		assert.Empty(t, h.replies.slots)
	})
}
