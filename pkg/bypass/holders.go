package bypass

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"maintenance-controller.io/pkg/access"
)

// holders are the tokens in the Secret now, and the requests that they have let through.
type holders struct {
	tokens   access.Tokens
	byName   map[string]*holder
	missing  bool
	problems []string
}

// holder is one token, from when it appears in the Secret until it is revoked.
type holder struct {
	digest   [sha256.Size]byte
	requests atomic.Uint64
	last     atomic.Int64 // Unix seconds of the last request

	mu      sync.Mutex
	revoked bool
	inside  map[*func()]struct{} // what ends the requests that are let through now
}

func noHolders(secret string) *holders {
	tokens, _ := access.ParseTokens(secret, "")
	return &holders{tokens: tokens, missing: secret != "", byName: map[string]*holder{}}
}

// SetTokens replaces the tokens by those in the text of the Secret's key (see
// access.ParseTokens), and aborts the requests of tokens that are not among them.
func (s *Server) SetTokens(text string) {
	next := noHolders(s.Settings.BypassSecret)
	next.tokens, next.problems = access.ParseTokens(s.Settings.BypassSecret, text)
	next.missing = false
	s.replace(next)
}

// NoTokens removes all tokens because the Secret or its key does not exist.
func (s *Server) NoTokens() { s.replace(noHolders(s.Settings.BypassSecret)) }

// replace exchanges all tokens, and aborts the requests of revoked ones at once.
func (s *Server) replace(next *holders) {
	before := s.holders.Load()
	for _, token := range next.tokens.All() {
		if h, ok := before.byName[token.Name]; ok && h.digest == token.Digest {
			next.byName[token.Name] = h
			continue
		}
		next.byName[token.Name] = &holder{digest: token.Digest, inside: map[*func()]struct{}{}}
	}
	s.holders.Store(next)
	for name, h := range before.byName {
		if next.byName[name] != h {
			h.revoke()
		}
	}
}

// enter registers a request of the token's holder. If the token is revoked before leave is
// called, it calls end. It returns false if the token has already been revoked.
func (h *holders) enter(token access.Token, now time.Time, end func()) (leave func(), ok bool) {
	holder, found := h.byName[token.Name]
	if !found || holder.digest != token.Digest {
		return nil, false
	}
	holder.mu.Lock()
	defer holder.mu.Unlock()
	if holder.revoked {
		return nil, false
	}
	holder.requests.Add(1)
	holder.last.Store(now.Unix())
	holder.inside[&end] = struct{}{}
	return func() {
		holder.mu.Lock()
		defer holder.mu.Unlock()
		delete(holder.inside, &end)
	}, true
}

func (h *holder) revoke() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revoked = true
	for end := range h.inside {
		(*end)()
	}
}

// sockets are the open WebSockets.
type sockets struct {
	mu     sync.Mutex
	closed bool
	open   map[*func()]struct{}
}

// add registers a WebSocket that end closes, and returns a function that removes it. After
// closeAll it calls end at once.
func (s *sockets) add(end func()) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		end()
	}
	if s.open == nil {
		s.open = map[*func()]struct{}{}
	}
	s.open[&end] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, &end)
	}
}

func (s *sockets) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for end := range s.open {
		(*end)()
	}
}

// How many requests are proxied at the same time.
const (
	// MaxProxied is how many requests without a token are proxied at the same time.
	MaxProxied = 1000
	// maxReading is how many of these may be let through because they only read, so that
	// they leave places to the callers of open paths.
	maxReading = 800
	// reserved is how many more are proxied if they have a token: the public must not keep
	// out the people who end the maintenance.
	reserved = 64
)

// places counts the requests that are being proxied.
type places struct{ taken, reading atomic.Int64 }

// acquire takes a place for a request, and returns false if there is none.
func (p *places) acquire(d access.Decision) bool {
	if d.By == access.ByMethod && !increment(&p.reading, maxReading) {
		return false
	}
	limit := int64(MaxProxied)
	if d.Token.Name != "" {
		limit += reserved
	}
	if !increment(&p.taken, limit) {
		p.releaseReading(d)
		return false
	}
	return true
}

// increment adds one unless that exceeds the limit.
func increment(count *atomic.Int64, limit int64) bool {
	if count.Add(1) > limit {
		count.Add(-1)
		return false
	}
	return true
}

func (p *places) releaseReading(d access.Decision) {
	if d.By == access.ByMethod {
		p.reading.Add(-1)
	}
}

func (p *places) release(d access.Decision) {
	p.taken.Add(-1)
	p.releaseReading(d)
}
