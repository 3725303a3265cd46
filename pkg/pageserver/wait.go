package pageserver

import (
	"math/rand/v2"
	"strconv"
	"time"

	"maintenance-controller.io/pkg/page"
)

// Bounds of Retry-After if it is known when maintenance ends.
const (
	// minWait is how long clients should wait at the end and after it, when the app is about
	// to be back. A page's own Retry-After is used instead if it is shorter.
	minWait = 30 * time.Second
	// maxSpread is how much later than the end clients return at most. They are spread so
	// that they do not all return at the same time.
	maxSpread = time.Minute
)

// wait chooses the value of Retry-After, in whole seconds (RFC 9110 10.2.3).
//
//	the end is not known   the page's Retry-After, and up to a quarter more
//	before the end         the time until then, and up to a quarter or maxSpread more
//	after the end          minWait, and up to a quarter more
//
// It is never more than page.MaxRetryAfter and maxSpread together.
type wait struct {
	fixed jitter    // for an end that is not known
	until time.Time // the end; zero if it is not known
	min   time.Duration
	now   func() time.Time
}

func newWait(p page.Page, now func() time.Time) wait {
	if now == nil {
		now = time.Now
	}
	return wait{fixed: newJitter(p.RetryAfter), until: p.Until, min: min(minWait, p.RetryAfter), now: now}
}

func (w *wait) pick() []string {
	if w.until.IsZero() {
		return w.fixed.pick()
	}
	left := min(max(w.until.Sub(w.now()), w.min), page.MaxRetryAfter)
	seconds := int((left + time.Second - 1) / time.Second)
	spread := min(seconds/4, int(maxSpread/time.Second))
	return []string{strconv.Itoa(seconds + rand.IntN(spread+1))}
}

// jitter has values of Retry-After from the page's to a quarter more, so that clients do not
// all return in the same second.
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
