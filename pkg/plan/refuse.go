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

// Refuse gives the state of a target of which the API server refuses a restore, to be
// decided on anew: without the slots that it refuses, which stay on the page. False if
// its answer blames none that is to be restored, or nothing new.
func Refuse(s State, err error) (State, bool) {
	var answer apierrors.APIStatus
	if s.Wanted.On || !apierrors.IsInvalid(err) || !errors.As(err, &answer) || answer.Status().Details == nil {
		return s, false
	}
	refused := map[string]string{}
	for field, why := range s.Refused {
		refused[field] = why
	}
	for _, slot := range s.Slots {
		for _, cause := range answer.Status().Details.Causes {
			if field := fieldOf(slot.Path); slot.OnPage() && refused[field] == "" && sameField(field, cause.Field) {
				refused[field] = annotations.ClipTo(cause.Message, annotations.MaxMessage/2)
			}
		}
	}
	more := len(refused) > len(s.Refused)
	s.Refused = refused
	return s, more
}

// fieldOf names a place as the API server's answers do: spec.rules[1].backendRefs.
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

// sameField says whether one of two fields is the other, or in it.
func sameField(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a)
	return ok && a != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// withoutRefused takes out of a restore what the API server has refused, and tells it in
// its words.
func (d *draft) withoutRefused(writes []swap.Write) []swap.Write {
	if len(d.in.Refused) == 0 {
		return writes
	}
	for _, slot := range d.in.Slots {
		if why := d.in.Refused[fieldOf(slot.Path)]; why != "" {
			d.tell(RestoreFailed, "the API server refuses the backend of %s, which stays on the page until that is mended: %s", nameSlots([]swap.Slot{slot}), why)
		}
	}
	return slices.DeleteFunc(writes, func(w swap.Write) bool { return d.in.Refused[fieldOf(w.Path)] != "" })
}
