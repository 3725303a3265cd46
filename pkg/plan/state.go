// Package plan decides what to do about a target: State in, Decision out. It
// reads no clock, no cluster and no memory of its own.
package plan

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// Settings are the waits of the controller's configuration.
type Settings struct {
	// Lead is how long a page must have had endpoints before visitors are sent to it:
	// there is no order between watches of different kinds, and who hears of the swap
	// before the endpoints finds nobody there. 0 is no wait.
	Lead time.Duration
	// Settle is how long after a swap ingress controllers have surely followed, and
	// SettleByClass how long those of an ingress class have, in its place. 0 is at once.
	Settle        time.Duration
	SettleByClass map[string]time.Duration
	// ReadyTimeout, if above 0, swaps to a page that has not come up in that
	// time: visitors then meet the ingress controller's own error. 0 is never.
	ReadyTimeout time.Duration
}

// Page is what the page that a target asks for has been found to be.
type Page struct {
	// Set is the name of the page set of its content, and Hash the content's in full.
	Set, Hash string
	// Name of the page that is shown: the one asked for, or the default page in its place.
	Name string
	// Problem says why the page asked for cannot be had; empty if it can.
	Problem string
	// Broken says which formats of the page that is shown are the default page's
	// because its own cannot be used, and why; empty if there are none.
	Broken string
	// Rivals says that the page is there more than once; empty if it is not.
	Rivals string
}

// Memory is what is remembered of a target between two decisions. To lose it
// costs time, never correctness.
type Memory struct {
	UID          types.UID // of the object it is of: who is made anew under the name has none
	WaitingSince time.Time // for the page to serve
	AwaySince    time.Time // when the page that visitors are on was first seen not to serve
	SwitchedAt   time.Time // last swap, or when it was first seen
	SwitchedTo   string    // the page set of SwitchedAt
	Reverts      int       // in a row, each within quiet of the swap before
	ResumeAt     time.Time // when a reverted target is swapped again; zero if nothing is put off
	Undone       bool      // what was swapped last was put back in the same request
	Since        string    // when maintenance began, RFC 3339
	Followers    string    // who had seen the object before the swap and so can show that he has seen it, one a line
	Refusing     string    // who refused it before, one a line
	FollowedAt   time.Time // when all of the followers had seen the swap; zero if not yet
	Unsaid       string    // digest of the status that a webhook did not let be stored
	UnsaidAt     time.Time // when it was last put off for that
	Insisted     string    // digest of the slots that a webhook wants as they are, beside what the page has
	ByItself     string    // why maintenance began by itself; empty if a person asked for it
}

// of gives the memory if it is of this object, and an empty one if it is of an earlier one.
func (m Memory) of(uid types.UID) Memory {
	if m.UID == uid {
		return m
	}
	return Memory{}
}

// kept gives the memory as of this object; one of nothing stays the zero value.
func (m Memory) kept(uid types.UID) Memory {
	if m.UID = ""; m != (Memory{}) {
		m.UID = uid
	}
	return m
}

// State is all that a decision stands on.
type State struct {
	Now      time.Time
	Settings Settings
	Request  annotations.Request
	Problems []annotations.Problem
	// Wanted is what is wanted now, and Keys are those that a request is taken off by.
	Wanted wanted.Answer
	Keys   annotations.Keys
	// Gate is what the end of maintenance waits for; nil is nothing.
	Gate *Gate
	// Object is the raw target as just read from the API server, Slots its slots,
	// and Notes what its kind has to say of it.
	Kind   target.Kind
	Object map[string]any
	Slots  []swap.Slot
	Notes  target.Notes
	// Front is what to tell of what stands in front of a target that is not on a page yet.
	Front []Event
	// Classes are the ingress classes of the target, as far as they are known.
	Classes []string
	// Refused are the fields of slots that the API server does not let be restored, and
	// why: see Refuse.
	Refused map[string]string
	Page    Page
	// Access is who is let through to the target's apps.
	Access Access
	// Sets are the states of the page sets that may matter: the wanted one and
	// the one that the target is on. One that is missing here is absent.
	Sets map[string]pageset.Status
	// Backup is the second copy of the originals, nil if there is none.
	Backup *Backup
	// Origin is the Service that leads to the app meanwhile, nil if there is none.
	Origin *corev1.ServiceSpec
	Memory Memory
	// Installation is the id that is written on the target with all else; empty for none.
	Installation string
	// Other is the id of another installation that has the target in maintenance, or
	// is about to; empty if none has.
	Other string
}

// Backup is the second copy of the originals.
type Backup struct {
	Set    string
	Record swap.Record
	// Unread says why the record cannot be read; empty if it can. It is not an empty
	// record: nobody knows what is in it.
	Unread string
}

// Decision is what to do now: write the backup and the origin Service if there
// are any to write, then update the target, then drop them, then tell.
type Decision struct {
	// WriteBackup is to be stored before Update is sent.
	WriteBackup *Backup
	// WriteOrigin is to be there before Update is sent.
	WriteOrigin *corev1.ServiceSpec
	// Update is the changed target, to be sent with the resourceVersion that was read; nil if nothing changes.
	Update map[string]any
	// DropBackup and DropOrigin are decided only when no slot points at a page set any more.
	DropBackup, DropOrigin bool
	// Claims are the page sets that must stay for this target's sake.
	Claims []string
	Events []Event
	// After is when to look again although nothing has changed; 0 for never.
	After  time.Duration
	Memory Memory
}
