// Package soundness checks every revision of every target in a namespace:
//
//   - A slot that points at a page set has its original in the same revision, or in a
//     backup that is older.
//   - No original is a page set.
//   - No revision loses the original of a slot that is on a page.
//   - The controller never overwrites a record that it cannot read, since a record that
//     cannot be read may hold anything.
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

// Recorder keeps the revisions that were seen.
type Recorder struct {
	mu               sync.Mutex
	count            int
	violations       []string
	targets          map[target.Ref][]revision // in the order of their arrival
	backups          map[target.Ref][]revision
	allowedLosses    map[target.Ref]uint64 // removed by the test itself, from that version on
	allowedForgeries []string              // originals that the test itself has written
}

// NewRecorder makes an empty Recorder.
func NewRecorder() *Recorder {
	return &Recorder{targets: map[target.Ref][]revision{}, backups: map[target.Ref][]revision{}, allowedLosses: map[target.Ref]uint64{}}
}

// AllowLoss says that the test itself removes all copies of a target's originals after
// this version of the namespace's objects. Later violations of the target do not count.
func (rec *Recorder) AllowLoss(ref target.Ref, after uint64) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.allowedLosses[ref] = after
}

// AllowForged says that the test itself writes this text into the annotation of the
// originals. It may name a page set for as long as it is there.
func (rec *Recorder) AllowForged(original string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.allowedForgeries = append(rec.allowedForgeries, original)
}

// Target adds a revision of an object of a kind.
func (rec *Recorder) Target(k target.Kind, u *unstructured.Unstructured) {
	if pageset.Ours(u) {
		return // our own Services are not targets
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.count++
	name := fmt.Sprintf("%s %s at %s", k.Name, u.GetName(), u.GetResourceVersion())
	slots, err := k.Slots(u.Object)
	if err != nil {
		rec.violations = append(rec.violations, name+": "+err.Error())
		return
	}
	text := u.GetAnnotations()[annotations.Original]
	ref := target.Ref{Kind: k.Name, Namespace: u.GetNamespace(), Name: u.GetName()}
	r := newRevision(u, text, "metadata", "annotations", annotations.Original)
	r.name, r.slots = name, slots
	rec.targets[ref] = append(rec.targets[ref], r)
	if !slices.Contains(rec.allowedForgeries, text) {
		rec.violations = append(rec.violations, pageSetsAmongOriginals(name, r.record)...)
	}
}

// ConfigMap adds a revision of a ConfigMap, which may be a backup.
func (rec *Recorder) ConfigMap(e watch.EventType, u *unstructured.Unstructured) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if u.GetLabels()[annotations.ComponentLabel] != annotations.ComponentBackup {
		return
	}
	cm := &corev1.ConfigMap{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, cm); err != nil {
		rec.violations = append(rec.violations, err.Error())
		return
	}
	ref, _, _ := backup.Parse(cm) // the target can always be read
	if u.GetName() != backup.Name(ref) {
		return // the controller would not find it
	}
	text, _, _ := unstructured.NestedString(u.Object, "data", "originals")
	if e == watch.Deleted {
		text = ""
	}
	r := newRevision(u, text, "data", "originals")
	r.name = fmt.Sprintf("backup %s at %s", u.GetName(), u.GetResourceVersion())
	rec.violations = append(rec.violations, pageSetsAmongOriginals(r.name, r.record)...)
	rec.backups[ref] = append(rec.backups[ref], r)
}

// pageSetsAmongOriginals lists the originals that are page sets.
func pageSetsAmongOriginals(name string, record swap.Record) (wrong []string) {
	for _, o := range record.Slots {
		if isPageSet(o) {
			wrong = append(wrong, fmt.Sprintf("%s: the original of %s is a page set", name, o.ID))
		}
	}
	return wrong
}

// isPageSet says whether an original contains the name of a page set, or is the page's port.
func isPageSet(o swap.Original) bool {
	const length = len("maintenance-0123456789abcdef")
	text := string(o.Value)
	for i := 0; i+length <= len(text); i++ {
		if page.IsSetName(text[i : i+length]) {
			return true
		}
	}
	return text == strconv.Quote(page.PortName)
}

// Violations returns how many revisions of targets were checked, and what was wrong with them.
func (rec *Recorder) Violations() (judged int, wrong []string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	wrong = slices.Clone(rec.violations)
	for ref, all := range rec.targets {
		byVersion := func(x, y revision) int { return cmp.Compare(x.at, y.at) }
		slices.SortStableFunc(all, byVersion)
		slices.SortStableFunc(rec.backups[ref], byVersion)
		h := history{targets: all, backups: rec.backups[ref], forged: rec.allowedForgeries}
		for i := range all {
			wrong = append(wrong, rec.unlessAllowed(ref, all[i], h.checkTarget(i))...)
		}
		for i := range h.backups {
			wrong = append(wrong, rec.unlessAllowed(ref, h.backups[i], h.checkBackup(i))...)
		}
	}
	return rec.count, wrong
}

// unlessAllowed returns what is wrong with a revision, or nothing if the test itself had
// removed the originals before it.
func (rec *Recorder) unlessAllowed(ref target.Ref, r revision, wrong []string) []string {
	if after, lost := rec.allowedLosses[ref]; lost && r.at > after {
		return nil
	}
	return wrong
}
