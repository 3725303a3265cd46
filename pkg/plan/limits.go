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

// tellWanted looks again when what is wanted changes by itself, and tells what people
// should look at of it.
func (d *draft) tellWanted() {
	w := d.in.Wanted
	if !w.Next.IsZero() {
		d.again(w.Next.Sub(d.in.Now))
	}
	for _, p := range w.Problems {
		message := p.Message
		if over := p.Sort == wanted.Expired || p.Sort == wanted.NotAlive; over && !w.On && w.Ended == "" {
			message += d.stays()
		}
		d.tell(reasonOf(p.Sort), "%s", message)
	}
}

func reasonOf(sort wanted.Sort) Reason {
	switch sort {
	case wanted.Expired:
		return EndPassed
	case wanted.NotAlive:
		return LeaseNotHeld
	case wanted.NotJudged:
		return BackendNotJudged
	case wanted.GivenUp:
		return RestoreTimedOut
	}
	return InvalidAnnotation
}

// stays says where to take a request out that is over and that is not taken off, since
// it would come back.
func (d *draft) stays() string {
	if by := d.applied(); by != "" {
		return fmt.Sprintf("; annotation %s is kept by %s, which would write it again: take it out there", d.in.Keys.Enabled, by)
	}
	return ""
}

// applied names who keeps the annotation that asks for maintenance as it is written down
// elsewhere, empty if nobody does: who has applied it by the server, or, of an apply by
// the client, kubectl and those who work as it does.
func (d *draft) applied() string {
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
			return "whoever applies the object (annotation " + corev1.LastAppliedConfigAnnotation + ")"
		}
	}
	return ""
}

// finish takes off what asked for maintenance that has ended by itself, or the next
// request would change nothing. What would come back stays: it is past, and asks for
// nothing any more.
func (d *draft) finish(all map[string]string) map[string]string {
	if d.in.Wanted.Ended == "" || d.applied() != "" {
		return all
	}
	return d.in.Keys.Finish(all)
}

// terms says until when, why and at whose request, as far as people say it.
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
	return text.String() + d.said()
}

// ended says what has ended maintenance, if no person has.
func (d *draft) ended() string {
	if d.in.Wanted.Ended == "" {
		return ""
	}
	return ": " + d.in.Wanted.Ended
}

// said gives the reason and who asks, in people's own words.
func (d *draft) said() string {
	text := ""
	if r := d.in.Request.Reason; r != "" {
		text += fmt.Sprintf("; reason: %s", r)
	}
	if by := d.in.Request.By; by != "" {
		text += fmt.Sprintf("; by: %s", by)
	}
	return text
}
