package plan

import (
	"cmp"
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
)

// StateMeaning explains a state to people: the state ("" is an absent annotation), what
// visitors get, and what it means.
type StateMeaning struct {
	State    string // value of maintenance/state; empty where that is absent
	Visitors string // what they get
	Meaning  string // Markdown, with links from the folder docs
}

// States lists all states in the order of a maintenance; the table in docs/reference.md is generated
// from it.
func States() []StateMeaning {
	return []StateMeaning{
		{"", "the app", "not in maintenance"},
		{annotations.Pending, "the app", "the page Pods are starting; no action is needed"},
		{annotations.Blocked, "the app¹", "the page cannot be shown, a backend cannot be restored, or a copy of the originals cannot be read until somebody acts; `maintenance/message` says what to do"},
		{annotations.Switching, "the app or the page", "the backends are swapped; the ingress controller gets `--settle-time` to follow"},
		{annotations.Active, "the page", "the ingress controller has had time to follow"},
		{annotations.Restoring, "the page", "maintenance is over, but visitors keep the page until the app is ready; `maintenance/message` says what it waits for, see [Automatic maintenance](auto.md)"},
		{annotations.Contested, "one or the other", "a tool keeps writing the backends back, see [GitOps](gitops.md)"},
	}
}

// withState sets the state and the reason for it, in the form in which they are stored:
// foreign messages may have several lines. Nothing else sets either.
func withState(s annotations.Status, state, why string) annotations.Status {
	s.State, s.Message = state, annotations.Line(why, annotations.MaxMessage)
	return s
}

// fitMessage shortens the message to the available room: a state, and even more a swap,
// must not fail because of its explanation.
func fitMessage(s annotations.Status, all map[string]string) annotations.Status {
	const least = 16 // bytes of a message that still says anything
	over := annotations.Size(s.Write(all)) - annotations.MaxTotalSize
	if over <= 0 {
		return s
	}
	if s.Access != "" {
		s.Access = ""
		return fitMessage(s, all)
	}
	if room := len(s.Message) - over; room >= least {
		s.Message = annotations.ClipTo(s.Message, room)
	} else {
		s.Message = ""
	}
	return s
}

// clearedStatus is the status of a target outside maintenance: empty, except that it keeps
// an automatic maintenance that was given up.
func (d *draft) clearedStatus() annotations.Status { return annotations.Status{Cause: d.status.Cause} }

// annotate plans to write the status.
func (d *draft) annotate(status annotations.Status) {
	all := d.object.GetAnnotations()
	want := d.handOver(fitMessage(status, all).Write(all))
	if !maps.Equal(want, all) && !d.unstored(want) && annotations.Size(want) <= annotations.MaxTotalSize { // or the API server would refuse it
		d.update(nil, status)
	}
}

// rewriteInterval is how often a status is written that a webhook does not let be stored.
const rewriteInterval = time.Minute

// unstored says whether a webhook changes just these annotations whenever they are written.
// They are written once per rewriteInterval then, since the webhook may be removed.
func (d *draft) unstored(want map[string]string) bool {
	m := &d.out.Memory
	if m.UnstoredStatus == "" || m.UnstoredStatus != annotations.StatusOf(want).Digest() {
		return false
	}
	d.report(InvalidAnnotation, "annotations %s* are not stored as written, because an admission webhook changes them: exempt them from it", annotations.Prefix)
	if m.UnstoredAt.IsZero() {
		m.UnstoredAt = d.in.Now
	}
	left := m.UnstoredAt.Add(rewriteInterval).Sub(d.in.Now)
	if left > 0 {
		d.recheckAfter(left)
	}
	return left > 0
}

// update plans one request that writes the slots and the status together, and none if the
// object has all of it already. Nothing else compares, and always in the form in which
// things are stored: anything else would be written for ever.
func (d *draft) update(writes []swap.Write, status annotations.Status) {
	object, err := swap.Apply(d.in.Object, writes)
	if err != nil {
		// The paths were read from this very object.
		d.report(RestoreFailed, "%v", err)
		return
	}
	u := unstructured.Unstructured{Object: object}
	all := u.GetAnnotations()
	setAnnotations(&u, d.handOver(fitMessage(status, all).Write(all)))
	if equality.Semantic.DeepEqual(object, d.in.Object) {
		return
	}
	if marked := d.withInstallation(status, all); annotations.Size(marked) <= annotations.MaxTotalSize {
		setAnnotations(&u, marked)
	}
	d.out.Update = object
}

// withInstallation gives the annotations with the installation's id. The id alone is no
// reason to write: a target from before ids existed is marked together with the next
// change.
func (d *draft) withInstallation(status annotations.Status, all map[string]string) map[string]string {
	if status != (annotations.Status{}) && d.in.Installation != "" {
		status.Installation = d.in.Installation
	}
	return d.handOver(fitMessage(status, all).Write(all))
}

// setAnnotations sets the annotations, and leaves no empty map where there was none.
func setAnnotations(u *unstructured.Unstructured, all map[string]string) {
	if len(all) == 0 {
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations")
		return
	}
	u.SetAnnotations(all)
}

// Block gives a copy of a target whose state says that maintenance cannot begin, and why.
// It is nil if the target says so already, or if anything of maintenance is left on it:
// that stays.
func Block(object map[string]any, why, installation string) map[string]any {
	d := newDraft(State{Object: object, Installation: installation})
	if d.status.PageSet != "" || d.status.Original != "" {
		return nil
	}
	d.annotate(withState(d.status, annotations.Blocked, why))
	return d.out.Update
}

// budget is how many bytes the record of originals may take next to all other annotations.
// Maintenance begins only if there is room for a message too; once it has begun, messages
// are shortened instead.
func (d *draft) budget() int {
	others := maps.Clone(d.object.GetAnnotations())
	delete(others, annotations.Original)
	delete(others, annotations.Message)
	id := cmp.Or(d.in.Installation, d.status.Installation)
	longest := withState(annotations.Status{Since: time.RFC3339, PageSet: d.page.Set, Installation: id, Cause: d.status.Cause}, annotations.Contested, "")
	if d.status.PageSet == "" {
		longest.Message = strings.Repeat("m", annotations.MaxMessage)
	}
	return annotations.MaxTotalSize - annotations.Size(longest.Write(others)) - len(annotations.Original)
}
