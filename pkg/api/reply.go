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
	// fresh is how long a reply is given to whoever asks the same, so that many clients
	// cost no more than one; as long as it took to make, up to longest, if that was more,
	// so that even one of 50,000 targets leaves half of a processor to others. It is how
	// late a change may be seen.
	fresh   = 100 * time.Millisecond
	longest = 500 * time.Millisecond
	// makers is how many replies are made at once, and patience how long one waits for
	// its turn.
	makers   = 2
	patience = 5 * time.Second
	// kept is how many replies are given to others.
	kept = 256
	// maxHeld bounds the replies that are on their way to clients, each counted once, in
	// bytes: 50,000 targets in maintenance make one of 10 MB.
	maxHeld = 64 << 20
)

// reply is an answer as it is sent.
type reply struct {
	status      int
	contentType string
	etag        string
	retry       int
	body        []byte
	holders     int // whom it is being sent to; replies.mu guards it
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

// write sends the reply, or that the client has it already.
func (p *reply) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if p.status == http.StatusOK {
		h.Set("Cache-Control", "no-cache") // keep it, and ask whether it is still so
		h.Set("ETag", p.etag)
		if matches(r.Header.Values("If-None-Match"), p.etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	} else {
		h.Set("Cache-Control", "no-store")
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	h.Set("Content-Type", p.contentType)
	h.Set("Content-Length", strconv.Itoa(len(p.body)))
	w.WriteHeader(p.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(p.body) // the client may have gone
	}
}

// matches says whether If-None-Match (RFC 9110 13.1.2) names the tag.
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

// replies makes each reply once for all who ask the same at about the same time.
type replies struct {
	turns chan struct{}

	mu   sync.Mutex
	made map[string]*making
	held int
}

// making is a reply that somebody makes, or has just made.
type making struct {
	done  chan struct{}
	reply *reply
}

func newReplies() *replies {
	return &replies{turns: make(chan struct{}, makers), made: map[string]*making{}}
}

// serve answers a request for what the key names.
func (s *replies) serve(w http.ResponseWriter, r *http.Request, key string, of func() (answer, error)) {
	p := s.get(r, key, of)
	if p == nil { // the client has gone
		return
	}
	if !s.hold(p) {
		refuse(w, r, errBusy)
		return
	}
	defer s.release(p)
	p.write(w, r)
}

func (s *replies) get(r *http.Request, key string, of func() (answer, error)) *reply {
	s.mu.Lock()
	m, others := s.made[key]
	if !others {
		m = &making{done: make(chan struct{})}
		if len(s.made) < kept {
			s.made[key] = m
		}
	}
	s.mu.Unlock()
	if !others {
		s.make(key, m, of)
	}
	select {
	case <-m.done:
		return m.reply
	case <-r.Context().Done():
		return nil
	}
}

func (s *replies) make(key string, m *making, of func() (answer, error)) {
	began := time.Now()
	defer func() {
		close(m.done)
		time.AfterFunc(min(max(fresh, time.Since(began)), longest), func() { s.forget(key, m) })
	}()
	m.reply = replyOf(errBusy) // should there be no turn, or a panic
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case s.turns <- struct{}{}:
	case <-wait.C:
		return
	}
	defer func() { <-s.turns }()
	a, err := of()
	if err == nil {
		m.reply, err = newReply(a)
	}
	if err != nil {
		m.reply = replyOf(err)
	}
}

func (s *replies) forget(key string, m *making) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[key] == m {
		delete(s.made, key)
	}
}

// hold books a reply for as long as it is on its way to anybody.
func (s *replies) hold(p *reply) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.holders == 0 {
		if s.held+len(p.body) > maxHeld {
			return false
		}
		s.held += len(p.body)
	}
	p.holders++
	return true
}

func (s *replies) release(p *reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.holders--; p.holders == 0 {
		s.held -= len(p.body)
	}
}
