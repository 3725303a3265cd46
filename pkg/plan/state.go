// Package plan decides what to do about a target: State in, Decision out. It reads no clock
// and no cluster, and has no memory of its own.
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

// Settings are the waiting times that the controller is configured with.
type Settings struct {
	// Lead (--page-lead-time) is how long a page must have had endpoints before visitors
	// are sent to it. Watches of different kinds are not ordered: an ingress controller
	// that hears of the swap before it hears of the endpoints would find nobody there. 0
	// does not wait.
	Lead time.Duration
	// Settle (--settle-time) is how long after a swap ingress controllers have surely
	// followed. SettleByClass replaces it for objects of an ingress class. 0 makes a target
	// active at once.
	Settle        time.Duration
	SettleByClass map[string]time.Duration
	// ReadyTimeout is how long to wait for a page that does not serve. After that its
	// targets are swapped all the same, and visitors get the ingress controller's own
	// error. 0 waits for ever.
	ReadyTimeout time.Duration
}

// Page is the page of a target, as it was found.
type Page struct {
	// Set is the name of the page set that shows its content; Hash is the full hash of the
	// content.
	Set, Hash string
	// Name of the page that is shown: the requested one, or the default page in its place.
	Name string
	// Problem says why the requested page is not available; empty if it is.
	Problem string
	// Broken says which formats of the page cannot be used, and why: the default page is
	// shown in these. Empty if there are none.
	Broken string
	// Rivals says which other ConfigMaps hold the page too; empty if there is only one.
	Rivals string
}

// Memory is what the controller remembers of a target between two decisions. Losing it
// costs time, never correctness.
type Memory struct {
	UID            types.UID // of the object it belongs to: a new object of the same name starts without
	WaitingSince   time.Time // when the wait for the page began; zero if the target does not wait
	AwaySince      time.Time // when the page that visitors are on was first found not to serve; zero if it serves
	SwitchedAt     time.Time // when the last swap was made, or first found after a restart
	SwitchedTo     string    // the page set of that swap; empty if there was none
	Reverts        int       // reverts in a row, each within revertWindow of the swap before
	ResumeAt       time.Time // when a reverted target is swapped again; zero if no swap is due
	SwapUndone     bool      // a webhook reverted the last swap in the same request
	Since          string    // when maintenance began, RFC 3339; empty if it has not
	Followers      string    // controllers that had observed the object before the swap and can show that they observed it, one a line
	Refusing       string    // controllers that rejected the object before the swap, one a line
	FollowedAt     time.Time // when all followers had observed the swap; zero if they have not
	UnstoredStatus string    // digest of the status that a webhook did not let be stored; empty if all was stored
	UnstoredAt     time.Time // when writing that status was last postponed
	KeptByWebhook  string    // digest of the slots in which a webhook adds to the page's value; empty for none
	AutoCause      string    // why maintenance began automatically; empty if a person asked for it
}

// forObject gives the memory if it belongs to this object, and an empty one if it belongs
// to an earlier one.
func (m Memory) forObject(uid types.UID) Memory {
	if m.UID == uid {
		return m
	}
	return Memory{}
}

// stamped marks the memory as belonging to this object. A memory of nothing stays the zero
// value.
func (m Memory) stamped(uid types.UID) Memory {
	if m.UID = ""; m != (Memory{}) {
		m.UID = uid
	}
	return m
}

// State is everything that a decision is based on.
type State struct {
	Now      time.Time             // the time of the decision
	Settings Settings              // of the controller
	Request  annotations.Request   // what the target's annotations ask for
	Problems []annotations.Problem // mistakes in these annotations
	// Wanted says whether the target should be in maintenance now; Keys are the annotations
	// to remove a request by.
	Wanted wanted.Answer
	Keys   annotations.Keys
	// Gate is what the end of maintenance waits for; nil does not wait.
	Gate *Gate
	// Object is the raw target as just read from the API server, Slots its slots, and Notes
	// what its kind reports about it.
	Kind   target.Kind
	Object map[string]any
	Slots  []swap.Slot
	Notes  target.Notes
	// Front are the events about what stands in front of a target that is not on a page
	// yet.
	Front []Event
	// Classes are the target's ingress classes, as far as they are known.
	Classes []string
	// RefusedFields are the fields of slots that the API server refuses to restore, with
	// its reasons: see ExcludeRefused.
	RefusedFields map[string]string
	Page          Page // the page that the target asks for
	// Access is the bypass: who is let through to the target's apps.
	Access Access
	// Sets are the states of the page sets that matter: the wanted one and the one that the
	// target is on. A set that is missing here is absent.
	Sets map[string]pageset.Status
	// Backup is the second copy of the originals; nil if there is none.
	Backup *Backup
	// Origin is the Service that leads to the app during maintenance; nil if there is none.
	Origin *corev1.ServiceSpec
	Memory Memory // that the last decision left
	// Installation is the id of this installation, which is written on the target together
	// with other changes; empty for none.
	Installation string
	// OtherInstallation is the id of another installation that has the target in
	// maintenance or is about to; empty if none has.
	OtherInstallation string
}

// Backup is the second copy of the originals.
type Backup struct {
	Set    string      // name of the page set that the target was on
	Record swap.Record // of the originals; empty if ReadError is set
	// ReadError says why the record cannot be read; empty if it can. An unreadable record
	// is not an empty one: its content is unknown.
	ReadError string
}

// Decision is what to do now, in this order: write the backup and the origin Service,
// update the target, delete what is to be dropped, then report the events.
type Decision struct {
	// WriteBackup must be stored before Update is sent; nil if it is up to date.
	WriteBackup *Backup
	// WriteOrigin must exist before Update is sent; nil if it is up to date.
	WriteOrigin *corev1.ServiceSpec
	// Update is the changed target, to be sent with the resourceVersion that was read; nil
	// if nothing changes.
	Update map[string]any
	// DropBackup and DropOrigin are true only when no slot points at a page set any more.
	DropBackup, DropOrigin bool
	// Claims are the page sets that must exist for this target.
	Claims []string
	Events []Event // to report on the target
	// After is when to decide again although nothing has changed; 0 for never.
	After  time.Duration
	Memory Memory // for the next decision
}
