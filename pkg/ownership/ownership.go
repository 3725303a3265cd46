// Package ownership gives fields back to the field managers that owned them before the
// controller wrote. A manager that once wrote a field continues to own it
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management):
// otherwise the owner's next server-side apply would fail with a conflict that names the
// controller, long after maintenance has ended.
package ownership

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Manager is the controller's field manager. It is a constant, so that GitOps tools can be
// told to ignore what it owns.
const Manager = "maintenance-controller"

// Owner is a field manager and the fields that it owned before a swap.
type Owner struct {
	Manager     string          `json:"manager"`        // name of the field manager
	Operation   string          `json:"op"`             // Apply or Update
	APIVersion  string          `json:"api"`            // of the fields
	Subresource string          `json:"sub,omitempty"`  // empty for the object itself
	Time        *metav1.Time    `json:"time,omitempty"` // when it wrote last
	Fields      json.RawMessage `json:"fields"`         // FieldsV1
}

// Path is a place in an object: field names (string), list indexes (int), and keys of
// entries of associative lists (Key).
type Path = []any

// Key identifies an entry of an associative list, with integers as int64: {"port": 80,
// "protocol": "TCP"}.
type Key map[string]any

// OwnersOf lists the managers other than the controller that own any of the paths, a part
// of one, or an ancestor of one: they may lose a field when the paths are written. It fails
// if managedFields cannot be read.
func OwnersOf(entries []metav1.ManagedFieldsEntry, paths []Path) ([]Owner, error) {
	var owners []Owner
	for _, e := range entries {
		if e.Manager == Manager || e.FieldsV1 == nil {
			continue
		}
		set, err := decode(e.FieldsV1.Raw)
		if err != nil {
			return nil, fmt.Errorf("managedFields of %q: %w", e.Manager, err)
		}
		touched := fieldpath.NewSet()
		set.Iterate(func(p fieldpath.Path) {
			if slices.ContainsFunc(paths, func(q Path) bool { return related(p, q) }) {
				touched.Insert(p.Copy())
			}
		})
		if touched.Empty() {
			continue
		}
		raw, err := touched.ToJSON()
		if err != nil {
			return nil, fmt.Errorf("managedFields of %q: %w", e.Manager, err)
		}
		owners = append(owners, Owner{Manager: e.Manager, Operation: string(e.Operation), APIVersion: e.APIVersion, Subresource: e.Subresource, Time: e.Time, Fields: raw})
	}
	return owners, nil
}

// ControllerOwnsAny says whether the controller owns any field, the status aside.
func ControllerOwnsAny(entries []metav1.ManagedFieldsEntry) bool {
	return slices.ContainsFunc(entries, func(e metav1.ManagedFieldsEntry) bool { return e.Manager == Manager && e.Subresource == "" })
}

// ControllerOwns says whether the controller owns the path, a part of it, or an ancestor.
// If it does not, somebody else has written the path last, possibly with the value that was
// already there.
func ControllerOwns(entries []metav1.ManagedFieldsEntry, path Path) bool {
	for _, e := range entries {
		if e.Manager != Manager || e.Subresource != "" || e.FieldsV1 == nil {
			continue
		}
		set, err := decode(e.FieldsV1.Raw)
		if err != nil {
			continue
		}
		holds := false
		set.Iterate(func(p fieldpath.Path) { holds = holds || related(p, path) })
		if holds {
			return true
		}
	}
	return false
}

// LastWriter names the manager that wrote any of the paths most recently: the tool to
// configure when a swap is reverted. Empty if nobody owns them.
func LastWriter(entries []metav1.ManagedFieldsEntry, paths []Path) string {
	sets, all := make([]*fieldpath.Set, len(entries)), fieldpath.NewSet()
	for i, e := range entries {
		sets[i] = fieldpath.NewSet()
		if e.FieldsV1 == nil || e.Subresource != "" {
			continue
		}
		if set, err := decode(e.FieldsV1.Raw); err == nil {
			sets[i] = set
			all = all.Union(set)
		}
	}
	// Owning a map says nothing about who wrote the fields of others inside it.
	values := all.Leaves()
	var last metav1.ManagedFieldsEntry
	for i, e := range entries {
		owns := false
		sets[i].Intersection(values).Iterate(func(p fieldpath.Path) {
			owns = owns || slices.ContainsFunc(paths, func(q Path) bool { return related(p, q) })
		})
		// Times are whole seconds. If two managers wrote in the same second, the other one
		// wrote after the controller, or there would be no revert to explain.
		if owns && (last.Manager == "" || last.Time.Before(e.Time) || last.Manager == Manager && last.Time.Equal(e.Time)) {
			last = e
		}
	}
	return last.Manager
}

