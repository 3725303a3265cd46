package plan

import (
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// ErrNoProgress is an update that was accepted and changed nothing. To send it again
// at once would be answered the same.
var ErrNoProgress = errors.New("the API server took the update and stored nothing of it: an admission webhook undoes what the controller writes, " +
	"see \"GitOps\" in the README (README.md#gitops) for how to find it")

// Answered gives the decision as it stands once the API server has answered its
// Update: what was sent is not always what is stored. Slots that came back on the app
// have been put back by a webhook, which counts as a revert like anybody's. An answer
// with the version that was sent is ErrNoProgress.
func (d Decision) Answered(kind target.Kind, stored map[string]any) (Decision, error) {
	sent, answer := unstructured.Unstructured{Object: d.Update}, unstructured.Unstructured{Object: stored}
	if d.Memory.Undone = undone(kind, d.Update, stored); d.Memory.Undone {
		d.Memory = d.Memory.kept(sent.GetUID())
		d.Events = slices.DeleteFunc(slices.Clone(d.Events), func(e Event) bool { return !e.Reason.Warning() }) // it has not come about
		return d, nil
	}
	if answer.GetResourceVersion() == sent.GetResourceVersion() {
		return d, ErrNoProgress
	}
	return d, nil
}

// undone says whether a slot that was sent on a page was stored on the app.
func undone(kind target.Kind, sent, stored map[string]any) bool {
	wanted, err := kind.Slots(sent)
	if err != nil {
		return false // it was read before it was written
	}
	got, err := kind.Slots(stored)
	if err != nil {
		return false // the next look tells
	}
	return slices.ContainsFunc(wanted, func(w swap.Slot) bool {
		return w.OnPage() && slices.ContainsFunc(got, func(g swap.Slot) bool { return g.ID == w.ID && !g.OnPage() })
	})
}
