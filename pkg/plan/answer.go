package plan

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/refusal"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// ErrNoProgress is an update that was accepted and changed nothing. To send it again
// at once would be answered the same.
var ErrNoProgress = refusal.New("the API server took the update and stored nothing of it: an admission webhook undoes what the controller writes, " +
	"see \"GitOps\" in the README (README.md#gitops) for how to find it")

// Answered gives the decision as it stands once the API server has answered its
// Update: what was sent is not always what is stored. Slots that came back on the app,
// or beside the page, have been put there by a webhook, which counts as a revert like
// anybody's, as do backends of the app that it has added; what came back as it leads to the
// page all the same is remembered to be what the webhook wants, and an annotation that
// came back otherwise, not to be stored. An answer with the version that was sent is ErrNoProgress.
func (d Decision) Answered(kind target.Kind, stored map[string]any) (Decision, error) {
	sent, answer := unstructured.Unstructured{Object: d.Update}, unstructured.Unstructured{Object: stored}
	undone, near := stays(kind, d.Update, stored)
	d.Memory = d.Memory.unsaid(sent, answer)
	if d.Memory.Undone = undone; undone {
		d.Memory = d.Memory.kept(sent.GetUID())
		d.Events = slices.DeleteFunc(slices.Clone(d.Events), func(e Event) bool { return !e.Reason.Warning() }) // it has not come about
		return d, nil
	}
	if insisted := digest(near); insisted != "" && insisted != d.Memory.Insisted {
		d.Memory.Insisted = insisted
		d.Memory = d.Memory.kept(sent.GetUID())
		return d, nil
	}
	if answer.GetResourceVersion() == sent.GetResourceVersion() {
		return d, ErrNoProgress
	}
	return d, nil
}

// unsaid remembers a status that is not stored as it was sent.
func (m Memory) unsaid(sent, answer unstructured.Unstructured) Memory {
	said := annotations.StatusOf(sent.GetAnnotations()).Digest()
	m.Unsaid, m.UnsaidAt = "", time.Time{}
	if annotations.StatusOf(answer.GetAnnotations()).Digest() != said {
		m.Unsaid = said
	}
	return m.kept(sent.GetUID())
}

// stays compares slots that were sent on a page with what was stored of them: undone
// if any does not lead there, or not alone, or if there are more, which are the app's;
// near are those that do with something else beside it.
func stays(kind target.Kind, sent, stored map[string]any) (undone bool, near []swap.Slot) {
	wanted, err := kind.Slots(sent)
	if err != nil {
		return false, nil // it was read before it was written
	}
	got, err := kind.Slots(stored)
	if err != nil {
		return false, nil // the next look tells
	}
	undone = swap.OnPage(wanted) && slices.ContainsFunc(got, func(g swap.Slot) bool {
		return !g.OnPage() && !slices.ContainsFunc(wanted, func(w swap.Slot) bool { return w.ID == g.ID })
	})
	for _, w := range wanted {
		at := slices.IndexFunc(got, func(g swap.Slot) bool { return g.ID == w.ID })
		if !w.OnPage() || at < 0 {
			continue
		}
		switch got[at].Became(w) {
		case swap.Beside:
			undone = true
		case swap.Near:
			near = append(near, got[at])
		case swap.Exact:
		}
	}
	return undone, near
}
