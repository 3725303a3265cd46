package pageserver

import (
	"math/rand/v2"
	"strconv"
	"time"

	"maintenance-controller.io/pkg/page"
)

// Bounds of the waiting time of a page that says when maintenance ends.
const (
	// leastWait is what clients are asked to wait when the end is this moment, or past:
	// the app is about to be back. A page whose own waiting time is shorter keeps that.
	leastWait = 30 * time.Second
	// mostSpread is the most by which clients come back later than the end, so that they
	// do not all come at once.
	mostSpread = time.Minute
)

// wait gives the value of Retry-After, in whole seconds (RFC 9110 10.2.3).
//
//	no end is known      the page's waiting time, to a quarter more
//	the end is to come   until then, and to a quarter more, at most mostSpread
//	it is past           leastWait, and to a quarter more
//
// It is never more than page.MaxRetryAfter and mostSpread.
type wait struct {
	fixed jitter
	until time.Time
	least time.Duration
	now   func() time.Time
}

func newWait(p page.Page, now func() time.Time) wait {
	if now == nil {
		now = time.Now
	}
	return wait{fixed: newJitter(p.RetryAfter), until: p.Until, least: min(leastWait, p.RetryAfter), now: now}
}

func (w *wait) pick() []string {
	if w.until.IsZero() {
		return w.fixed.pick()
	}
	left := min(max(w.until.Sub(w.now()), w.least), page.MaxRetryAfter)
	seconds := int((left + time.Second - 1) / time.Second)
	spread := min(seconds/4, int(mostSpread/time.Second))
	return []string{strconv.Itoa(seconds + rand.IntN(spread+1))}
}

// jitter gives waiting times from the page's to a quarter more, so that clients
// which obey Retry-After do not all come back in the same second.
type jitter [][]string

func newJitter(base time.Duration) jitter {
	const steps = 64
	seconds := int(base / time.Second)
	j := make(jitter, 0, steps)
	for i := range steps {
		j = append(j, []string{strconv.Itoa(seconds + seconds*i/(4*(steps-1)))})
	}
	return j
}

func (j jitter) pick() []string { return j[rand.IntN(len(j))] }
