package swap

import (
	"encoding/json"
	"fmt"
	"slices"

	"maintenance-controller.io/pkg/ownership"
)

// Version of the format of a Record.
const Version = 1

// goneAt is the position of a slot that was removed during maintenance. Its original is
// kept for a slot of exactly that identity.
const goneAt = -1

// maxRecord limits what is read, in bytes: no annotation can be larger.
const maxRecord = 256 << 10

// Record is what a target's slots held before they were swapped. It is written in the same
// request as the swap, and to the backup before that.
type Record struct {
	Version int `json:"v"` // always Version
	// Page is the name of the page that the target showed when the record was written.
	Page  string     `json:"page,omitempty"`
	Slots []Original `json:"slots"` // one for each slot, and for removed slots
	// Owners are the field managers that owned fields before the controller took them.
	Owners  []ownership.Owner `json:"owners,omitempty"`
	unknown unknownFields
}

// Original is what one slot held.
type Original struct {
	ID
	// At was the slot's position among the target's slots; goneAt if the slot has been
	// removed, or if the original is not known for sure to be its own.
	At int `json:"at"`
	// Value is what the slot held; null if the slot was on a page and nothing was known of
	// it.
	Value json.RawMessage `json:"value"`
	// MergeContext is what else the kind needs to know to tell later what was merged into
	// the slot; empty for none.
	MergeContext json.RawMessage `json:"asked,omitempty"`
	unknown      unknownFields
}

// unknownValue is the Value of an original that is not known.
const unknownValue = "null"

// lost says that the slot was on a page and nothing was known of it.
func (o Original) lost() bool { return len(o.Value) == 0 || string(o.Value) == unknownValue }

// movedTo gives the original to a slot at a position.
func (o Original) movedTo(id ID, at int) Original {
	o.ID, o.At = id, at
	return o
}

// mergeContext decodes the MergeContext; nil if there is none.
func (o *Original) mergeContext() any {
	var asked any
	if o == nil || json.Unmarshal(o.MergeContext, &asked) != nil {
		return nil
	}
	return asked
}

func (o Original) size() int {
	text, err := json.Marshal(o)
	if err != nil {
		return maxRecord
	}
	return len(text) + len(",")
}

// ParseRecord reads a Record. It fails for a text that is larger than 256 KiB, is not JSON,
// or has another Version; the error says what is wrong.
func ParseRecord(text string) (Record, error) {
	if len(text) > maxRecord {
		return Record{}, fmt.Errorf("%d bytes: at most %d are read", len(text), maxRecord)
	}
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Record{}, err
	}
	if r.Version != Version {
		return Record{}, fmt.Errorf("format version %d is not known to this controller (it knows %d)", r.Version, Version)
	}
	return r, nil
}

// String is the compact JSON of the record.
func (r Record) String() string {
	r.Version = Version
	if r.Slots == nil {
		r.Slots = []Original{}
	}
	text, err := json.Marshal(r)
	if err != nil {
		// Every part was JSON before.
		panic(fmt.Sprintf("record of originals: %v", err))
	}
	return string(text)
}

// keepUnclaimed adds to a plan's record the known originals that no slot has taken. Those
// of existing slots are values that this version would not restore; another version may.
// Those of removed slots are kept while there is room, because somebody may be about to
// write the slots back as they were during maintenance. The ones that were just removed
// come first, and the oldest are dropped.
func (p *Plan) keepUnclaimed(known Record, found []int, slots []Slot, budget int) {
	taken, there, recorded := map[int]bool{}, map[ID]bool{}, map[ID]bool{}
	for at, i := range found {
		taken[i] = true
		there[slots[at].ID] = slots[at].OnPage()
	}
	for _, o := range p.Record.Slots {
		recorded[o.ID] = true
	}
	used := len(p.Record.String())
	var left []Original
	for i, o := range known.Slots {
		switch {
		case taken[i] || recorded[o.ID] || o.lost():
		case there[o.ID]:
			o.At = goneAt // the next reconcile must not take it for one that was just removed
			used += o.size()
			p.Record.Slots = append(p.Record.Slots, o)
		default:
			o.At = goneAt
			left = append(left, o)
		}
	}
	for i, o := range left {
		if used += o.size(); used > budget {
			p.Dropped = left[i:]
			return
		}
		p.Record.Slots = append(p.Record.Slots, o)
	}
}

// WithoutInvalid gives the record without originals that are not valid for their slots: a
// second copy may have better ones.
func (r Record) WithoutInvalid(slots []Slot) Record {
	bad := map[ID]bool{}
	for _, s := range slots {
		for _, o := range r.Slots {
			bad[o.ID] = bad[o.ID] || o.ID == s.ID && !o.lost() && !s.accepts(o)
		}
	}
	out := r
	out.Slots = slices.DeleteFunc(slices.Clone(r.Slots), func(o Original) bool { return bad[o.ID] })
	return out
}

// FillGaps adds the originals of other for slots that r does not have. If r has any
// originals, the added ones count as removed slots: they were not there when r was written.
func (r Record) FillGaps(other Record) Record {
	have := map[ID]int{}
	for i, o := range r.Slots {
		have[o.ID] = i
	}
	out := r
	out.Slots = append([]Original(nil), r.Slots...)
	for _, o := range other.Slots {
		i, ok := have[o.ID]
		switch {
		case ok && r.Slots[i].lost() && !o.lost():
			out.Slots[i] = o.movedTo(o.ID, r.Slots[i].At)
		case !ok:
			if len(r.Slots) > 0 {
				o.At = goneAt
			}
			out.Slots = append(out.Slots, o)
		}
	}
	if out.unknown == nil {
		out.unknown = other.unknown
	}
	if out.Page == "" {
		out.Page = other.Page
	}
	if len(out.Owners) == 0 {
		out.Owners = other.Owners
	}
	return out
}
