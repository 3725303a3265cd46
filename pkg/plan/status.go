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

// Meaning is what a state tells people, as the README has it.
type Meaning struct{ State, Visitors, Meaning string }

// States is the whole list, in the order of a maintenance; the README's table is made of it.
func States() []Meaning {
	return []Meaning{
		{"", "the app", "all is as it was"},
		{annotations.Pending, "the app", "the page Pods are starting; nobody needs to do anything"},
		{annotations.Blocked, "the app¹", "the page cannot be shown, a backend not be restored, or a copy of the originals not be read, until somebody acts; `maintenance/message` says what"},
		{annotations.Switching, "the app or the page", "swapped; for `--settle-time` the ingress controller may be following"},
		{annotations.Active, "the page", "it has had the time to follow"},
		{annotations.Restoring, "the page", "maintenance is over, and visitors keep the page until the app is ready; `maintenance/message` says what is waited for, see [Automatic maintenance](docs/auto.md)"},
		{annotations.Contested, "one or the other", "a tool keeps writing the backends back, see [GitOps](#gitops)"},
	}
}

// said gives the status with a state and why it is so, as it is stored: what others
// say may have several lines. Nothing else sets either.
func said(s annotations.Status, state, why string) annotations.Status {
	s.State, s.Message = state, annotations.Line(why, annotations.MaxMessage)
	return s
}

// fit cuts the message to what room there is: a state, and even more so a swap, must
// not fail for the sake of its explanation.
func fit(s annotations.Status, all map[string]string) annotations.Status {
	const least = 16 // bytes that say anything
	over := annotations.Size(s.Write(all)) - annotations.MaxTotalSize
	if over <= 0 {
		return s
	}
	if s.Access != "" {
		s.Access = ""
		return fit(s, all)
	}
	if room := len(s.Message) - over; room >= least {
		s.Message = annotations.ClipTo(s.Message, room)
	} else {
		s.Message = ""
	}
	return s
}

// bare is the status of a target that is not in maintenance: nothing, but that a maintenance
// was given up which began by itself.
func (d *draft) bare() annotations.Status { return annotations.Status{Cause: d.status.Cause} }

// annotate plans to write the status.
func (d *draft) annotate(status annotations.Status) {
	all := d.object.GetAnnotations()
	want := d.handedOver(fit(status, all).Write(all))
	if !maps.Equal(want, all) && !d.unsaid(want) && annotations.Size(want) <= annotations.MaxTotalSize { // the API server would refuse it
		d.update(nil, status)
	}
}

// unsaid says whether a webhook changes just these annotations whenever they are written:
// they are written once a minute, for it may have gone.
func (d *draft) unsaid(want map[string]string) bool {
	m := &d.out.Memory
	if m.Unsaid == "" || m.Unsaid != annotations.StatusOf(want).Digest() {
		return false
	}
	d.tell(InvalidAnnotation, "annotations %s* are not stored as they are written: an admission webhook changes them; exempt them from it", annotations.Prefix)
	if m.UnsaidAt.IsZero() {
		m.UnsaidAt = d.in.Now
	}
	left := m.UnsaidAt.Add(quiet).Sub(d.in.Now)
	if left > 0 {
		d.again(left)
	}
	return left > 0
}

// update plans one request that writes the slots and the status together; none if
// what would be stored is there already. Nothing else compares, so that nothing is
// compared in another form than it is stored in: that would be written for ever.
func (d *draft) update(writes []swap.Write, status annotations.Status) {
	object, err := swap.Apply(d.in.Object, writes)
	if err != nil {
		// The paths were read off this very object.
		d.tell(RestoreFailed, "%v", err)
		return
	}
	u := unstructured.Unstructured{Object: object}
	all := u.GetAnnotations()
	setAnnotations(&u, d.handedOver(fit(status, all).Write(all)))
	if equality.Semantic.DeepEqual(object, d.in.Object) {
		return
	}
	if marked := d.marked(status, all); annotations.Size(marked) <= annotations.MaxTotalSize {
		setAnnotations(&u, marked)
	}
	d.out.Update = object
}

// marked are the annotations with the installation's id among them. Nothing is written
// for its sake alone: a target from before there were ids is only marked with what is
// written anyway.
func (d *draft) marked(status annotations.Status, all map[string]string) map[string]string {
	if status != (annotations.Status{}) && d.in.Installation != "" {
		status.Installation = d.in.Installation
	}
	return d.handedOver(fit(status, all).Write(all))
}

// setAnnotations leaves no empty map behind where there was none.
func setAnnotations(u *unstructured.Unstructured, all map[string]string) {
	if len(all) == 0 {
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations")
		return
	}
	u.SetAnnotations(all)
}

// Block gives a copy of a target that says why maintenance cannot begin; nil if
// it says so already, or if anything of maintenance is left on it: that stays.
func Block(object map[string]any, why, installation string) map[string]any {
	d := newDraft(State{Object: object, Installation: installation})
	if d.status.PageSet != "" || d.status.Original != "" {
		return nil
	}
	d.annotate(said(d.status, annotations.Blocked, why))
	return d.out.Update
}

// budget is how many bytes the record of originals may have beside everything
// else that is annotated. Maintenance begins only if there is room for a message too;
// once it has begun, messages give way.
func (d *draft) budget() int {
	others := maps.Clone(d.object.GetAnnotations())
	delete(others, annotations.Original)
	delete(others, annotations.Message)
	id := cmp.Or(d.in.Installation, d.status.Installation)
	longest := said(annotations.Status{Since: time.RFC3339, PageSet: d.page.Set, Installation: id, Cause: d.status.Cause}, annotations.Contested, "")
	if d.status.PageSet == "" {
		longest.Message = strings.Repeat("m", annotations.MaxMessage)
	}
	return annotations.MaxTotalSize - annotations.Size(longest.Write(others)) - len(annotations.Original)
}
