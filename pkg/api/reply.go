package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// A reply is reused for identical requests for minCacheTime, or as long as it took to build it,
	// up to maxCacheTime. So many clients cost no more than one, and even a reply with 50,000
	// targets uses at most half of a CPU. It is also how late a change may become visible.
	minCacheTime = 100 * time.Millisecond
	maxCacheTime = 500 * time.Millisecond
	// maxBuilds is how many replies are built at once, and buildQueueTimeout how long a request
	// waits for its turn.
	maxBuilds         = 2
	buildQueueTimeout = 5 * time.Second
	// maxCachedReplies bounds the replies that are reused.
	maxCachedReplies = 256
	// maxBytesInFlight bounds the replies that are being sent, each counted once, in bytes: 50,000
	// targets in maintenance make a reply of 10 MB.
	maxBytesInFlight = 64 << 20
)

// reply is a response ready to be sent.
type reply struct {
	status      int
	contentType string
	etag        string
	retryAfter  int
	body        []byte
	receivers   int // number of clients it is being sent to; guarded by replyCache.mu
}

func newReply(a answer) (*reply, error) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(a.value); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b.Bytes()) // the same in every replica
	return &reply{
		status: a.status, contentType: "application/json", body: b.Bytes(),
		etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
	}, nil
}

// write sends the reply, or 304 if the client already has it.
func (p *reply) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if p.status == http.StatusOK {
		h.Set("Cache-Control", "no-cache") // may be stored, but must be revalidated
		h.Set("ETag", p.etag)
		if matches(r.Header.Values("If-None-Match"), p.etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	} else {
		h.Set("Cache-Control", "no-store")
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	h.Set("Content-Type", p.contentType)
	h.Set("Content-Length", strconv.Itoa(len(p.body)))
	w.WriteHeader(p.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(p.body) // the client may have disconnected
	}
}

// matches reports whether If-None-Match (RFC 9110, section 13.1.2) contains the tag.
func matches(fields []string, etag string) bool {
	for _, field := range fields {
		for tag := range strings.SplitSeq(field, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == "*" || tag == etag {
				return true
			}
		}
	}
	return false
}

// replyCache builds each reply once for all identical requests that arrive at about the same time.
type replyCache struct {
	slots chan struct{}

	mu            sync.Mutex
	cached        map[string]*pendingReply
	bytesInFlight int
}

// pendingReply is a reply that is being built, or was just built.
type pendingReply struct {
	done  chan struct{}
	reply *reply
}

func newReplyCache() *replyCache {
	return &replyCache{slots: make(chan struct{}, maxBuilds), cached: map[string]*pendingReply{}}
}

// serve answers a request with the reply of a key.
func (s *replyCache) serve(w http.ResponseWriter, r *http.Request, key string, of func() (answer, error)) {
	p := s.get(r, key, of)
	if p == nil { // the client has disconnected
		return
	}
	if !s.acquire(p) {
		writeProblem(w, r, errBusy)
		return
	}
	defer s.release(p)
	p.write(w, r)
}

func (s *replyCache) get(r *http.Request, key string, of func() (answer, error)) *reply {
	s.mu.Lock()
	m, others := s.cached[key]
	if !others {
		m = &pendingReply{done: make(chan struct{})}
		if len(s.cached) < maxCachedReplies {
			s.cached[key] = m
		}
	}
	s.mu.Unlock()
	if !others {
		s.build(key, m, of)
	}
	select {
	case <-m.done:
		return m.reply
	case <-r.Context().Done():
		return nil
	}
}

func (s *replyCache) build(key string, m *pendingReply, of func() (answer, error)) {
	began := time.Now()
	defer func() {
		close(m.done)
		time.AfterFunc(min(max(minCacheTime, time.Since(began)), maxCacheTime), func() { s.forget(key, m) })
	}()
	m.reply = replyOf(errBusy) // in case there is no turn, or build panics
	wait := time.NewTimer(buildQueueTimeout)
	defer wait.Stop()
	select {
	case s.slots <- struct{}{}:
	case <-wait.C:
		return
	}
	defer func() { <-s.slots }()
	a, err := of()
	if err == nil {
		m.reply, err = newReply(a)
	}
	if err != nil {
		m.reply = replyOf(err)
	}
}

func (s *replyCache) forget(key string, m *pendingReply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cached[key] == m {
		delete(s.cached, key)
	}
}

// acquire counts a reply as being sent until release.
func (s *replyCache) acquire(p *reply) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.receivers == 0 {
		if s.bytesInFlight+len(p.body) > maxBytesInFlight {
			return false
		}
		s.bytesInFlight += len(p.body)
	}
	p.receivers++
	return true
}

func (s *replyCache) release(p *reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.receivers--; p.receivers == 0 {
		s.bytesInFlight -= len(p.body)
	}
}
