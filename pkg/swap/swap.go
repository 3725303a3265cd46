// Package swap points slots at a page set and back. It knows no kind of target:
// a kind lists its slots, and swap plans what to write into them and what to
// remember. Nothing here is done; a plan is data.
package swap

import (
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/ownership"
)

// Write is one value to be written.
type Write struct {
	Path  ownership.Path
	Value any
}

// Plan is what to write, and what to remember with it.
type Plan struct {
	Writes []Write
	Record Record
	// Reverted slots have an original and hold something else than the page all the
	// same: somebody wrote them after they had been swapped.
	Reverted []Slot
	// Spoilt are those of them that name a page set and do not lead there, or not
	// only: to a port where nobody listens, or to something else as well.
	Spoilt []Slot
	// Near are those of them that lead to the page, with something of somebody's beside it.
	Near []Slot
	// Lost slots point at a page set and no original is known for them. They are left alone.
	Lost []Slot
	// Unfit slots stay as they are: their originals do not fit into the annotation.
	Unfit []Slot
	// Strange slots stay on the app: what they hold could not be put back.
	Strange []Slot
	// Dropped are known originals that are not in the Record: their slots have gone,
	// and it has no room for them.
	Dropped []Original
}

// To plans the swap of all slots to the page set. known are the originals
// remembered so far; budget is how many bytes the new Record may have.
//
// A slot of the app is remembered as it is now, a slot on a page set keeps what
// is known of it: what names a page set is never taken for an original.
//
//	a slot that          | is remembered as         | and written
//	---------------------+--------------------------+---------------------------
//	is the app's         | what it holds            | yes
//	is exactly the page's| what is known of it      | if the page is another one
//	leads beside the page| what is known of it, or  | yes, as somebody's edit
//	                     | what was meant: see Merge|
//	is the page's, lost  | lost                     | no
func To(set string, slots []Slot, known Record, budget int) (Plan, error) {
	t := swapping{set: set, known: known, found: match(slots, known.Slots), budget: budget, byID: map[ID]*Original{}}
	t.Record = Record{Version: Version, Page: known.Page, Owners: known.Owners, rest: known.rest}
	t.used = len(t.Record.String())
	for i := range known.Slots {
		t.byID[known.Slots[i].ID] = &known.Slots[i]
	}
	for at, s := range slots {
		take := t.app
		if s.OnPage() {
			take = t.page
		}
		if err := take(at, s); err != nil {
			return Plan{}, fmt.Errorf("%s: %w", s.ID, err)
		}
	}
	t.keepRest(known, t.found, slots, budget)
	return t.Plan, nil
}

// swapping is a plan of a swap in the making.
type swapping struct {
	Plan
	set          string
	known        Record
	found        []int
	byID         map[ID]*Original
	used, budget int
}

// app plans a slot that is on the app.
func (t *swapping) app(at int, s Slot) error {
	if !s.canComeBack() {
		t.Strange = append(t.Strange, s)
		return nil
	}
	before := t.byID[s.ID]
	o, err := s.remember(at, s.Value, before)
	if err != nil {
		return err
	}
	if !t.keep(o, t.budget) {
		t.Unfit = append(t.Unfit, s)
		return nil
	}
	if before != nil && !before.lost() {
		t.Reverted = append(t.Reverted, s)
	}
	t.write(s, s.Value)
	return nil
}

// page plans a slot that names a page.
func (t *swapping) page(at int, s Slot) error {
	var before *Original
	var original any
	if i := t.found[at]; i >= 0 {
		before = &t.known.Slots[i]
		original, _ = s.admit(before.Value) // match has
	}
	if before != nil && s.shows(s.PageSet, original) {
		t.keep(before.of(s.ID, at), maxRecord)
		if s.PageSet != t.set && !s.AnyPage {
			t.write(s, original)
		}
		return nil
	}
	meant, ok := s.meant(before)
	if !ok {
		t.lose(at, s)
		return nil
	}
	o, err := s.remember(at, meant, before)
	if err != nil {
		return err
	}
	if !t.keep(o, t.budget) {
		t.Unfit = append(t.Unfit, s)
		if before != nil {
			t.keep(before.of(s.ID, at), maxRecord)
		}
		return nil
	}
	if before != nil {
		t.Reverted = append(t.Reverted, s)
	}
	if s.fit(s.PageSet, original) == Near {
		t.Near = append(t.Near, s)
	} else {
		t.Spoilt = append(t.Spoilt, s)
	}
	t.write(s, meant)
	return nil
}

// lose leaves a slot alone of which nothing is known, and remembers that: to the
// next look it is none that has just been renamed.
func (t *swapping) lose(at int, s Slot) {
	t.Lost = append(t.Lost, s)
	if before := t.byID[s.ID]; before == nil || before.lost() {
		t.keep(Original{ID: s.ID, At: at, Value: json.RawMessage(nothing)}, t.budget)
	}
}

// keep adds to the record what fits.
func (t *swapping) keep(o Original, budget int) bool {
	cost := o.size()
	if t.used+cost > budget {
		return false
	}
	t.used += cost
	t.Record.Slots = append(t.Record.Slots, o)
	return true
}

func (t *swapping) write(s Slot, original any) {
	t.Writes = append(t.Writes, Write{Path: s.Path, Value: s.Page(t.set, original)})
}

// Back plans the restore: each slot that names a page set gets its original back,
// or what was meant where something was written beside the page. Every other slot
// is somebody's will and stays.
func Back(slots []Slot, known Record) Plan {
	var p Plan
	found := match(slots, known.Slots)
	for at, s := range slots {
		if !s.OnPage() {
			continue
		}
		var before *Original
		if found[at] >= 0 {
			before = &known.Slots[found[at]]
		}
		value, ok := s.meant(before)
		if !ok {
			p.Lost = append(p.Lost, s)
			continue
		}
		p.Writes = append(p.Writes, Write{Path: s.Path, Value: value})
	}
	return p
}

// Apply gives a copy of the object with the values written.
func Apply(object map[string]any, writes []Write) (map[string]any, error) {
	out := runtime.DeepCopyJSON(object)
	for _, w := range writes {
		if err := set(out, w.Path, w.Value); err != nil {
			return nil, fmt.Errorf("write %v: %w", w.Path, err)
		}
	}
	return out, nil
}

func set(at any, path ownership.Path, value any) error {
	for i, step := range path {
		last := i == len(path)-1
		switch node := at.(type) {
		case map[string]any:
			key, ok := step.(string)
			if !ok {
				return fmt.Errorf("step %d wants a list", i)
			}
			if last {
				node[key] = runtime.DeepCopyJSONValue(value)
				return nil
			}
			at = node[key]
		case []any:
			index, ok := step.(int)
			if !ok || index < 0 || index >= len(node) {
				return fmt.Errorf("step %d is not in the list", i)
			}
			if last {
				node[index] = runtime.DeepCopyJSONValue(value)
				return nil
			}
			at = node[index]
		default:
			return fmt.Errorf("step %d leads nowhere", i)
		}
	}
	return errors.New("empty path")
}
