package swap

import (
	"encoding/json"
	"slices"
	"strings"
)

// match finds the original of each slot that names a page set: the index in
// known, or -1. Slots of the app have none.
//
//	originals have the slot's identity:
//	  one for each of the slots that have it        → its own, in their order
//	  all agree, and there are no more slots        → their value
//	else, of a slot in a rule, which has a name and a digest of its matches:
//	  its name is there once in the object and once
//	  among the originals                           → that one (its matches were edited)
//	  the same of its digest                        → that one (it was named, or renamed)
//	else, of the slots that came and the originals that went since the last look:
//	  one came and one went, of the same host       → that one (the path was renamed)
//	  all that came have one host, all that went
//	  had another, and the paths are the same       → that of its path (the host was renamed)
//	else all originals of the slot's host agree     → their value
//	else all originals of the target agree          → their value
//	else                                            → none: the backend is lost
//
// To take another slot's would send visitors to another app, which is worse than
// to be asked. So several slots that were renamed at once are told apart only if
// there is one way to do it: neither their places nor the paths that they have in
// common say which is which, for rules are moved and removed in the same edit.
// An original whose identity the app's slot has now may have gone as well, if it
// is not what that slot holds: people rename a path and give another its name.
//
// A slot that was lost stays so, unless its identity is known again: by the next
// look, others may have gone, and it would be taken for one of those. An original
// that may not go into the slot counts as unknown, and agrees with none.
func match(slots []Slot, known []Original) []int {
	m := matching{slots: slots, known: known, found: make([]int, len(slots)), met: make([]bool, len(slots)), claimed: map[int]bool{}}
	for at := range slots {
		m.found[at] = -1
	}
	m.byIdentity()
	m.byPart(func(id ID) ID { return ID{Type: id.Type, Name: id.Name} }, func(id ID) string { return id.Name })
	m.byPart(func(id ID) ID { return ID{Type: id.Type, Digest: id.Digest} }, func(id ID) string { return id.Digest })
	m.renamed()
	for at, s := range slots {
		if s.OnPage() && m.found[at] < 0 && !m.lost(s.ID) {
			m.found[at] = m.agreed(s)
		}
	}
	return m.found
}

// matching is what is known while originals are looked for.
type matching struct {
	slots   []Slot
	known   []Original
	found   []int        // by slot
	met     []bool       // by slot: originals have its identity
	claimed map[int]bool // originals whose slots are there
}

// alike is the identity of slots that only their order tells apart.
func alike(id ID) ID {
	id.N = 0
	return id
}

func (m matching) byIdentity() {
	originals, slots := map[ID][]int{}, map[ID][]int{}
	for i, o := range m.known {
		originals[alike(o.ID)] = append(originals[alike(o.ID)], i)
	}
	for at, s := range m.slots {
		if len(originals[alike(s.ID)]) > 0 {
			m.met[at] = true
			slots[alike(s.ID)] = append(slots[alike(s.ID)], at)
		}
	}
	for id, those := range slots {
		all := originals[id]
		there := slices.DeleteFunc(slices.Clone(all), func(i int) bool { return m.known[i].At == gone })
		if !m.inOrder(those, there) && !m.inOrder(those, all) {
			m.asOne(those, all)
		}
	}
}

// inOrder gives slots of one identity the originals of their numbers, if each has
// one and no slot of the app among several says that they were written anew.
func (m matching) inOrder(slots, originals []int) bool {
	if len(slots) != len(originals) {
		return false
	}
	byN := map[int]int{}
	for _, i := range originals {
		byN[m.known[i].N] = i
	}
	for _, at := range slots {
		i, ok := byN[m.slots[at].ID.N]
		if !ok || len(slots) > 1 && !m.slots[at].OnPage() && !m.holds(at, i) {
			return false
		}
	}
	for _, at := range slots {
		i := byN[m.slots[at].ID.N]
		m.claimed[i] = m.slots[at].OnPage() || m.holds(at, i)
		if m.slots[at].OnPage() && m.slots[at].takes(m.known[i]) {
			m.found[at] = i
		}
	}
	return true
}

// holds says whether a slot of the app holds just that original.
func (m matching) holds(at, i int) bool {
	value, err := json.Marshal(m.slots[at].Value)
	return err == nil && string(value) == string(m.known[i].Value)
}

