package queue

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// clockCheckInterval is how often the wall clock is checked while an alarm is set. A timer measures
// elapsed time: it does not notice that the clock was set forward, or how long the machine slept.
const clockCheckInterval = 10 * time.Second

// Alarms report keys when their time has come, once each. Unlike AddAfter they follow the wall clock
// where a time has no monotonic reading: if the clock is set forward, an alarm that is due by then
// fires within clockCheckInterval; if it is set back, the alarm waits. While no alarm is set, there
// is no timer.
type Alarms[K comparable] struct {
	clock  clock.WithTicker
	notify func(K)

	mu      sync.Mutex
	at      map[K]time.Time
	changed chan struct{} // holds a value if an alarm was set since the last check
}

// NewAlarms returns alarms that call tell with each key whose time has come. Nothing fires before
// Run.
func NewAlarms[K comparable](c clock.WithTicker, tell func(K)) *Alarms[K] {
	return &Alarms[K]{clock: c, notify: tell, at: map[K]time.Time{}, changed: make(chan struct{}, 1)}
}

// Set sets the time of a key, replacing any earlier one. The zero time removes the alarm.
func (a *Alarms[K]) Set(key K, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at.IsZero() {
		delete(a.at, key)
		return
	}
	if a.at[key].Equal(at) {
		return
	}
	a.at[key] = at
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// Run fires alarms until ctx ends.
func (a *Alarms[K]) Run(ctx context.Context) {
	for {
		wait, set := a.fire()
		var due <-chan time.Time
		stop := func() bool { return true }
		if set {
			timer := a.clock.NewTimer(wait)
			due, stop = timer.C(), timer.Stop
		}
		select {
		case <-ctx.Done():
			stop()
			return
		case <-due:
		case <-a.changed:
			stop()
		}
	}
}

// fire reports the keys whose time has come, and returns how long to wait for the next one.
func (a *Alarms[K]) fire() (wait time.Duration, set bool) {
	now := a.clock.Now()
	var due []K
	wait = clockCheckInterval
	a.mu.Lock()
	for key, at := range a.at {
		left := at.Sub(now)
		if left <= 0 {
			due = append(due, key)
			delete(a.at, key)
			continue
		}
		set, wait = true, min(wait, left)
	}
	a.mu.Unlock()
	for _, key := range due {
		a.notify(key)
	}
	return max(wait, time.Millisecond), set
}
