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

// bys are all values of By, in the order of the counters.
var bys = [...]access.By{access.ByHeader, access.ByCookie, access.ByPath, access.ByMethod}

// Reasons for the page in addition to those of access.
const (
	whyBusy        = access.Why(access.Busy)
	whyUnreachable = access.Why(access.Unreachable)
	whyLoop        = access.Why("loop")
	whyForeign     = access.Why("other-origin") // a link's form was sent from another origin
)

// whys are all reasons, in the order of the counters.
var whys = append(access.Whys(), whyBusy, whyUnreachable, whyLoop, whyForeign) //nolint:gochecknoglobals // only read

type counts struct {
	refused [16]counter // in the order of whys
	cookies counter     // set by links
}

func (c *counts) refuse(why access.Why) {
	if i := slices.Index(whys, why); i >= 0 {
		c.refused[i].Add(1)
	}
}

// reachability records whether an app accepts connections.
type reachability struct {
	failed counter // requests that the app did not answer
	last   atomic.Pointer[failure]
}

// failure is the last failed attempt to connect to an app.
type failure struct {
	text         string
	since, until time.Time // since the first attempt of an unbroken series
}

// failureLifetime is how long an app counts as unreachable after the last failed attempt.
const failureLifetime = 2 * time.Minute

// lost records that the app did not accept a connection. A failure inside a connection is
// only counted, because the visitor may have caused it and its text may quote visitors.
func (r *reachability) lost(now time.Time, err error) {
	since := now
	if before := r.at(now); before != nil {
		since = before.since
	}
	r.last.Store(&failure{clip(err.Error()), since, now.Add(failureLifetime)})
}

// at returns the current failure; nil if the app is reachable or nobody has tried lately.
func (r *reachability) at(now time.Time) *failure {
	if last := r.last.Load(); last != nil && now.Before(last.until) {
		return last
	}
	return nil
}

// restored records that the app answered.
func (r *reachability) restored() {
	if r.last.Load() != nil {
		r.last.Store(nil)
	}
}

func clip(s string) string {
	const limit = 200
	return strings.ToValidUTF8(s[:min(len(s), limit)], "")
}

// Summary returns what the controller collects from page Pods.
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
		state := access.DoorState{Name: d.Name, Failed: d.app.failed.Load()}
		if f := d.app.at(s.Now()); f != nil {
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

// WriteMetrics writes the counters in Prometheus's text format, without series that are 0.
// It ignores errors of w: they only mean that the scraper has gone away.
func (s *Server) WriteMetrics(w io.Writer) {
	var through, refused, unreachable strings.Builder
	for _, d := range s.doors {
		for i, by := range bys {
			if n := d.through[i].Load(); n > 0 {
				fmt.Fprintf(&through, "maintenance_page_let_through_total{door=%q,by=%q} %d\n", d.Name, by, n)
			}
		}
		down := 0
		if d.app.at(s.Now()) != nil {
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
	metric("maintenance_page_refused_total", "counter", "Requests that got the page, or whose token or cookie was invalid, by reason.", refused.String())
	metric("maintenance_page_proxied", "gauge", "Requests and WebSockets that are being proxied to an app.", fmt.Sprintf("maintenance_page_proxied %d\n", s.places.taken.Load()))
	metric("maintenance_page_app_unreachable", "gauge", "1 if the app refused the last connection, less than 2 minutes ago.", unreachable.String())
	metric("maintenance_page_bypass_cookies_total", "counter", "Cookies set by a link.", fmt.Sprintf("maintenance_page_bypass_cookies_total %d\n", s.counts.cookies.Load()))
	metric("maintenance_page_bypass_tokens", "gauge", "Valid tokens.", fmt.Sprintf("maintenance_page_bypass_tokens %d\n", len(s.holders.Load().tokens.All())))
}
