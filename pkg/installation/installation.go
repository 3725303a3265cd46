// Package installation distinguishes the installations of the controller in one cluster.
// Each has an id, which is written on everything it makes and on the targets that it has in
// maintenance; whatever carries another id belongs to another installation and is left
// alone.
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

// Default is the id of an installation made by the manifests: namespace and name of its
// Lease.
const Default = "maintenance-system/maintenance-controller"

// maxID limits an id in bytes: there is room for a namespace and a name.
const maxID = 63 + len("/") + 253

// ErrOther is returned for an object that belongs to another installation.
var ErrOther = errors.New("it belongs to another installation")

// Installation is a controller with all its replicas. The zero value has no id: it marks
// nothing, and everything counts as its own.
type Installation struct {
	ID      string   // see Check; empty for no installation in particular
	Adopted []string // ids of installations that it has taken over from
}

// Owns says whether an object with this id is the installation's: the id is its own, an
// adopted one, or empty, as on everything made before ids existed.
func (i Installation) Owns(id string) bool {
	return i.ID == "" || id == "" || id == i.ID || slices.Contains(i.Adopted, id)
}

// Trace is what a target and its companions show about who has it in maintenance.
type Trace struct {
	Annotations map[string]string // of the target
	OnPage      bool              // some slot points at a page set
	// Kept are its backup and origin Service, and the page sets that it points at. The
	// target's own annotation may have been removed; theirs are still there.
	Kept []metav1.Object
}

// Other gives the id of another installation that has a target in maintenance or is about
// to; empty if none has. An id without anything else is a leftover and says nothing.
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

// Of gives the id that an object carries; empty for none.
func Of(object metav1.Object) string { return object.GetAnnotations()[annotations.Installation] }

// Mark puts the id on an object that is about to be written, unless it carries one already.
// The label is for selectors and holds a hash, because an id may be too long for a label.
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

// SetName names the page set of the content with this hash. Two installations never share a
// name, so each can keep its sets as its own settings say.
func (i Installation) SetName(hash string) string { return setName(i.ID, hash) }

func setName(id, hash string) string {
	if id == "" || id == Default {
		return page.SetName(hash)
	}
	return page.SetName(sum(hash + "\n" + id))
}

// ValidSetName says whether a page set with this id may have this name: the one that
// includes the id, or, if it was made before ids existed, the one that does not.
func ValidSetName(id, hash, name string) bool {
	return name == page.SetName(hash) || name == setName(id, hash)
}

func sum(text string) string {
	all := sha256.Sum256([]byte(text))
	return hex.EncodeToString(all[:])
}

// Check says why a text cannot be an id: it is empty, longer than 317 bytes, or contains an
// unprintable character, a space or a comma.
func Check(id string) error {
	switch {
	case id == "" || len(id) > maxID:
		return fmt.Errorf("%d bytes: use 1 to %d", len(id), maxID)
	case !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) || r == ',' }):
		return fmt.Errorf("%q has an unprintable character, a space or a comma", annotations.Clip(id))
	default:
		return nil
	}
}