// asOne gives slots of one identity their originals if these agree.
func (m matching) asOne(slots, originals []int) {
	slots = slices.DeleteFunc(slots, func(at int) bool { return !m.slots[at].OnPage() })
	if len(slots) > len(originals) {
		return
	}
	for _, i := range originals {
		if string(m.known[i].Value) != string(m.known[originals[0]].Value) {
			return
		}
	}
	for n, at := range slots {
		m.claimed[originals[n]] = true
		if m.slots[at].takes(m.known[originals[n]]) {
			m.found[at] = originals[n]
		}
	}
}

// byPart gives slots in rules the originals that have one part of their identity, if
// nothing else in the object and no other original has it. No CRD of the standard
// channel makes names unique, and of two rules nobody could tell which was meant.
func (m matching) byPart(part func(ID) ID, named func(ID) string) {
	slots, originals := map[ID][]int{}, map[ID][]int{}
	for at, s := range m.slots {
		if s.ID.Digest != "" && named(s.ID) != "" {
			slots[part(s.ID)] = append(slots[part(s.ID)], at)
		}
	}
	for i, o := range m.known {
		originals[part(o.ID)] = append(originals[part(o.ID)], i)
	}
	for id, those := range slots {
		if len(those) != 1 || len(originals[id]) != 1 {
			continue
		}
		at, i := those[0], originals[id][0]
		if m.slots[at].OnPage() && m.found[at] < 0 && !m.met[at] && !m.claimed[i] && m.slots[at].takes(m.known[i]) {
			m.found[at], m.claimed[i], m.met[at] = i, true, true
		}
	}
}

// renamed gives slots that came the originals that went. It is not for slots in rules:
// those have names, and their matches say too little to tell one from another.
func (m matching) renamed() {
	var came, went []int
	for at, s := range m.slots {
		if s.OnPage() && !m.met[at] && s.ID.Digest == "" {
			came = append(came, at)
		}
	}
	for i, o := range m.known {
		if !m.claimed[i] && o.At != gone {
			went = append(went, i)
		}
	}
	if len(came) != len(went) || len(came) == 0 {
		return
	}
	pairs := map[int]int{came[0]: went[0]}
	if len(came) > 1 || m.slots[came[0]].ID.Host != m.known[went[0]].Host {
		pairs = m.renamedHost(came, went)
	}
	for at, i := range pairs {
		if m.slots[at].takes(m.known[i]) {
			m.found[at] = i
		}
	}
}

// renamedHost pairs slots with originals by their paths, if one host was renamed
// and nothing else; nil if that is not so.
func (m matching) renamedHost(came, went []int) map[int]int {
	to, from := m.slots[came[0]].ID.Host, m.known[went[0]].Host
	byPath := map[ID]int{}
	for _, i := range went {
		if m.known[i].Host != from {
			return nil
		}
		byPath[m.known[i].ID] = i
	}
	pairs, taken := map[int]int{}, map[int]bool{}
	for _, at := range came {
		was := m.slots[at].ID
		if was.Host != to {
			return nil
		}
		was.Host = from
		i, ok := byPath[was]
		if !ok && to != "" { // a match names its host
			was.Path = strings.ReplaceAll(was.Path, to, from)
			i, ok = byPath[was]
		}
		if !ok || taken[i] {
			return nil
		}
		pairs[at], taken[i] = i, true
	}
	return pairs
}

// lost says whether it was remembered that nothing is known of the slot.
func (m matching) lost(id ID) bool {
	return slices.ContainsFunc(m.known, func(o Original) bool { return o.ID == id && o.lost() })
}

// agreed gives the original that all of the slot's host, or of the target, agree on.
func (m matching) agreed(s Slot) int {
	if i := m.only(s, func(o Original) bool { return o.Host == s.ID.Host }); i >= 0 {
		return i
	}
	return m.only(s, func(Original) bool { return true })
}

// only gives an original whose value is the only one among those that are asked for.
// One that cannot be read could be any.
func (m matching) only(s Slot, asked func(Original) bool) int {
	only := -1
	for i, o := range m.known {
		switch {
		case !asked(o) || only >= 0 && string(m.known[only].Value) == string(o.Value):
		case !s.takes(o):
			if !m.fitsElsewhere(o) {
				return -1
			}
		case only >= 0:
			return -1
		default:
			only = i
		}
	}
	return only
}

// fitsElsewhere says whether an original is that of a slot of another sort.
func (m matching) fitsElsewhere(o Original) bool {
	return slices.ContainsFunc(m.slots, func(s Slot) bool { return s.ID == o.ID && s.takes(o) })
}
