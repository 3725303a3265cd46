// Package installation tells the controllers of one cluster apart. Each installation
// has an id, which is on whatever it makes and on the targets that it has in
// maintenance; what carries another id is another's, and is left alone.
package installation

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

// Default is the id of an installation as the manifests make it: namespace and name
// of its Lease.
const Default = "maintenance-system/maintenance-controller"

// maxID bounds an id in bytes: a namespace and a name have room.
const maxID = 63 + len("/") + 253

// ErrOther is returned for what belongs to another installation.
var ErrOther = errors.New("it is another installation's")

// Installation is a controller with all its replicas. The zero value stands for no
// installation in particular: it marks nothing, and whatever there is counts as its own.
type Installation struct {
	ID      string
	Adopted []string // ids of installations that it has taken over from
}

// Owns says whether what carries this id is the installation's: its own, an adopted
// one's, or nobody's, as all was before installations had ids.
func (i Installation) Owns(id string) bool {
	return i.ID == "" || id == "" || id == i.ID || slices.Contains(i.Adopted, id)
}

// Trace is what a target shows of who has it in maintenance.
type Trace struct {
	Annotations map[string]string
	OnPage      bool // some slot of it points at a page set
	// Kept are its backup and its origin, and the page sets that it points at. An
	// annotation may have been taken off; theirs are still there.
	Kept []metav1.Object
}

// Other gives the id of another installation that has a target in maintenance, or is
// about to; empty if none has. An id alone, with nothing else beside it, says nothing:
// it is a leftover.
func (i Installation) Other(t Trace) string {
	status := annotations.StatusOf(t.Annotations)
	id := status.Installation
	if !t.OnPage && len(t.Kept) == 0 && status.State == "" && status.PageSet == "" && status.Original == "" {
		return ""
	}
	for _, kept := range t.Kept {
		if id == "" {
			id = Of(kept)
		}
	}
	if i.Owns(id) {
		return ""
	}
	return id
}

// Of gives the id that an object carries, empty if none.
func Of(object metav1.Object) string { return object.GetAnnotations()[annotations.Installation] }

// Mark puts the id on an object that is about to be written, unless it carries one.
// The label is for selectors; an id may be too long for one, and is hashed there.
func (i Installation) Mark(object metav1.Object) {
	if i.ID != "" && Of(object) == "" {
		mark(object, i.ID)
	}
}

// Inherit puts the id of an object on what is made for it.
func Inherit(from, to metav1.Object) {
	if id := Of(from); id != "" {
		mark(to, id)
	}
}

func mark(object metav1.Object, id string) {
	all, labels := map[string]string{}, map[string]string{}
	for key, value := range object.GetAnnotations() {
		all[key] = value
	}
	for key, value := range object.GetLabels() {
		labels[key] = value
	}
	all[annotations.Installation], labels[annotations.Installation] = id, Label(id)
	object.SetAnnotations(all)
	object.SetLabels(labels)
}

// Label is the value of the label that stands for an id.
func Label(id string) string { return sum(id)[:16] }

// SetName names the page set of the content with this hash. Two installations never
// share a name, so that each can keep its sets as its own settings say.
func (i Installation) SetName(hash string) string { return setName(i.ID, hash) }

func setName(id, hash string) string {
	if id == "" || id == Default {
		return page.SetName(hash)
	}
	return page.SetName(sum(hash + "\n" + id))
}

// Names says whether a page set that carries this id may have this name. It may have
// the name without an id in it if it was made before installations had ids.
func Names(id, hash, name string) bool {
	return name == page.SetName(hash) || name == setName(id, hash)
}

func sum(text string) string {
	all := sha256.Sum256([]byte(text))
	return hex.EncodeToString(all[:])
}

// Check says why a text cannot be an id.
func Check(id string) error {
	switch {
	case id == "" || len(id) > maxID:
		return fmt.Errorf("%d bytes: give 1 to %d", len(id), maxID)
	case !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) || r == ',' }):
		return fmt.Errorf("%q has what cannot be printed, a space or a comma", annotations.Clip(id))
	default:
		return nil
	}
}