// Merge adds newer to older: for a field that both name, the owners in newer win. It fails
// if recorded fields cannot be read.
func Merge(older, newer []Owner) ([]Owner, error) {
	taken := fieldpath.NewSet()
	for _, o := range newer {
		set, err := decode(o.Fields)
		if err != nil {
			return nil, fmt.Errorf("recorded owner %q: %w", o.Manager, err)
		}
		taken = taken.Union(set)
	}
	merged := slices.Clone(newer)
	for _, o := range older {
		set, err := decode(o.Fields)
		if err != nil {
			return nil, fmt.Errorf("recorded owner %q: %w", o.Manager, err)
		}
		left := set.Difference(taken)
		i := slices.IndexFunc(merged, o.same)
		switch {
		case left.Empty():
		case i < 0:
			if o.Fields, err = left.ToJSON(); err != nil {
				return nil, err
			}
			merged = append(merged, o)
		default:
			now, err := decode(merged[i].Fields)
			if err != nil {
				return nil, err
			}
			if merged[i].Fields, err = now.Union(left).ToJSON(); err != nil {
				return nil, err
			}
		}
	}
	return merged, nil
}

func (o Owner) same(p Owner) bool {
	return o.Manager == p.Manager && o.Operation == p.Operation && o.APIVersion == p.APIVersion && o.Subresource == p.Subresource
}

func (o Owner) owns(e metav1.ManagedFieldsEntry) bool {
	return o.Manager == e.Manager && o.Operation == string(e.Operation) && o.APIVersion == e.APIVersion && o.Subresource == e.Subresource
}

// GiveBack gives the managedFields as they would be if the controller had never written: of
// the fields that the controller owns now, each recorded owner gets its own back, and the
// controller's entries are removed. Fields that somebody else has taken since stay theirs,
// because only the current list decides what there is to give. It fails if fields of the
// controller, of a recorded owner, or of an entry that gets fields back cannot be read.
func GiveBack(entries []metav1.ManagedFieldsEntry, owners []Owner) ([]metav1.ManagedFieldsEntry, error) {
	ours := fieldpath.NewSet()
	var rest []metav1.ManagedFieldsEntry
	for _, e := range entries {
		if e.Manager != Manager || e.Subresource != "" {
			rest = append(rest, e)
			continue
		}
		if e.FieldsV1 == nil {
			continue
		}
		set, err := decode(e.FieldsV1.Raw)
		if err != nil {
			return nil, fmt.Errorf("managedFields of %q: %w", e.Manager, err)
		}
		ours = ours.Union(set)
	}
	for _, o := range owners {
		had, err := decode(o.Fields)
		if err != nil {
			return nil, fmt.Errorf("recorded owner %q: %w", o.Manager, err)
		}
		back := had.Intersection(ours)
		if back.Empty() {
			continue
		}
		if rest, err = give(rest, o, back); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func give(entries []metav1.ManagedFieldsEntry, o Owner, back *fieldpath.Set) ([]metav1.ManagedFieldsEntry, error) {
	i := slices.IndexFunc(entries, o.owns)
	if i < 0 {
		raw, err := back.ToJSON()
		if err != nil {
			return nil, err
		}
		return append(entries, metav1.ManagedFieldsEntry{
			Manager: o.Manager, Operation: metav1.ManagedFieldsOperationType(o.Operation), APIVersion: o.APIVersion,
			Subresource: o.Subresource, Time: o.Time, FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: raw},
		}), nil
	}
	now := fieldpath.NewSet()
	if entries[i].FieldsV1 != nil {
		var err error
		if now, err = decode(entries[i].FieldsV1.Raw); err != nil {
			return nil, fmt.Errorf("managedFields of %q: %w", o.Manager, err)
		}
	}
	raw, err := now.Union(back).ToJSON()
	if err != nil {
		return nil, err
	}
	entries = slices.Clone(entries)
	entries[i].FieldsV1 = &metav1.FieldsV1{Raw: raw}
	entries[i].FieldsType = cmp.Or(entries[i].FieldsType, "FieldsV1")
	return entries, nil
}

func decode(raw []byte) (*fieldpath.Set, error) {
	set := &fieldpath.Set{}
	if err := set.FromJSON(bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	return set, nil
}

// related says whether one path leads to the other. An entry of an associative list is
// found by its key; an index does not say which entry it is, and a member of a set has no
// path at all: these match any element.
func related(p fieldpath.Path, q Path) bool {
	for i := range min(len(p), len(q)) {
		if !meets(p[i], q[i]) {
			return false
		}
	}
	return true
}

func meets(e fieldpath.PathElement, step any) bool {
	switch {
	case e.FieldName != nil:
		name, ok := step.(string)
		return ok && name == *e.FieldName
	case e.Index != nil:
		index, ok := step.(int)
		return ok && index == *e.Index
	case e.Key != nil:
		key, ok := step.(Key)
		return !ok || key.is(*e.Key)
	}
	return true
}

func (k Key) is(fields value.FieldList) bool {
	if len(fields) != len(k) {
		return false
	}
	for _, f := range fields {
		want, ok := k[f.Name]
		if !ok || !value.Equals(f.Value, value.NewValueInterface(want)) {
			return false
		}
	}
	return true
}
