package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// keeper keeps targets in maintenance for a command: it adds a Lease to each, renews it, and
// removes it.
type keeper struct {
	*session
	o       *runOptions
	details details
	lapsed  chan error // why maintenance no longer holds, if that ends the command

	mu         sync.Mutex
	all        []*heldTarget
	background sync.WaitGroup // what renews Leases and watches targets
}

// heldTarget is a target that a command keeps in maintenance.
type heldTarget struct {
	target target.Ref
	uid    types.UID
	lease  string // its name; empty if a person has the target in maintenance
	found         // as it was read last

	// ours says that maintenance ends with the command. It is false if a person has the
	// target in maintenance.
	ours bool
	// renewed is when the Lease was renewed last, by this machine's clock.
	renewed time.Time
	// failing says that the Lease cannot be renewed now, ended that somebody has ended
	// maintenance, and warned that people were told of a lapse.
	failing, ended, warned bool
}

func (h *heldTarget) ref() target.Ref { return h.target }

func newKeeper(s *session, o *runOptions, all []found) *keeper {
	k := &keeper{session: s, o: o, lapsed: make(chan error, 1)}
	for _, f := range all {
		k.all = append(k.all, &heldTarget{found: f, target: f.ref(), uid: f.object.GetUID()})
	}
	return k
}

// start puts all targets in maintenance and waits until visitors get the page. The Leases are
// renewed in the background until keep ends. After an error, end must be called as well.
func (k *keeper) start(ctx, keep context.Context, d details) error {
	k.details = d
	for _, h := range k.all {
		k.deleteExpiredLeases(ctx, h.found)
		if err := k.hold(ctx, h); err != nil {
			return err
		}
		if !h.ours {
			k.tell("%s was already put in maintenance by a person, and stays so when the command ends", k.label(h.ref()))
		}
	}
	for _, h := range k.all {
		if h.lease != "" {
			k.background.Go(func() { k.keepRenewing(keep, h) })
		}
	}
	k.background.Go(func() { k.watchTargets(keep) })
	err := k.await(ctx, k.found(), k.o.timeout, func(row view.Row, on bool) (bool, error) {
		if !on {
			return false, errWithdrawn
		}
		return k.showsPage(ctx, row)
	})
	if err != nil {
		return fmt.Errorf("%w\nThe command was not run", err)
	}
	return nil
}

// hold adds a Lease to a target, unless a person has it in maintenance.
func (k *keeper) hold(ctx context.Context, h *heldTarget) error {
	a := k.annotated(h.found)
	if a.expired() {
		return fmt.Errorf("%s: annotation %s has passed, so visitors get the app: remove it or set a later time", k.label(h.ref()), annotations.Until)
	}
	if a.on() && len(a.request().Leases) == 0 {
		return nil
	}
	var err error
	if h.lease, err = k.createLease(ctx, h.found, holder(k.details.by), k.o.lease); err != nil {
		return err
	}
	_, err = k.change(ctx, &h.found, nil, func(a annotated) (c changes) {
		c, h.ours = a.addLease(h.lease, k.details)
		return c
	})
	if err != nil || h.ours {
		return err // the change may have been made although its answer is lost: end reverts it
	}
	k.deleteLeases(context.WithoutCancel(ctx), h.ref().Namespace, []string{h.lease})
	h.lease = ""
	return nil
}

func (k *keeper) found() (all []found) {
	for _, h := range k.all {
		all = append(all, h.found)
	}
	return all
}

// end removes the Leases, and waits until the targets are restored that nobody else keeps in
// maintenance. The first signal ends the waiting, but not the restore.
func (k *keeper) end(ctx context.Context) error {
	k.background.Wait()
	ctx = context.WithoutCancel(ctx)
	var ending []result
	var failed error
	for _, h := range k.all {
		if h.lease == "" {
			continue
		}
		last, err := k.release(ctx, h)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%w\nMaintenance of %s ends within %s, when its Lease expires", err, k.label(h.ref()), k.o.lease))
			continue
		}
		if last {
			ending = append(ending, result{found: h.found, outcome: outcomeEnding})
		}
	}
	if len(ending) == 0 {
		return failed
	}
	wait, stop := k.untilSignal(ctx)
	defer stop()
	done, err := k.awaitRestored(wait, ending, k.o.timeout, k.o.settle)
	for _, r := range done {
		k.tell("%s restored", k.label(r.ref()))
	}
	return errors.Join(failed, err)
}

// release removes the Lease from its target, and deletes it. last says that this ends
// maintenance. If the API server cannot be reached it retries for as long as the Lease may
// still hold.
func (k *keeper) release(ctx context.Context, h *heldTarget) (last bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.o.lease)
	defer cancel()
	for {
		again, failed := k.tryRelease(ctx, h)
		if failed != nil && err != nil && ctx.Err() != nil {
			return false, err // this attempt was interrupted: err says why earlier ones failed
		}
		last, err = again, failed
		if err == nil || apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
			break
		}
		select {
		case <-ctx.Done():
			return false, err
		case <-after(retryInterval):
		}
	}
	if err == nil {
		k.deleteLeases(ctx, h.ref().Namespace, []string{h.lease})
	}
	return last, err
}

func (k *keeper) tryRelease(ctx context.Context, h *heldTarget) (last bool, err error) {
	f, err := k.get(ctx, h.ref())
	switch {
	case errors.As(err, &absent{}):
		return false, nil // its Lease is deleted with it
	case err != nil:
		return false, err
	case f.object.GetUID() != h.uid:
		return false, nil
	}
	h.found = f
	_, err = k.change(ctx, &h.found, nil, func(a annotated) changes {
		c := a.removeLease(h.lease)
		_, last = c[k.keys.Enabled]
		return c
	})
	return last && err == nil, err
}
