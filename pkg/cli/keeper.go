package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/view"
)

// keeper keeps targets in maintenance for a command: it adds a Lease to each, renews it,
// and takes it off.
type keeper struct {
	*session
	o      *runOptions
	ask    ask
	lapsed chan error // why maintenance does not hold, if that ends the command

	mu   sync.Mutex
	all  []*holding
	done sync.WaitGroup
}

func newKeeper(s *session, o *runOptions, all []found) *keeper {
	k := &keeper{session: s, o: o, lapsed: make(chan error, 1)}
	for _, f := range all {
		k.all = append(k.all, &holding{found: f, target: f.ref(), uid: f.object.GetUID()})
	}
	return k
}

// begin puts all in maintenance and waits until they are. What it leaves running until keep
// ends renews the Leases. After an error, what was begun is to be ended.
func (k *keeper) begin(ctx, keep context.Context, a ask) error {
	k.ask = a
	for _, h := range k.all {
		k.sweep(ctx, h.found)
		if err := k.take(ctx, h); err != nil {
			return err
		}
		if !h.held {
			k.tell("%s is in maintenance by a person already, and stays so when the command ends", k.label(h.ref()))
		}
	}
	for _, h := range k.all {
		if h.lease != "" {
			k.done.Go(func() { k.renewing(keep, h) })
		}
	}
	k.done.Go(func() { k.watching(keep) })
	err := k.await(ctx, k.found(), k.o.begins.timeout, func(row view.Row, on bool) (bool, error) {
		if !on {
			return false, errTakenOff
		}
		return k.shown(ctx, row)
	})
	if err != nil {
		return fmt.Errorf("%w\nThe command was not run", err)
	}
	return nil
}

// take adds a Lease to a target, unless a person has it in maintenance.
func (k *keeper) take(ctx context.Context, h *holding) error {
	w := k.written(h.found)
	if w.past() {
		return fmt.Errorf("%s: annotation %s is past, so that the app is served: take it off, or set a later one", k.label(h.ref()), annotations.Until)
	}
	if w.on() && len(w.request().Leases) == 0 {
		return nil
	}
	var err error
	if h.lease, err = k.newLease(ctx, h.found, holder(k.ask.by), k.o.lease); err != nil {
		return err
	}
	_, err = k.change(ctx, &h.found, nil, func(w written) (c changes) {
		c, h.held = w.hold(h.lease, k.ask)
		return c
	})
	if err != nil || h.held {
		return err // it may be written although its answer is lost: end takes it back
	}
	k.dropLeases(context.WithoutCancel(ctx), h.ref().Namespace, []string{h.lease})
	h.lease = ""
	return nil
}

func (k *keeper) found() (all []found) {
	for _, h := range k.all {
		all = append(all, h.found)
	}
	return all
}

// hasty is how soon a renewal that failed is tried again.
const hasty = 2 * time.Second

// renewing renews a Lease three times in its duration.
func (k *keeper) renewing(ctx context.Context, h *holding) {
	often := k.o.lease / 3
	k.heard(h, k.Now())
	for next := often; ; {
		select {
		case <-ctx.Done():
			return
		case <-after(next):
		}
		if k.isGone(h) {
			return
		}
		begun := k.Now()
		lapsed := k.overdue(h)
		try, cancel := context.WithTimeout(ctx, often)
		err := k.renew(try, h.ref().Namespace, h.lease)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if lapsed { // whoever must not run without maintenance has done so
				k.lapse(h, k.unrenewed())
			}
			k.renewed(ctx, h, lapsed)
			k.heard(h, begun)
			next = often
			continue
		case apierrors.IsNotFound(err):
			k.lost(h, errors.New("somebody has deleted its Lease, as 'kubectl maintenance off' does"))
			return
		}
		if k.fails(h) {
			k.tell("Warning: the Lease of %s could not be renewed, trying again: %v", k.label(h.ref()), err)
		}
		next = min(hasty, often)
		if k.overdue(h) {
			k.lapse(h, k.unrenewed())
		}
	}
}

// heard notes when a Lease was renewed.
func (k *keeper) heard(h *holding, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h.last = at
}

// overdue says whether a Lease has not been renewed for as long as it holds.
func (k *keeper) overdue(h *holding) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return h.overdue(k.Now(), k.o.lease)
}

func (h *holding) overdue(now time.Time, lease time.Duration) bool {
	return !h.last.IsZero() && passed(h.last, now) > lease
}

// passed is the time between two looks at the clock. The one that counts seconds stands
// still while a machine sleeps, and the one on the wall may be set back.
func passed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

func (k *keeper) unrenewed() error {
	return fmt.Errorf("the Lease could not be renewed for %s, so that maintenance may have ended", k.o.lease)
}

// fails notes that a Lease cannot be renewed; first says that it could before.
func (k *keeper) fails(h *holding) (first bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	first, h.failing = !h.failing, true
	return first
}

// isGone says whether somebody has ended it: the Lease is left to lapse.
func (k *keeper) isGone(h *holding) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return h.gone
}

// renewed notes that it can; after a lapse the target may have to be put in maintenance again.
func (k *keeper) renewed(ctx context.Context, h *holding, lapsed bool) { //nolint:revive // flag-parameter: what has been
	k.mu.Lock()
	defer k.mu.Unlock()
	if lapsed && !h.gone {
		k.recover(ctx, h)
	}
	h.failing, h.warned = false, false
}

