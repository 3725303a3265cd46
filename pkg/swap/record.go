package swap

import (
	"encoding/json"
	"fmt"
	"slices"

	"maintenance-controller.io/pkg/ownership"
)

// Version of the format of a Record.
const Version = 1

// gone is the position of a slot that went away during maintenance. Its original is
// kept for a slot of just that identity.
const gone = -1

// maxRecord bounds what is read back, in bytes: no annotation can be larger.
const maxRecord = 256 << 10

// Record is what a target's slots held before they were swapped. It is written
// in the same request as the swap, and to the backup before it.
type Record struct {
	Version int `json:"v"`
	// Page is the name of the page that the target showed when it was written.
	Page  string     `json:"page,omitempty"`
	Slots []Original `json:"slots"`
	// Owners had the fields before the controller took them.
	Owners []ownership.Owner `json:"owners,omitempty"`
	rest   rest
}

// Original is what one slot held.
type Original struct {
	ID
	// At was the slot's position among the target's slots, gone if it was not there
	// any more, or its original is not known for sure to be its own.
	At int `json:"at"`
	// Value is null if the slot was on a page and nothing was known of it.
	Value json.RawMessage `json:"value"`
	// Asked is what else its kind has to know to tell what is merged into the slot.
	Asked json.RawMessage `json:"asked,omitempty"`
	rest  rest
}

// nothing is the value of an original that is not known.
const nothing = "null"

// lost says that the slot was on a page and nothing was known of it.
func (o Original) lost() bool { return len(o.Value) == 0 || string(o.Value) == nothing }

// of gives the original to a slot, at its position.
func (o Original) of(id ID, at int) Original {
	o.ID, o.At = id, at
	return o
}

// asked decodes what was asked for; nil if nothing is known.
func (o *Original) asked() any {
	var asked any
	if o == nil || json.Unmarshal(o.Asked, &asked) != nil {
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

// ParseRecord reads a Record. Its error says what is wrong with the text.
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
		// Every part was JSON before it came here.
		panic(fmt.Sprintf("record of originals: %v", err))
	}
	return string(text)
}

// keepRest adds to a plan's record what is known and none of its slots has taken.
// Of slots that are there, that is what this version would not put back: another may.
// Of slots that have gone, somebody may be about to write them back as they were
// during maintenance: their originals are kept while there is room, and the oldest go
// first. Those that have just gone come before those that had gone already.
func (p *Plan) keepRest(known Record, found []int, slots []Slot, budget int) {
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
			o.At = gone // to the next look it is none that went just then
			used += o.size()
			p.Record.Slots = append(p.Record.Slots, o)
		default:
			o.At = gone
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

// Admitted gives the record without originals that may not go into their slots: a
// second copy may have better ones.
func (r Record) Admitted(slots []Slot) Record {
	bad := map[ID]bool{}
	for _, s := range slots {
		for _, o := range r.Slots {
			bad[o.ID] = bad[o.ID] || o.ID == s.ID && !o.lost() && !s.takes(o)
		}
	}
	out := r
	out.Slots = slices.DeleteFunc(slices.Clone(r.Slots), func(o Original) bool { return bad[o.ID] })
	return out
}

// FillGaps adds the originals of other for slots that r does not have. Where r has
// any, what it has not was not there when it was written.
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
			out.Slots[i] = o.of(o.ID, r.Slots[i].At)
		case !ok:
			if len(r.Slots) > 0 {
				o.At = gone
			}
			out.Slots = append(out.Slots, o)
		}
	}
	if out.rest == nil {
		out.rest = other.rest
	}
	if out.Page == "" {
		out.Page = other.Page
	}
	if len(out.Owners) == 0 {
		out.Owners = other.Owners
	}
	return out
}
