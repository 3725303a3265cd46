package bypass

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"maintenance-controller.io/pkg/access"
)

type counter = atomic.Uint64

// bys are what lets requests through, in the order of the counters.
var bys = [...]access.By{access.ByHeader, access.ByCookie, access.ByPath, access.ByMethod}

// Reasons for the page beside access's own.
const (
	whyBusy        = access.Why(access.Busy)
	whyUnreachable = access.Why(access.Unreachable)
	whyLoop        = access.Why("loop")
	whyForeign     = access.Why("other-origin") // a link's form or script is not ours
)

// whys are all reasons, in the order of the counters.
var whys = append(access.Whys(), whyBusy, whyUnreachable, whyLoop, whyForeign) //nolint:gochecknoglobals // only read

type counts struct {
	refused [16]counter // by whys
	cookies counter     // set by links
}

func (c *counts) refuse(why access.Why) {
	if i := slices.Index(whys, why); i >= 0 {
		c.refused[i].Add(1)
	}
}

// failing says whether an app is out of reach.
type failing struct {
	count counter
	now   atomic.Pointer[failure]
}

type failure struct {
	text        string
	since, last time.Time
}

// lapse is how long an app stays out of reach that nobody has asked for anything since.
const lapse = 2 * time.Minute

// yes says that the app did not take a connection. What happens in one may be the
// visitor's doing, and tells visitors' words: that is counted and no more.
func (f *failing) yes(now time.Time, err error) {
	since := now
	if before := f.at(now); before != nil {
		since = before.since
	}
	f.now.Store(&failure{clip(err.Error()), since, now})
}

// at gives what keeps requests from the app; nil if nothing does, or nobody knows it.
func (f *failing) at(now time.Time) *failure {
	if last := f.now.Load(); last != nil && now.Sub(last.last) < lapse {
		return last
	}
	return nil
}

func (f *failing) no() {
	if f.now.Load() != nil {
		f.now.Store(nil)
	}
}

func clip(s string) string {
	const limit = 200
	return strings.ToValidUTF8(s[:min(len(s), limit)], "")
}

// Summary tells what the controller asks for.
func (s *Server) Summary() access.Summary {
	h := s.holders.Load()
	sum := access.Summary{
		Version: access.Version, PageSet: s.PageSet, Since: s.began.UTC(), Through: map[access.By]uint64{}, Page: map[access.Why]uint64{}, Holders: map[string]access.Holder{},
		Secret: access.Secret{Name: s.Settings.BypassSecret, Missing: h.missing, Tokens: len(h.tokens.All()), Problems: h.problems},
	}
	for i, why := range whys {
		if n := s.counts.refused[i].Load(); n > 0 {
			sum.Page[why] = n
		}
	}
	for name, holder := range h.byName {
		if n := holder.requests.Load(); n > 0 {
			sum.Holders[name] = access.Holder{Requests: n, Last: time.Unix(holder.last.Load(), 0).UTC()}
		}
	}
	for _, d := range s.doors {
		state := access.DoorState{Name: d.Name, Failed: d.failing.count.Load()}
		if f := d.failing.at(s.Now()); f != nil {
			state.Unreachable, state.Since = f.text, f.since.UTC()
		}
		sum.Doors = append(sum.Doors, state)
		for i, by := range bys {
			if n := d.through[i].Load(); n > 0 {
				sum.Through[by] += n
			}
		}
	}
	return sum
}

// WriteMetrics writes what is counted in Prometheus's text format, without series that
// are 0. Errors are the scraper's going away.
func (s *Server) WriteMetrics(w io.Writer) {
	var through, refused, unreachable strings.Builder
	for _, d := range s.doors {
		for i, by := range bys {
			if n := d.through[i].Load(); n > 0 {
				fmt.Fprintf(&through, "maintenance_page_let_through_total{door=%q,by=%q} %d\n", d.Name, by, n)
			}
		}
		down := 0
		if d.failing.at(s.Now()) != nil {
			down = 1
		}
		fmt.Fprintf(&unreachable, "maintenance_page_app_unreachable{door=%q} %d\n", d.Name, down)
	}
	for i, why := range whys {
		if n := s.counts.refused[i].Load(); n > 0 {
			fmt.Fprintf(&refused, "maintenance_page_refused_total{reason=%q} %d\n", why, n)
		}
	}
	metric := func(name, kind, help, samples string) {
		_, _ = fmt.Fprintf(w, "# HELP %[1]s %[2]s\n# TYPE %[1]s %[3]s\n%[4]s", name, help, kind, samples)
	}
	metric("maintenance_page_let_through_total", "counter", "Requests that an app answered, by door and by what let them through.", through.String())
	metric("maintenance_page_refused_total", "counter", "Requests that were not let through, or not by what they showed, by reason.", refused.String())
	metric("maintenance_page_proxied", "gauge", "Requests and WebSockets on their way to an app now.", fmt.Sprintf("maintenance_page_proxied %d\n", s.places.taken.Load()))
	metric("maintenance_page_app_unreachable", "gauge", "1 if the app did not take the connection of the last request, less than 2 minutes ago.", unreachable.String())
	metric("maintenance_page_bypass_cookies_total", "counter", "Cookies that were set by a link.", fmt.Sprintf("maintenance_page_bypass_cookies_total %d\n", s.counts.cookies.Load()))
	metric("maintenance_page_bypass_tokens", "gauge", "Tokens that let somebody in now.", fmt.Sprintf("maintenance_page_bypass_tokens %d\n", len(s.holders.Load().tokens.All())))
}
