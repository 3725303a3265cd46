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

// Answered adjusts the decision to what the API server stored of its Update, which is not
// always what was sent. Slots that came back on the app, or on a value that does not lead
// to the page, and backends that were added, were written by a webhook: this counts as a
// revert like any other. A slot that still leads to the page but came back with something
// added is remembered as what the webhook wants. A status that came back changed is
// remembered as not stored. An answer with the resourceVersion that was sent is
// refusal.ErrNoProgress.
func (d Decision) Answered(kind target.Kind, stored map[string]any) (Decision, error) {
	sent, answer := unstructured.Unstructured{Object: d.Update}, unstructured.Unstructured{Object: stored}
	undone, near := compareSlots(kind, d.Update, stored)
	d.Memory = d.Memory.withUnstored(sent, answer)
	if d.Memory.SwapUndone = undone; undone {
		d.Memory = d.Memory.stamped(sent.GetUID())
		d.Events = slices.DeleteFunc(slices.Clone(d.Events), func(e Event) bool { return !e.Reason.Warning() }) // none of it happened
		return d, nil
	}
	if insisted := digestOf(near); insisted != "" && insisted != d.Memory.KeptByWebhook {
		d.Memory.KeptByWebhook = insisted
		d.Memory = d.Memory.stamped(sent.GetUID())
		return d, nil
	}
	return d, refusal.Unstored(&sent, &answer)
}

// withUnstored remembers a status that was not stored as it was sent.
func (m Memory) withUnstored(sent, answer unstructured.Unstructured) Memory {
	want := annotations.StatusOf(sent.GetAnnotations()).Digest()
	m.UnstoredStatus, m.UnstoredAt = "", time.Time{}
	if annotations.StatusOf(answer.GetAnnotations()).Digest() != want {
		m.UnstoredStatus = want
	}
	return m.stamped(sent.GetUID())
}

// compareSlots compares slots that were sent on a page with what was stored of them. undone
// says that one of them does not lead to the page, or not to the page alone, or that there
// are more slots, which are the app's. near lists those that lead to the page with
// something added.
func compareSlots(kind target.Kind, sent, stored map[string]any) (undone bool, near []swap.Slot) {
	wanted, err := kind.Slots(sent)
	if err != nil {
		return false, nil // this object was read before it was written
	}
	got, err := kind.Slots(stored)
	if err != nil {
		return false, nil // the next reconcile reports it
	}
	undone = swap.OnPage(wanted) && slices.ContainsFunc(got, func(g swap.Slot) bool {
		return !g.OnPage() && !slices.ContainsFunc(wanted, func(w swap.Slot) bool { return w.ID == g.ID })
	})
	for _, w := range wanted {
		at := slices.IndexFunc(got, func(g swap.Slot) bool { return g.ID == w.ID })
		if !w.OnPage() || at < 0 {
			continue
		}
		switch got[at].ComparedTo(w) {
		case swap.Mismatch:
			undone = true
		case swap.Near:
			near = append(near, got[at])
		case swap.Exact:
		}
	}
	return undone, near
}
