package bypass

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"maintenance-controller.io/pkg/access"
)

// holders are the tokens as the Secret has them now, and who is in by them.
type holders struct {
	tokens   access.Tokens
	byName   map[string]*holder
	missing  bool
	problems []string
}

// holder is one token from when it is there until it is taken away.
type holder struct {
	digest   [sha256.Size]byte
	requests atomic.Uint64
	last     atomic.Int64 // Unix seconds

	mu      sync.Mutex
	revoked bool
	inside  map[*func()]struct{}
}

func noHolders(secret string) *holders {
	tokens, _ := access.ParseTokens(secret, "")
	return &holders{tokens: tokens, missing: secret != "", byName: map[string]*holder{}}
}

// SetTokens takes the Secret's text as it is from now on.
func (s *Server) SetTokens(text string) {
	next := noHolders(s.Settings.BypassSecret)
	next.tokens, next.problems = access.ParseTokens(s.Settings.BypassSecret, text)
	next.missing = false
	s.replace(next)
}

// NoTokens says that the Secret is not there from now on.
func (s *Server) NoTokens() { s.replace(noHolders(s.Settings.BypassSecret)) }

// replace exchanges all tokens. Who is in by one that is no more is out at once.
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

// enter notes that somebody is in by the token, and calls end when it is taken away.
// It is false if that has happened meanwhile.
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

// sockets are the WebSockets that are open.
type sockets struct {
	mu     sync.Mutex
	closed bool
	open   map[*func()]struct{}
}

// add notes one, and gives what takes it off again. After closeAll it ends at once.
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

// Places of requests on their way to an app. The last ones are for those with a
// token: whoever ends the maintenance must not be kept out by the public. Those before
// are for open paths: what calls them must not be kept out by whoever only reads.
const (
	MaxProxied = 1000
	maxReading = 800
	reserved   = 64
)

type places struct{ taken, reading atomic.Int64 }

func (p *places) take(d access.Decision) bool {
	if d.By == access.ByMethod && !takeOf(&p.reading, maxReading) {
		return false
	}
	limit := int64(MaxProxied)
	if d.Token.Name != "" {
		limit += reserved
	}
	if !takeOf(&p.taken, limit) {
		p.leave(d)
		return false
	}
	return true
}

func takeOf(taken *atomic.Int64, limit int64) bool {
	if taken.Add(1) > limit {
		taken.Add(-1)
		return false
	}
	return true
}

// leave gives back what take has taken beside the place itself.
func (p *places) leave(d access.Decision) {
	if d.By == access.ByMethod {
		p.reading.Add(-1)
	}
}

func (p *places) giveBack(d access.Decision) {
	p.taken.Add(-1)
	p.leave(d)
}
