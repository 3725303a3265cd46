// Package notice turns what decisions report into Events: a transition each time, and a
// warning once, until it is over and occurs again.
package notice

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"maintenance-controller.io/pkg/annotations"
)

// Notice is reported to people, on the object that it is about.
type Notice struct {
	Warning bool   // somebody should look; otherwise it is a transition
	Reason  string // in UpperCamelCase
	Message string // cut to one line of at most annotations.MaxMessage bytes
}

// Board reports notices about objects, which keys of type K name. It is safe for concurrent
// use.
type Board[K comparable] struct {
	recorder record.EventRecorder
	mu       sync.Mutex
	warnings map[K]currentWarnings
}

// currentWarnings are the warnings that last, of one object: a new object of the same name
// has none yet.
type currentWarnings struct {
	uid      types.UID
	warnings map[Notice]bool
}

// New gives an empty Board that reports to the recorder.
func New[K comparable](recorder record.EventRecorder) *Board[K] {
	return &Board[K]{recorder: recorder, warnings: map[K]currentWarnings{}}
}

// Post reports everything there is to report about an object now. A warning that was among
// the notices the last time is not repeated; one that is no longer among them is over.
func (b *Board[K]) Post(key K, about *corev1.ObjectReference, notices []Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.warnings[key]
	if before.uid != about.UID {
		before = currentWarnings{}
	}
	now := map[Notice]bool{}
	for _, n := range notices {
		n.Message = annotations.Line(n.Message, annotations.MaxMessage)
		eventType := corev1.EventTypeNormal
		if n.Warning {
			eventType = corev1.EventTypeWarning
			if now[n] = true; before.warnings[n] {
				continue
			}
		}
		b.recorder.Event(about, eventType, n.Reason, n.Message)
	}
	if len(now) == 0 {
		delete(b.warnings, key)
	} else {
		b.warnings[key] = currentWarnings{uid: about.UID, warnings: now}
	}
}

// Forget drops a deleted object: everything about a new object of the same name is reported
// again.
func (b *Board[K]) Forget(key K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.warnings, key)
}
