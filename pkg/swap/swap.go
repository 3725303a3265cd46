// Package swap points slots at a page set and back. It knows no kind of target: a kind
// lists its slots, and swap plans what to write into them and what to record. It does
// nothing itself; a plan is data.
package swap

import (
	"encoding/json"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/ownership"
)

// Write is one value to write into an object.
type Write struct {
	Path  ownership.Path // without ownership.Key
	Value any            // of JSON
}

// Plan is what to write, and what to record with it.
type Plan struct {
	Writes []Write // in the order of the slots
	Record Record  // to store with the writes; empty in a restore
	// Reverted are slots with an original that hold something other than the page: somebody
	// wrote them after they had been swapped.
	Reverted []Slot
	// Misdirected are those of the reverted slots that name a page set but do not lead
	// there, or not only there: they name a port where nothing listens, or something else
	// as well.
	Misdirected []Slot
	// Near are those of the reverted slots that lead to the page with something added.
	Near []Slot
	// Lost are slots that point at a page set and have no known original. They are left
	// alone.
	Lost []Slot
	// NoRoom are slots that stay as they are because their originals do not fit into the
	// annotation.
	NoRoom []Slot
	// Unrestorable are slots that stay on the app because what they hold could not be
	// restored.
	Unrestorable []Slot
	// Dropped are known originals of removed slots for which the Record has no room.
	Dropped []Original
}

// To plans the swap of all slots to the page set. known are the originals recorded so far;
// budget is the size limit of the new Record in bytes. It fails only if a value is not
// JSON.
//
// A slot on the app is recorded as it is now; a slot on a page set keeps what is known of
// it: a value that names a page set is never taken for an original.
//
//	a slot that          | is recorded as           | and written
//	---------------------+--------------------------+---------------------------
//	is the app's         | what it holds            | yes
//	is exactly the page's| what is known of it      | if the page changes
//	does not match       | what is known of it, or  | yes, as somebody's edit
//	                     | what was meant: see Merge|
//	is the page's, lost  | lost                     | no
func To(set string, slots []Slot, known Record, budget int) (Plan, error) {
	t := swapping{set: set, known: known, found: match(slots, known.Slots), budget: budget, byID: map[ID]*Original{}}
	t.Record = Record{Version: Version, Page: known.Page, Owners: known.Owners, unknown: known.unknown}
	t.used = len(t.Record.String())
	for i := range known.Slots {
		t.byID[known.Slots[i].ID] = &known.Slots[i]
	}
	for at, s := range slots {
		take := t.planAppSlot
		if s.OnPage() {
			take = t.planPageSlot
		}
		if err := take(at, s); err != nil {
			return Plan{}, fmt.Errorf("%s: %w", s.ID, err)
		}
	}
	t.keepUnclaimed(known, t.found, slots, budget)
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

// planAppSlot plans a slot that is on the app.
func (t *swapping) planAppSlot(at int, s Slot) error {
	if !s.restorable() {
		t.Unrestorable = append(t.Unrestorable, s)
		return nil
	}
	before := t.byID[s.ID]
	o, err := s.remember(at, s.Value, before)
	if err != nil {
		return err
	}
	if !t.addToRecord(o, t.budget) {
		t.NoRoom = append(t.NoRoom, s)
		return nil
	}
	if before != nil && !before.lost() {
		t.Reverted = append(t.Reverted, s)
	}
	t.write(s, s.Value)
	return nil
}

// planPageSlot plans a slot that names a page.
func (t *swapping) planPageSlot(at int, s Slot) error {
	var before *Original
	var original any
	if i := t.found[at]; i >= 0 {
		before = &t.known.Slots[i]
		original, _ = s.decode(before.Value) // match has checked it
	}
	if before != nil && s.isOnSet(s.PageSet, original) {
		t.addToRecord(before.movedTo(s.ID, at), maxRecord)
		if s.PageSet != t.set && !s.AnyPage {
			t.write(s, original)
		}
		return nil
	}
	meant, ok := s.appValue(before)
	if !ok {
		t.leaveLost(at, s)
		return nil
	}
	o, err := s.remember(at, meant, before)
	if err != nil {
		return err
	}
	if !t.addToRecord(o, t.budget) {
		t.NoRoom = append(t.NoRoom, s)
		if before != nil {
			t.addToRecord(before.movedTo(s.ID, at), maxRecord)
		}
		return nil
	}
	if before != nil {
		t.Reverted = append(t.Reverted, s)
	}
	if s.fit(s.PageSet, original) == Near {
		t.Near = append(t.Near, s)
	} else {
		t.Misdirected = append(t.Misdirected, s)
	}
	t.write(s, meant)
	return nil
}

// leaveLost leaves a slot alone whose original is not known, and records that, so that the
// next reconcile does not take it for one that was just renamed.
func (t *swapping) leaveLost(at int, s Slot) {
	t.Lost = append(t.Lost, s)
	if before := t.byID[s.ID]; before == nil || before.lost() {
		t.addToRecord(Original{ID: s.ID, At: at, Value: json.RawMessage(unknownValue)}, t.budget)
	}
}

// addToRecord adds an original to the record if it fits.
func (t *swapping) addToRecord(o Original, budget int) bool {
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

// Back plans the restore: each slot that names a page set gets its original back, or what
// was meant where something was merged into it. Every other slot was written by somebody on
// purpose and stays.
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
		value, ok := s.appValue(before)
		if !ok {
			p.Lost = append(p.Lost, s)
			continue
		}
		p.Writes = append(p.Writes, Write{Path: s.Path, Value: value})
	}
	return p
}

// Apply gives a copy of the object with the values written. It fails if a path does not
// exist in the object.
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
