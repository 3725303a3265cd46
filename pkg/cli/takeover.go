package cli

import (
	"context"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
)

// holdState is what has become of the maintenance that a command keeps up.
type holdState int

const (
	stillHeld holdState = iota
	deleted             // the target
	ended               // by somebody
	takenOver           // by a person, so that it stays
)

// watchTargets watches whether people take over or end what the command keeps up.
func (k *keeper) watchTargets(ctx context.Context) {
	updates := k.follow(ctx, scopesOf(k.found()))
	for {
		select {
		case <-ctx.Done():
			return
		case u := <-updates:
			if u.scope == nil {
				k.observe(ctx, u)
			}
		}
	}
}

func (k *keeper) observe(ctx context.Context, u update) {
	for _, h := range k.all {
		if h.ref() != u.ref || u.meta != nil && h.stateBy(k, u.meta.UID, u.meta.Annotations) == stillHeld {
			continue
		}
		switch k.stateOf(ctx, h) {
		case deleted:
			k.markEnded(h, errors.New("it was deleted"))
		case ended:
			k.markEnded(h, errors.New("somebody ended it"))
		case takenOver:
			k.tell("%s was put in maintenance by a person, and stays so when the command ends", k.label(h.ref()))
		case stillHeld:
		}
	}
}

// stateOf reads the target itself, since a watch may lag behind. While the Lease cannot be
// renewed, or has not been for too long, the target counts as held: keepRenewing handles that.
func (k *keeper) stateOf(ctx context.Context, h *heldTarget) holdState {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.failing || h.ended || h.overdue(k.Now(), k.o.lease) {
		return stillHeld
	}
	f, err := k.get(ctx, h.ref())
	switch {
	case errors.As(err, &absent{}):
		return deleted
	case err != nil:
		return stillHeld // as far as is known
	}
	now := h.stateBy(k, f.object.GetUID(), f.object.GetAnnotations())
	if now != takenOver {
		return now
	}
	if !h.ours {
		return stillHeld // people have been told
	}
	h.ours = false
	return takenOver
}

// stateBy is the state by the target's UID and annotations.
func (h *heldTarget) stateBy(k *keeper, uid types.UID, all map[string]string) holdState {
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
	return stillHeld
}

// markEnded records that somebody else has ended maintenance of a target.
func (k *keeper) markEnded(h *heldTarget, why error) {
	k.mu.Lock()
	known := h.ended
	h.ended = true
	k.mu.Unlock()
	if !known {
		k.reportLapse(h, why)
	}
}
