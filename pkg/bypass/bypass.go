// Package bypass proxies the requests that a page set's settings let through to the app,
// and gives everybody else the page. pkg/access decides; this package does the HTTP: the
// doors, which are reverse proxies, and the link that sets a cookie.
package bypass

import (
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"maintenance-controller.io/pkg/access"
)

// Config of a Server.
type Config struct {
	// Settings say whom to let through, and to which apps. They must be valid.
	Settings access.Settings
	// PageSet is the name of the page set.
	PageSet string
	// Page answers every request that is not let through, and the ready path.
	Page http.Handler
	// Lifetime of cookies; DefaultLifetime if zero.
	Lifetime time.Duration
	// StallTimeout is how long a client may stall before its request is aborted: take none
	// of a response that is being written, or send none of the content that is being read.
	// A minute if zero.
	StallTimeout time.Duration
	// Now is the clock for cookies and reports; time.Now if nil.
	Now func() time.Time
	// Log is called once for each request that was let through, when it has ended; nil
	// logs none.
	Log func(Entry)
	// ErrorLog gets remarks about clients and apps that misbehave; nil drops them.
	ErrorLog *log.Logger
}

// Entry describes a request that was let through, for the log. All of its strings come
// from the client and can hold anything, except Door, By and Holder.
type Entry struct {
	Remote    string    // address and port of the client's connection
	Protocol  string    // HTTP/1.1, HTTP/2.0
	Method    string    // as in the request
	Host      string    // as in the request
	Path      string    // as in the request, without the query
	UserAgent string    // of the client; empty if it has none
	Door      string    // name of the door
	Holder    string    // name of the token; empty if no token let it through
	By        access.By // what let it through
	Status    int       // of the app's response; 0 if there was none
}

// DefaultLifetime is how long cookies are valid by default.
const DefaultLifetime = 12 * time.Hour

// Server has the doors of a page set. It is safe for concurrent use.
type Server struct {
	Config
	began    time.Time
	holders  atomic.Pointer[holders]
	doors    []*Door
	places   places
	sockets  sockets
	counts   counts
	links    *linkPage
	draining atomic.Bool
}

// New creates a server. No token lets anybody through until SetTokens or Follow is called.
func New(c Config) *Server {
	if c.Lifetime == 0 {
		c.Lifetime = DefaultLifetime
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = time.Minute
	}
	if c.ErrorLog == nil {
		c.ErrorLog = log.New(io.Discard, "", 0)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Server{Config: c, began: c.Now(), links: newLinkPage(c.PageSet)}
	s.holders.Store(noHolders(c.Settings.BypassSecret))
	for _, d := range c.Settings.Doors {
		s.doors = append(s.doors, newDoor(s, d))
	}
	return s
}

// Doors returns the handlers of the doors, in the order of the settings.
func (s *Server) Doors() []*Door { return s.doors }

// Drain closes all WebSockets and gives the page to new ones, so that their clients
// reconnect to another Pod. All other requests continue.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.sockets.closeAll()
}

// rules returns the rules with the current tokens.
func (s *Server) rules() access.Rules {
	return access.Rules{Settings: s.Settings, Tokens: s.holders.Load().tokens}
}
