// Package soundness judges every revision of every target of a namespace: a slot that
// points at a page set has its original in that same revision, or in a backup that
// was there before; and no original is ever a page set.
package soundness

import (
	"fmt"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"maintenance-controller.io/e2e/revisions"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// Book is what has been seen.
type Book struct {
	mu       sync.Mutex
	judged   int
	wrong    []string
	suspects []suspect
	backups  map[target.Ref][]backupRevision // in their order
	lost     map[target.Ref]uint64           // by the test's doing, from that version on
	forged   []string                        // originals that the test has written
}

// NewBook makes an empty one.
func NewBook() *Book {
	return &Book{backups: map[target.Ref][]backupRevision{}, lost: map[target.Ref]uint64{}}
}

// suspect is a revision that is sound only if a backup has what it has not.
type suspect struct {
	ref    target.Ref
	at     uint64
	slots  []swap.Slot
	record swap.Record
	what   string
}

type backupRevision struct {
	at     uint64
	record swap.Record // empty from its deletion on
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
	record, err := swap.ParseRecord(text)
	if lost := swap.Back(slots, record).Lost; err != nil && swap.OnPage(slots) || len(lost) > 0 {
		b.suspects = append(b.suspects, suspect{
			ref: target.Ref{Kind: k.Name, Namespace: u.GetNamespace(), Name: u.GetName()}, at: revisions.Version(u), slots: slots, record: record,
			what: fmt.Sprintf("%s is on a page set without originals (%v)", name, err),
		})
	}
	if !slices.Contains(b.forged, text) {
		b.wrong = append(b.wrong, pages(name, record)...)
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
	ref, copied, _ := backup.Parse(cm) // one that cannot be read is none
	if u.GetName() != backup.Name(ref) {
		return // nobody would find it
	}
	b.wrong = append(b.wrong, pages(fmt.Sprintf("backup %s at %s", u.GetName(), u.GetResourceVersion()), copied.Record)...)
	if e == watch.Deleted {
		copied.Record = swap.Record{}
	}
	b.backups[ref] = append(b.backups[ref], backupRevision{at: revisions.Version(u), record: copied.Record})
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
	for _, x := range b.suspects {
		record := x.record
		for _, copied := range b.backups[x.ref] {
			if copied.at < x.at { // the last one before it
				record = x.record.Admitted(x.slots).FillGaps(copied.record)
			}
		}
		after, lost := b.lost[x.ref]
		if tolerated := lost && x.at > after; len(swap.Back(x.slots, record).Lost) > 0 && !tolerated {
			wrong = append(wrong, x.what)
		}
	}
	return b.judged, wrong
}
