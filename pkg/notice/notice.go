// Package notice turns what decisions say into Events: a transition each time, a
// warning once, until it is over and comes again.
package notice

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"maintenance-controller.io/pkg/annotations"
)

// Notice is told to people, on the object that it is about.
type Notice struct {
	Warning bool
	Reason  string
	Message string // one line of at most annotations.MaxMessage bytes is told of it
}

// Board tells notices about objects, which keys of type K name.
type Board[K comparable] struct {
	recorder record.EventRecorder
	mu       sync.Mutex
	told     map[K]told
}

// told are the warnings that last, of one object: one that is made anew under its name
// has heard none.
type told struct {
	uid      types.UID
	warnings map[Notice]bool
}

// New gives a Board on which nothing has been told yet.
func New[K comparable](recorder record.EventRecorder) *Board[K] {
	return &Board[K]{recorder: recorder, told: map[K]told{}}
}

// Tell says all that there is to say about an object now. A warning that was said
// the last time is not repeated; one that is not among the notices is over.
func (b *Board[K]) Tell(key K, about *corev1.ObjectReference, notices []Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.told[key]
	if before.uid != about.UID {
		before = told{}
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
		delete(b.told, key)
	} else {
		b.told[key] = told{uid: about.UID, warnings: now}
	}
}

// Forget an object that is gone: whatever is said of its namesake is new.
func (b *Board[K]) Forget(key K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.told, key)
}
