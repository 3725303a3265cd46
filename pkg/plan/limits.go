package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/wanted"
)

// reportWanted schedules a reconcile for when the wanted state changes by itself, and
// reports what people should look at.
func (d *draft) reportWanted() {
	w := d.in.Wanted
	if !w.Next.IsZero() {
		d.recheckAfter(w.Next.Sub(d.in.Now))
	}
	for _, p := range w.Problems {
		message := p.Message
		if over := p.Kind == wanted.UntilPassed || p.Kind == wanted.LeaseNotHeld; over && !w.On && w.Ended == "" {
			message += d.appliedHint()
		}
		d.report(reasonOf(p.Kind), "%s", message)
	}
}

func reasonOf(sort wanted.ProblemKind) Reason {
	switch sort {
	case wanted.UntilPassed:
		return UntilPassed
	case wanted.LeaseNotHeld:
		return LeaseNotHeld
	case wanted.ReadinessUnknown:
		return ReadinessUnknown
	case wanted.GivenUp:
		return RestoreTimedOut
	}
	return InvalidAnnotation
}

// appliedHint says where to remove a request that has expired and is not removed by the
// controller because it would come back. Empty if it can be removed.
func (d *draft) appliedHint() string {
	if by := d.applier(); by != "" {
		return fmt.Sprintf("; annotation %s comes from %s, which would write it again: remove it there", d.in.Keys.Enabled, by)
	}
	return ""
}

// applier names who applies the annotation that asks for maintenance from somewhere else: a
// server-side applier, or, for a client-side apply, the applied manifest. Empty if nobody
// does.
func (d *draft) applier() string {
	if by := ownership.Applier(d.managers(), ownership.Path{"metadata", "annotations", d.in.Keys.Enabled}); by != "" {
		name := fmt.Sprintf("field manager %q", annotations.Clip(by))
		if tool := ToolOf(by).Name; tool != "" {
			name += " (" + tool + ")"
		}
		return name
	}
	var last metav1.PartialObjectMetadata
	if json.Unmarshal([]byte(d.object.GetAnnotations()[corev1.LastAppliedConfigAnnotation]), &last) == nil {
		if _, ok := last.Annotations[d.in.Keys.Enabled]; ok {
			return "the applied manifest (annotation " + corev1.LastAppliedConfigAnnotation + ")"
		}
	}
	return ""
}

// removeEndedRequest removes a request whose maintenance has expired, so that the next
// request changes something. A request that would be applied again stays: its end has
// passed, so it asks for nothing.
func (d *draft) removeEndedRequest(all map[string]string) map[string]string {
	if d.in.Wanted.Ended == "" || d.applier() != "" {
		return all
	}
	return d.in.Keys.RemoveEnded(all)
}

// terms says until when, why and at whose request, as far as people gave this.
func (d *draft) terms() string {
	var text strings.Builder
	if r := d.in.Request; d.in.Wanted.By == wanted.Person {
		if !r.Until.IsZero() {
			fmt.Fprintf(&text, " until %s", r.Until.Format(time.RFC3339))
		}
		if len(r.Leases) > 0 {
			fmt.Fprintf(&text, " for as long as a Lease is renewed (%s)", annotations.Clip(strings.Join(r.Leases, ", ")))
		}
	}
	return text.String() + d.reasonAndBy()
}

// endedBecause says what ended maintenance, if no person did.
func (d *draft) endedBecause() string {
	if d.in.Wanted.Ended == "" {
		return ""
	}
	return ": " + d.in.Wanted.Ended
}

// reasonAndBy gives the reason and the requester in people's own words.
func (d *draft) reasonAndBy() string {
	text := ""
	if r := d.in.Request.Reason; r != "" {
		text += fmt.Sprintf("; reason: %s", r)
	}
	if by := d.in.Request.By; by != "" {
		text += fmt.Sprintf("; by: %s", by)
	}
	return text
}