// recover puts a target in maintenance again whose Lease lapsed while nobody could be
// reached, and nobody has ended it.
func (k *keeper) recover(ctx context.Context, h *holding) {
	again, err := k.get(ctx, h.ref())
	if err == nil && again.object.GetUID() == h.uid {
		h.found = again
		_, err = k.change(ctx, &h.found, nil, func(w written) (c changes) {
			c, h.held = w.hold(h.lease, k.ask)
			return c
		})
	}
	if err != nil {
		k.tell("Warning: %s may not be in maintenance any more: %v", k.label(h.ref()), err)
		return
	}
	k.tell("The Lease of %s is renewed again, and it is kept in maintenance", k.label(h.ref()))
}

// watching looks whether people take over or end what the command keeps up.
func (k *keeper) watching(ctx context.Context) {
	sightings := k.follow(ctx, scopesOf(k.found()))
	for {
		select {
		case <-ctx.Done():
			return
		case g := <-sightings:
			if g.scope == nil {
				k.see(ctx, g)
			}
		}
	}
}

func (k *keeper) see(ctx context.Context, g sighting) {
	for _, h := range k.all {
		if h.ref() != g.ref || g.meta != nil && h.holds(k, g.meta.UID, g.meta.Annotations) == stands {
			continue
		}
		switch k.standing(ctx, h) {
		case deleted:
			k.lost(h, errors.New("it was deleted"))
		case ended:
			k.lost(h, errors.New("somebody has ended it"))
		case takenOver:
			k.tell("%s was put in maintenance by a person, and stays so when the command ends", k.label(h.ref()))
		case stands:
		}
	}
}

// standing reads the target itself: a watch may be behind. While the Lease cannot be
// renewed, or has not been for too long, that is what counts.
func (k *keeper) standing(ctx context.Context, h *holding) standing {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.failing || h.gone || h.overdue(k.Now(), k.o.lease) {
		return stands
	}
	f, err := k.get(ctx, h.ref())
	switch {
	case errors.As(err, &absent{}):
		return deleted
	case err != nil:
		return stands // as far as anybody knows
	}
	now := h.holds(k, f.object.GetUID(), f.object.GetAnnotations())
	if now != takenOver {
		return now
	}
	if !h.held {
		return stands // people know
	}
	h.held = false
	return takenOver
}

// standing is what has become of what a command keeps up.
type standing int

const (
	stands standing = iota
	deleted
	ended
	takenOver
)

func (h *holding) holds(k *keeper, uid types.UID, all map[string]string) standing {
	if uid != h.uid {
		return deleted
	}
	request, _ := k.keys.Parse(all)
	switch {
	case request.Enabled != annotations.On:
		return ended
	case h.lease != "" && !slices.Contains(request.Leases, h.lease):
		return takenOver
	}
	return stands
}

// lost is what is not the command's to end any more, since somebody has.
func (k *keeper) lost(h *holding, why error) {
	k.mu.Lock()
	known := h.gone
	h.gone = true
	k.mu.Unlock()
	if !known {
		k.lapse(h, why)
	}
}

// lapse tells that maintenance does not hold, and ends the command if that is wanted.
func (k *keeper) lapse(h *holding, why error) {
	text := fmt.Errorf("%s is not kept in maintenance any more: %w", k.label(h.ref()), why)
	if k.o.kill {
		select {
		case k.lapsed <- text:
		default: // it is being ended
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

// end takes the Leases off, and waits until all is restored that nobody else keeps up. The
// first signal ends the waiting, and not the rest.
func (k *keeper) end(ctx context.Context) error {
	k.done.Wait()
	ctx = context.WithoutCancel(ctx)
	var rest []changed
	var failed error
	for _, h := range k.all {
		if h.lease == "" {
			continue
		}
		last, err := k.release(ctx, h)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%w\nIts Lease ends maintenance of %s in %s", err, k.label(h.ref()), k.o.lease))
			continue
		}
		if last {
			rest = append(rest, changed{found: h.found, what: endRequested})
		}
	}
	if len(rest) == 0 {
		return failed
	}
	wait, stop := k.interrupted(ctx)
	defer stop()
	done, err := k.awaitRestored(wait, rest, ends{settle: k.o.settle, timeout: k.o.begins.timeout})
	for _, c := range done {
		k.tell("%s restored", k.label(c.ref()))
	}
	return errors.Join(failed, err)
}

// release takes a Lease off its target; last says that this ends maintenance. While the API
// server cannot be reached it is tried again, for as long as the Lease may hold.
func (k *keeper) release(ctx context.Context, h *holding) (last bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.o.lease)
	defer cancel()
	for {
		last, err = k.releaseOnce(ctx, h)
		if err == nil || apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
			break
		}
		select {
		case <-ctx.Done():
			return false, err
		case <-after(hasty):
		}
	}
	if err == nil {
		k.dropLeases(ctx, h.ref().Namespace, []string{h.lease})
	}
	return last, err
}

func (k *keeper) releaseOnce(ctx context.Context, h *holding) (last bool, err error) {
	again, err := k.get(ctx, h.ref())
	switch {
	case errors.As(err, &absent{}):
		return false, nil // and with it the Lease
	case err != nil:
		return false, err
	case again.object.GetUID() != h.uid:
		return false, nil
	}
	h.found = again
	_, err = k.change(ctx, &h.found, nil, func(w written) changes {
		c := w.release(h.lease)
		_, last = c[k.keys.Enabled]
		return c
	})
	return last && err == nil, err
}
