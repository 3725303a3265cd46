package queue

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// lookAgain is how often the time of day is looked at while an alarm is set. A timer
// counts what passes for the machine: it does not see that the clock was put forward, nor
// how long the machine slept.
const lookAgain = 10 * time.Second

// Alarms tell keys when a time has come, once. Unlike AddAfter they go by the time of day
// where a time has no monotonic reading: put the clock forward, and what is due then is
// told within lookAgain; put it back, and it waits. Nobody is waited for while none is set.
type Alarms[K comparable] struct {
	clock clock.WithTicker
	tell  func(K)

	mu    sync.Mutex
	at    map[K]time.Time
	moved chan struct{} // has one if an alarm was set since it was looked
}

// NewAlarms gives alarms that tell; nothing is told before Run.
func NewAlarms[K comparable](c clock.WithTicker, tell func(K)) *Alarms[K] {
	return &Alarms[K]{clock: c, tell: tell, at: map[K]time.Time{}, moved: make(chan struct{}, 1)}
}

// Set the time of a key in place of the one it had; zero is none.
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
	case a.moved <- struct{}{}:
	default:
	}
}

// Run tells until ctx ends.
func (a *Alarms[K]) Run(ctx context.Context) {
	for {
		wait, set := a.ring()
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
		case <-a.moved:
			stop()
		}
	}
}

// ring tells those whose time has come, and gives how long to wait for the next.
func (a *Alarms[K]) ring() (wait time.Duration, set bool) {
	now := a.clock.Now()
	var due []K
	wait = lookAgain
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
		a.tell(key)
	}
	return max(wait, time.Millisecond), set
}
