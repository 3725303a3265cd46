package pageset

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"maintenance-controller.io/pkg/annotations"
)

// PodChange is what to do about the Pods of a set.
type PodChange struct {
	Create int           // how many Pods to create
	Delete []*corev1.Pod // Pods to delete
	// Failed are those of Delete that ended on their own: new Pods may do the same.
	Failed []*corev1.Pod
	// Ready says that as many current Pods as wanted are ready.
	Ready bool
}

// ChangePods keeps the given number of Pods of the current template alive. own are all Pods
// of the set.
//
//	ended or failed                    → deleted (its name is not used again) and replaced
//	of an older template               → replaced first, deleted when enough current ones are ready
//	more current ones than wanted      → deleted, beginning with the newest that are not ready
//	current and starting               → awaited, never created twice
func ChangePods(own []*corev1.Pod, template string, replicas int) PodChange {
	var change PodChange
	var current, outdated []*corev1.Pod
	for _, p := range own {
		switch {
		case p.DeletionTimestamp != nil: // already being deleted
		case !Alive(p):
			change.Delete = append(change.Delete, p)
			change.Failed = append(change.Failed, p)
		case p.Annotations[annotations.Template] == template:
			current = append(current, p)
		default:
			outdated = append(outdated, p)
		}
	}
	change.Create = max(0, replicas-len(current))
	slices.SortFunc(current, keepFirst)
	ready := 0
	for _, p := range current {
		if Ready(p) {
			ready++
		}
	}
	if len(current) > replicas {
		change.Delete = append(change.Delete, current[replicas:]...)
	}
	if change.Ready = ready >= replicas; change.Ready {
		change.Delete = append(change.Delete, outdated...)
		return change
	}
	// An outdated Pod that serves nobody makes room for a current one, in case the
	// namespace's quota keeps that one from starting.
	for _, p := range outdated {
		if !Ready(p) {
			change.Delete = append(change.Delete, p)
		}
	}
	return change
}

// keepFirst sorts ready Pods before others, then older before newer.
func keepFirst(a, b *corev1.Pod) int {
	if ra, rb := Ready(a), Ready(b); ra != rb {
		if ra {
			return -1
		}
		return 1
	}
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}
