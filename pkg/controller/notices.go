package controller

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/record"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/target"
)

// notices turn what decisions say into Events: a transition each time, a
// warning once, until it is over and comes again.
type notices struct {
	recorder record.EventRecorder
	mu       sync.Mutex
	told     map[target.Ref]map[plan.Event]bool
}

func (n *notices) tell(ref target.Ref, object *unstructured.Unstructured, events []plan.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.told[ref]
	now := map[plan.Event]bool{}
	about := &corev1.ObjectReference{
		APIVersion: object.GetAPIVersion(), Kind: object.GetKind(), Namespace: ref.Namespace, Name: ref.Name,
		UID: object.GetUID(), ResourceVersion: object.GetResourceVersion(),
	}
	for _, e := range events {
		e.Message = annotations.Line(e.Message, annotations.MaxMessage)
		eventType := corev1.EventTypeNormal
		if e.Reason.Warning() {
			eventType = corev1.EventTypeWarning
			if now[e] = true; before[e] {
				continue
			}
		}
		n.recorder.Event(about, eventType, string(e.Reason), e.Message)
	}
	if len(now) == 0 {
		delete(n.told, ref)
	} else {
		n.told[ref] = now
	}
}

func (n *notices) forget(ref target.Ref) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.told, ref)
}
