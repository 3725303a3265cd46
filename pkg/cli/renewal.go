package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// retryInterval is how soon a failed request for a Lease is retried.
const retryInterval = 2 * time.Second

// keepRenewing renews a Lease three times in its duration, until ctx ends.
func (k *keeper) keepRenewing(ctx context.Context, h *heldTarget) {
	interval := k.o.lease / 3
	k.setRenewed(h, k.Now())
	for next := interval; ; {
		select {
		case <-ctx.Done():
			return
		case <-after(next):
		}
		if k.isEnded(h) {
			return
		}
		begun := k.Now()
		lapsed := k.overdue(h)
		try, cancel := context.WithTimeout(ctx, interval)
		err := k.renewLease(try, h.ref().Namespace, h.lease)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if lapsed { // a command that must not run without maintenance has done so
				k.reportLapse(h, k.errNotRenewed())
			}
			k.recordRenewal(ctx, h, lapsed)
			k.setRenewed(h, begun)
			next = interval
			continue
		case apierrors.IsNotFound(err):
			k.markEnded(h, errors.New("somebody deleted its Lease, as 'kubectl maintenance off' does"))
			return
		}
		if k.recordFailure(h) {
			k.tell("Warning: the Lease of %s could not be renewed, trying again: %v", k.label(h.ref()), err)
		}
		next = min(retryInterval, interval)
		if k.overdue(h) {
			k.reportLapse(h, k.errNotRenewed())
		}
	}
}

// setRenewed records when a Lease was renewed.
func (k *keeper) setRenewed(h *heldTarget, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h.renewed = at
}

// overdue says whether a Lease has not been renewed for longer than its duration.
func (k *keeper) overdue(h *heldTarget) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return h.overdue(k.Now(), k.o.lease)
}

func (h *heldTarget) overdue(now time.Time, lease time.Duration) bool {
	return !h.renewed.IsZero() && elapsed(h.renewed, now) > lease
}

// elapsed is the time between two readings of the clock. The monotonic clock stands still
// while a machine sleeps, and the wall clock may be set back, so the longer one counts.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

func (k *keeper) errNotRenewed() error {
	return fmt.Errorf("the Lease could not be renewed for %s, so maintenance may have ended", k.o.lease)
}

// recordFailure records that a Lease cannot be renewed. first says that it could before.
func (k *keeper) recordFailure(h *heldTarget) (first bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	first, h.failing = !h.failing, true
	return first
}

// isEnded says whether somebody has ended maintenance. Then the Lease is left to expire.
func (k *keeper) isEnded(h *heldTarget) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return h.ended
}

// recordRenewal records that a Lease was renewed. After a lapse the target may have to be put
// in maintenance again.
func (k *keeper) recordRenewal(ctx context.Context, h *heldTarget, lapsed bool) { //nolint:revive // flag-parameter: it is what happened
	k.mu.Lock()
	defer k.mu.Unlock()
	if lapsed && !h.ended {
		k.resume(ctx, h)
	}
	h.failing, h.warned = false, false
}

// resume puts a target in maintenance again if its Lease lapsed while the API server could
// not be reached, and nobody has ended maintenance.
func (k *keeper) resume(ctx context.Context, h *heldTarget) {
	f, err := k.get(ctx, h.ref())
	if err == nil && f.object.GetUID() == h.uid {
		h.found = f
		_, err = k.change(ctx, &h.found, nil, func(a annotated) (c changes) {
			c, h.ours = a.addLease(h.lease, k.details)
			return c
		})
	}
	if err != nil {
		k.tell("Warning: %s may no longer be in maintenance: %v", k.label(h.ref()), err)
		return
	}
	k.tell("The Lease of %s is renewed again, so it stays in maintenance", k.label(h.ref()))
}

// reportLapse tells people that maintenance no longer holds, and ends the command if that is
// wanted.
func (k *keeper) reportLapse(h *heldTarget, why error) {
	text := fmt.Errorf("%s is no longer kept in maintenance: %w", k.label(h.ref()), why)
	if k.o.kill {
		select {
		case k.lapsed <- text:
		default: // it is already being ended
		}
		return
	}
	k.mu.Lock()
	known := h.warned
	h.warned = true
	k.mu.Unlock()
	if !known {
		k.tell("Warning: %v", text)
	}
}
