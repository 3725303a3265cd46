// Package bypass lets those through to the app whom the settings of a page set let
// through, and gives everybody else the page. pkg/access decides; here is what the
// decision needs of HTTP: the doors, which proxy, and the link that sets a cookie.
package bypass

import (
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"maintenance-controller.io/pkg/access"
)

// Config says what is behind the page, and who gets there.
type Config struct {
	Settings access.Settings
	PageSet  string
	Page     http.Handler // what everybody else gets; it answers the ready path
	// Lifetime of a cookie; 12 hours if zero.
	Lifetime time.Duration
	// Stall bounds how long a client may take nothing of a part of an answer, and send
	// nothing of its content, since each holds a place; a minute if zero.
	Stall time.Duration
	Now   func() time.Time // time.Now if nil
	// Log is called for each request that was let through, if set.
	Log      func(Entry)
	ErrorLog *log.Logger // remarks on clients and apps; nothing if nil
}

// Entry describes a request that was let through. Its strings are the client's words,
// but for Door, By and Holder.
type Entry struct {
	Remote, Protocol, Method, Host, Path, UserAgent string
	Door, Holder                                    string
	By                                              access.By
	Status                                          int // of the app's answer; 0 if there was none
}

// DefaultLifetime of a cookie.
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

// New makes a server that lets nobody in by token before Holders are set.
func New(c Config) *Server {
	if c.Lifetime == 0 {
		c.Lifetime = DefaultLifetime
	}
	if c.Stall == 0 {
		c.Stall = time.Minute
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

// Doors are the handlers of the settings' doors, in their order.
func (s *Server) Doors() []*Door { return s.doors }

// Drain closes every WebSocket, and lets no other begin: their clients come back to
// another Pod. Everything else goes on.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.sockets.closeAll()
}

// rules decide as of now.
func (s *Server) rules() access.Rules {
	return access.Rules{Settings: s.Settings, Tokens: s.holders.Load().tokens}
}
