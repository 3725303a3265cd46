package swap

import (
	"encoding/json"
	"slices"
	"strings"
)

// match finds the original of each slot that names a page set: its index in known, or -1.
// Slots on the app have none.
//
//	if originals have the slot's identity:
//	  one for each of the slots with this identity  → its own, in their order
//	  all agree, and there are no more slots        → their value
//	else, for a slot in a rule, which has a name and a digest of its matches:
//	  its name occurs once in the object and once
//	  among the originals                           → that one (its matches were edited)
//	  the same for its digest                       → that one (it was named or renamed)
//	else, among new slots and originals whose slots disappeared since the last reconcile:
//	  one new, one disappeared, of the same host    → that one (the path was renamed)
//	  all new ones have one host, all that
//	  disappeared had another, with the same paths  → that of its path (the host was renamed)
//	else all originals of the slot's host agree     → their value
//	else all originals of the target agree          → their value
//	else                                            → none: the backend is lost
//
// Taking another slot's original would send visitors to another app, which is worse than
// asking a person. So several slots that were renamed at once are told apart only if there
// is a single way to do it: neither their positions nor common paths identify them, because
// rules are moved and removed in the same edit. An original whose identity a slot on the
// app now has may have disappeared as well, if that slot holds something else: people
// rename a path and give another one its name.
//
// A lost slot stays lost until its identity is known again: by the next reconcile other
// slots may have disappeared, and it would be taken for one of those. An original that is
// not valid for the slot counts as unknown and agrees with none.
func match(slots []Slot, known []Original) []int {
	m := matching{slots: slots, known: known, found: make([]int, len(slots)), identityKnown: make([]bool, len(slots)), claimed: map[int]bool{}}
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

// matching is the state of the search for originals.
type matching struct {
	slots         []Slot
	known         []Original
	found         []int        // by slot: index in known, or -1
	identityKnown []bool       // by slot: its identity is among the originals
	claimed       map[int]bool // originals whose slots still exist
}

// withoutNumber is the identity shared by slots that only their order tells apart.
func withoutNumber(id ID) ID {
	id.N = 0
	return id
}

func (m matching) byIdentity() {
	originals, slots := map[ID][]int{}, map[ID][]int{}
	for i, o := range m.known {
		originals[withoutNumber(o.ID)] = append(originals[withoutNumber(o.ID)], i)
	}
	for at, s := range m.slots {
		if len(originals[withoutNumber(s.ID)]) > 0 {
			m.identityKnown[at] = true
			slots[withoutNumber(s.ID)] = append(slots[withoutNumber(s.ID)], at)
		}
	}
	for id, those := range slots {
		all := originals[id]
		there := slices.DeleteFunc(slices.Clone(all), func(i int) bool { return m.known[i].At == goneAt })
		if !m.inOrder(those, there) && !m.inOrder(those, all) {
			m.ifAllAgree(those, all)
		}
	}
}

// inOrder gives slots of one identity the originals of their numbers, if each has one. If
// several slots share the identity, one on the app means that they were rewritten, unless
// it holds just its original.
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
		if m.slots[at].OnPage() && m.slots[at].accepts(m.known[i]) {
			m.found[at] = i
		}
	}
	return true
}

// holds says whether a slot on the app holds exactly this original.
func (m matching) holds(at, i int) bool {
	value, err := json.Marshal(m.slots[at].Value)
	return err == nil && string(value) == string(m.known[i].Value)
}

// ifAllAgree gives slots of one identity their originals if these are all equal.
func (m matching) ifAllAgree(slots, originals []int) {
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
		if m.slots[at].accepts(m.known[originals[n]]) {
			m.found[at] = originals[n]
		}
	}
}

// byPart gives slots in rules the originals that share one part of their identity, if that
// part occurs only once in the object and once among the originals. No CRD of the standard
// channel makes rule names unique, and of two rules nobody could tell which one was meant.
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
		if m.slots[at].OnPage() && m.found[at] < 0 && !m.identityKnown[at] && !m.claimed[i] && m.slots[at].accepts(m.known[i]) {
			m.found[at], m.claimed[i], m.identityKnown[at] = i, true, true
		}
	}
}

// renamed gives new slots the originals whose slots disappeared. It leaves out slots in
// rules: those have names, and their matches say too little to tell one from another.
func (m matching) renamed() {
	var came, went []int
	for at, s := range m.slots {
		if s.OnPage() && !m.identityKnown[at] && s.ID.Digest == "" {
			came = append(came, at)
		}
	}
	for i, o := range m.known {
		if !m.claimed[i] && o.At != goneAt {
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
		if m.slots[at].accepts(m.known[i]) {
			m.found[at] = i
		}
	}
}

// renamedHost pairs slots with originals by their paths if one host was renamed and nothing
// else changed; otherwise nil.
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
		if !ok && to != "" { // a match contains its host
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

// lost says whether the slot was recorded as one whose original is not known.
func (m matching) lost(id ID) bool {
	return slices.ContainsFunc(m.known, func(o Original) bool { return o.ID == id && o.lost() })
}

// agreed gives an original if all originals of the slot's host, or of the target, are
// equal.
func (m matching) agreed(s Slot) int {
	if i := m.onlyValue(s, func(o Original) bool { return o.Host == s.ID.Host }); i >= 0 {
		return i
	}
	return m.onlyValue(s, func(Original) bool { return true })
}

// onlyValue gives an original if all selected ones have the same value. One that cannot be
// read could be any of them.
func (m matching) onlyValue(s Slot, asked func(Original) bool) int {
	only := -1
	for i, o := range m.known {
		switch {
		case !asked(o) || only >= 0 && string(m.known[only].Value) == string(o.Value):
		case !s.accepts(o):
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

// fitsElsewhere says whether an original belongs to a slot of another type.
func (m matching) fitsElsewhere(o Original) bool {
	return slices.ContainsFunc(m.slots, func(s Slot) bool { return s.ID == o.ID && s.accepts(o) })
}
