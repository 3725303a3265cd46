package soundness

import (
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/revisions"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/swap"
)

// revision of a target or of its backup, and the originals in it.
type revision struct {
	name         string
	at           uint64
	slots        []swap.Slot // of a target
	text         string
	record       swap.Record
	unreadable   bool // there is a text, and it cannot be parsed
	byController bool // the controller wrote the text
}

func newRevision(u *unstructured.Unstructured, text string, field ...string) revision {
	record, err := swap.ParseRecord(text)
	return revision{at: revisions.Version(u), text: text, record: record, unreadable: text != "" && err != nil, byController: ownedByController(u, field)}
}

// ownedByController says whether the controller owns this field: whoever writes a field
// becomes its owner.
func ownedByController(u *unstructured.Unstructured, field []string) bool {
	for i := range field {
		field[i] = "f:" + field[i]
	}
	return slices.ContainsFunc(u.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		var fields map[string]any
		if e.Manager != ownership.Manager || e.FieldsV1 == nil || json.Unmarshal(e.FieldsV1.Raw, &fields) != nil {
			return false
		}
		_, there, err := unstructured.NestedFieldNoCopy(fields, field...)
		return there && err == nil
	})
}

// fromLaterVersion says whether the text is a record of a later format version.
func (r revision) fromLaterVersion() bool {
	var is struct{ V int }
	return json.Unmarshal([]byte(r.text), &is) == nil && is.V > swap.Version
}

// has says whether the revision has an original of the slot.
func (r revision) has(id swap.ID) bool {
	return slices.ContainsFunc(r.record.Slots, func(o swap.Original) bool { return o.ID == id && string(o.Value) != "null" })
}

func (r revision) onPage() (ids []swap.ID) {
	for _, s := range r.slots {
		if s.OnPage() {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// history is everything that was seen of a target.
type history struct {
	targets, backups []revision
	forged           []string
}

// before returns the newest of the revisions that are older than a version.
func before(all []revision, at uint64) (last revision) {
	for _, r := range all {
		if r.at < at {
			last = r
		}
	}
	return last
}

// checkTarget checks a revision of the target.
func (h history) checkTarget(i int) (wrong []string) {
	now, copied := h.targets[i], before(h.backups, h.targets[i].at)
	if !swap.OnPage(now.slots) {
		return nil
	}
	known := now.record.WithoutInvalid(now.slots).FillGaps(copied.record)
	mayKnow := now.unreadable && (now.fromLaterVersion() || !now.byController) || copied.unreadable
	if len(swap.Back(now.slots, known).Lost) > 0 && !mayKnow {
		wrong = append(wrong, now.name+" points at a page set without originals")
	}
	if i == 0 {
		return wrong
	}
	then := h.targets[i-1]
	if h.overwritten(then, now) && swap.OnPage(then.slots) {
		wrong = append(wrong, now.name+": the record could not be read and was overwritten")
	}
	for _, id := range now.onPage() {
		had := then.has(id) || before(h.backups, then.at).has(id)
		if had && slices.Contains(then.onPage(), id) && !now.has(id) && !copied.has(id) && !mayKnow && !slices.Contains(h.forged, then.text) {
			wrong = append(wrong, fmt.Sprintf("%s lost the original of %s", now.name, id))
		}
	}
	return wrong
}

// checkBackup checks a revision of the backup against the target at that time.
func (h history) checkBackup(i int) (wrong []string) {
	if i == 0 || h.backups[i].text == "" { // deleted: the target's next revision shows whether that was too early
		return nil
	}
	then, now := h.backups[i-1], h.backups[i]
	of := before(h.targets, now.at)
	if len(of.onPage()) > 0 && h.overwritten(then, now) {
		wrong = append(wrong, now.name+": the record could not be read and was overwritten")
	}
	for _, id := range of.onPage() {
		if then.has(id) && !now.has(id) && !of.has(id) && !now.unreadable && !of.unreadable {
			wrong = append(wrong, fmt.Sprintf("%s lost the original of %s", now.name, id))
		}
	}
	return wrong
}

// overwritten says whether the controller has overwritten a record that it could not read.
func (h history) overwritten(then, now revision) bool {
	return then.unreadable && now.text != then.text && now.byController && !now.unreadable
}
