// Package soundness judges every revision of every target of a namespace: a slot that
// points at a page set has its original in that same revision, or in a backup that
// was there before; no original is ever a page set; and no revision knows less of a slot
// on a page than the one before it. What cannot be read is not empty: whoever it is of
// may know anything, so that the controller must not write over it.
package soundness

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// Book is what has been seen.
type Book struct {
	mu      sync.Mutex
	judged  int
	wrong   []string
	targets map[target.Ref][]revision // in their order
	backups map[target.Ref][]revision
	lost    map[target.Ref]uint64 // by the test's doing, from that version on
	forged  []string              // originals that the test has written
}

// NewBook makes an empty one.
func NewBook() *Book {
	return &Book{targets: map[target.Ref][]revision{}, backups: map[target.Ref][]revision{}, lost: map[target.Ref]uint64{}}
}

// Loses says that the test itself takes all copies of a target's originals away,
// after some version of the namespace's objects: what it is without from then on is
// the test's doing.
func (b *Book) Loses(ref target.Ref, after uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost[ref] = after
}

// Forged says that the test itself writes this into the annotation of the originals:
// as long as that stands there, it may name a page set.
func (b *Book) Forged(original string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forged = append(b.forged, original)
}

// Target takes a revision of an object of a kind.
func (b *Book) Target(k target.Kind, u *unstructured.Unstructured) {
	if pageset.Ours(u) {
		return // our own Services are no targets
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.judged++
	name := fmt.Sprintf("%s %s at %s", k.Name, u.GetName(), u.GetResourceVersion())
	slots, err := k.Slots(u.Object)
	if err != nil {
		b.wrong = append(b.wrong, name+": "+err.Error())
		return
	}
	text := u.GetAnnotations()[annotations.Original]
	ref := target.Ref{Kind: k.Name, Namespace: u.GetNamespace(), Name: u.GetName()}
	r := newRevision(u, text, "metadata", "annotations", annotations.Original)
	r.name, r.slots = name, slots
	b.targets[ref] = append(b.targets[ref], r)
	if !slices.Contains(b.forged, text) {
		b.wrong = append(b.wrong, pages(name, r.record)...)
	}
}

// ConfigMap takes a revision of a ConfigMap, which may be a backup.
func (b *Book) ConfigMap(e watch.EventType, u *unstructured.Unstructured) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if u.GetLabels()[annotations.ComponentLabel] != annotations.ComponentBackup {
		return
	}
	cm := &corev1.ConfigMap{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, cm); err != nil {
		b.wrong = append(b.wrong, err.Error())
		return
	}
	ref, _, _ := backup.Parse(cm) // whose it is can always be read
	if u.GetName() != backup.Name(ref) {
		return // nobody would find it
	}
	text, _, _ := unstructured.NestedString(u.Object, "data", "originals")
	if e == watch.Deleted {
		text = ""
	}
	r := newRevision(u, text, "data", "originals")
	r.name = fmt.Sprintf("backup %s at %s", u.GetName(), u.GetResourceVersion())
	b.wrong = append(b.wrong, pages(r.name, r.record)...)
	b.backups[ref] = append(b.backups[ref], r)
}

// pages tells which originals are page sets.
func pages(name string, record swap.Record) (wrong []string) {
	for _, o := range record.Slots {
		if isPage(o) {
			wrong = append(wrong, fmt.Sprintf("%s: the original of %s is a page set", name, o.ID))
		}
	}
	return wrong
}

// isPage says whether an original holds any word with the shape of a page set's
// name, or is the page's port.
func isPage(o swap.Original) bool {
	const length = len("maintenance-0123456789abcdef")
	text := string(o.Value)
	for i := 0; i+length <= len(text); i++ {
		if page.IsSetName(text[i : i+length]) {
			return true
		}
	}
	return text == strconv.Quote(page.PortName)
}

// Judge tells how many revisions were seen, and which were not sound.
func (b *Book) Judge() (judged int, wrong []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wrong = slices.Clone(b.wrong)
	for ref, all := range b.targets {
		byVersion := func(x, y revision) int { return cmp.Compare(x.at, y.at) }
		slices.SortStableFunc(all, byVersion)
		slices.SortStableFunc(b.backups[ref], byVersion)
		h := history{targets: all, backups: b.backups[ref], forged: b.forged}
		for i := range all {
			wrong = append(wrong, b.tolerate(ref, all[i], h.target(i))...)
		}
		for i := range h.backups {
			wrong = append(wrong, b.tolerate(ref, h.backups[i], h.backup(i))...)
		}
	}
	return b.judged, wrong
}

// tolerate gives what is wrong with a revision, nothing if the test itself has taken
// the originals away before it.
func (b *Book) tolerate(ref target.Ref, r revision, wrong []string) []string {
	if after, lost := b.lost[ref]; lost && r.at > after {
		return nil
	}
	return wrong
}
