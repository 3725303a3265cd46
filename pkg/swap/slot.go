package swap

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"maintenance-controller.io/pkg/ownership"
)

// ID identifies a slot within its target whatever its position, since people
// insert and reorder.
type ID struct {
	Host string `json:"host,omitempty"`
	Path string `json:"path,omitempty"` // an Ingress path, an IngressRoute match, or the first match of a route's rule
	Type string `json:"type,omitempty"` // pathType, or what else tells slots apart
	// Name is what its author calls the rule that the slot is in, and Digest stands for
	// all matches of that rule. A kind whose slots have a digest is matched by these two.
	Name   string `json:"name,omitempty"`
	Digest string `json:"digest,omitempty"`
	N      int    `json:"n,omitempty"` // 0 for the first of several that are otherwise the same
}

// String names the slot for a person.
func (id ID) String() string {
	s := id.Type
	if id.Name != "" {
		s += " " + id.Name
	}
	if id.Host != "" {
		s += " host " + id.Host
	}
	if id.Path != "" {
		s += " " + id.Path
	}
	if id.N > 0 {
		s += fmt.Sprintf(" (duplicate %d)", id.N)
	}
	return s
}

// Slot is a place inside a target that names where traffic goes.
type Slot struct {
	ID ID
	// Path leads to the value: field names (string) and list indexes (int).
	Path ownership.Path
	// Field is the same place as managedFields name it, where that is not Path:
	// they know entries of some lists by their keys.
	Field ownership.Path
	// Value is what the slot holds.
	Value any
	// PageSet is the page set that the value names, be it beside something else;
	// empty if it names none. What names a page set is no original, and the set has
	// to stay for it. Whether it is the page's value is another question: see Fit.
	PageSet string
	// AnyPage says that it points at a page by a value that is the same for every
	// page set, such as a port.
	AnyPage bool
	// Page gives the value that points at a page set in the place of an original,
	// which is nil if none is known.
	Page func(set string, original any) any
	// Fit compares the value with one that Page gave, as the API reads both: what it
	// fills in, and what people may as well write, is no difference. It is nil where
	// equal values alone are the same.
	Fit func(page any) Fit
	// Insisted says that the value is what became of the page's when it was written:
	// a webhook wants it so. If it leads to the page, it counts as the page's.
	Insisted bool
	// Merge is not nil if somebody wrote something of the app's beside the page's, as
	// a merge patch does. It gives what was meant: from the original and what Asked
	// gave when it was remembered, both nil if not known. It is nil if nobody can tell.
	Merge func(original, asked any) any
	// Asked gives what else has to be remembered with the value to tell later what a
	// merge means. It is nil where nothing has.
	Asked func() any
	// Check says why a value may not be put into this slot; nil if it may.
	Check func(value any) error
	// Backends gives where visitors go by a value of the app's in this slot. It is nil
	// where a slot sends none anywhere by itself: a port of a Service, a mirror.
	Backends func(value any) []Backend
	// Ways gives how apps are reached by a value of the app's in this slot. It is nil
	// where no door can lead to them.
	Ways func(value any) []Way
	// Through gives the slot with doors; nil where it has none.
	Through func(d Doors) Slot
}

// Fit says how far a value that names a page set is the page's.
type Fit int

// Fits of values.
const (
	// Beside the page: it leads elsewhere, or not to the page alone.
	Beside Fit = iota
	// Near leads to the page, but has something that the page's value has not.
	Near
	// Exact is the page's value.
	Exact
)

// OnPage says whether the slot has anything of a page.
func (s Slot) OnPage() bool { return s.PageSet != "" || s.AnyPage }

// OnPage says whether any slot has anything of a page.
func OnPage(slots []Slot) bool { return slices.ContainsFunc(slots, Slot.OnPage) }

// Owned is the slot's place as managedFields name it.
func (s Slot) Owned() ownership.Path {
	if s.Field != nil {
		return s.Field
	}
	return s.Path
}

// fit says how far the slot holds the value that points at the page set.
func (s Slot) fit(set string, original any) Fit {
	switch {
	case s.Merge != nil:
		return Beside
	case s.AnyPage:
		return Exact
	case s.PageSet != set:
		return Beside
	case s.Fit != nil:
		return s.Fit(s.Page(set, original))
	case reflect.DeepEqual(s.Value, s.Page(set, original)):
		return Exact
	}
	return Beside
}

// Became says how far a slot still is what was sent, which was on a page.
func (s Slot) Became(sent Slot) Fit {
	switch {
	case reflect.DeepEqual(s.Value, sent.Value):
		return Exact
	case s.PageSet != sent.PageSet || s.AnyPage != sent.AnyPage || s.Merge != nil || s.Fit == nil:
		return Beside
	}
	return s.Fit(sent.Value)
}

// shows says whether the slot is as it should be on the page set.
func (s Slot) shows(set string, original any) bool {
	fit := s.fit(set, original)
	return fit == Exact || fit == Near && s.Insisted
}

// remember makes the original of a value, with what else has to be known of it.
func (s Slot) remember(at int, value any, before *Original) (Original, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return Original{}, err
	}
	o := Original{ID: s.ID, At: at, Value: raw}
	if before != nil && s.OnPage() {
		o.rest = before.rest
	}
	if s.Asked == nil {
		return o, nil
	}
	if asked := s.Asked(); asked != nil {
		o.Asked, err = json.Marshal(asked)
	}
	return o, err
}

// meant is the app's value of a slot that names a page; false if it is not known.
func (s Slot) meant(before *Original) (any, bool) {
	var original any
	if before != nil {
		var err error
		if original, err = s.admit(before.Value); err != nil {
			return nil, false
		}
	}
	if s.Merge != nil {
		value := s.Merge(original, before.asked())
		return value, value != nil && s.Check(value) == nil
	}
	return original, before != nil
}

// canComeBack says whether what the slot holds could be put back into it.
func (s Slot) canComeBack() bool { return s.Check(s.Value) == nil }

// admit decodes a remembered value and checks that it may go into the slot.
func (s Slot) admit(raw json.RawMessage) (any, error) {
	var value any
	if err := utiljson.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	return value, s.Check(value)
}

func (s Slot) takes(o Original) bool {
	_, err := s.admit(o.Value)
	return err == nil
}
