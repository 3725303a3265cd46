package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/swap"
)

// ExcludeRefused gives a state to decide on again after the API server refused a restore
// with err: without the slots that err blames, which stay on the page. It is false if err
// blames no slot that would be restored, or none that was not excluded before.
func ExcludeRefused(s State, err error) (State, bool) {
	var answer apierrors.APIStatus
	if s.Wanted.On || !apierrors.IsInvalid(err) || !errors.As(err, &answer) || answer.Status().Details == nil {
		return s, false
	}
	refused := map[string]string{}
	for field, why := range s.RefusedFields {
		refused[field] = why
	}
	for _, slot := range s.Slots {
		for _, cause := range answer.Status().Details.Causes {
			if field := fieldOf(slot.Path); slot.OnPage() && refused[field] == "" && fieldsOverlap(field, cause.Field) {
				refused[field] = annotations.ClipTo(cause.Message, annotations.MaxMessage/2)
			}
		}
	}
	more := len(refused) > len(s.RefusedFields)
	s.RefusedFields = refused
	return s, more
}

// fieldOf names a path the way the API server's errors do: spec.rules[1].backendRefs.
func fieldOf(path ownership.Path) string {
	var s strings.Builder
	for _, step := range path {
		switch step := step.(type) {
		case string:
			s.WriteString("." + step)
		case int:
			fmt.Fprintf(&s, "[%d]", step)
		}
	}
	return strings.TrimPrefix(s.String(), ".")
}

// fieldsOverlap says whether two fields are the same, or one is inside the other.
func fieldsOverlap(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a)
	return ok && a != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// withoutRefused removes from a restore what the API server has refused, and reports that
// in the server's words.
func (d *draft) withoutRefused(writes []swap.Write) []swap.Write {
	if len(d.in.RefusedFields) == 0 {
		return writes
	}
	for _, slot := range d.in.Slots {
		if why := d.in.RefusedFields[fieldOf(slot.Path)]; why != "" {
			d.report(RestoreFailed, "the API server refuses the backend of %s, which stays on the page until that is fixed: %s", nameSlots([]swap.Slot{slot}), why)
		}
	}
	return slices.DeleteFunc(writes, func(w swap.Write) bool { return d.in.RefusedFields[fieldOf(w.Path)] != "" })
}
