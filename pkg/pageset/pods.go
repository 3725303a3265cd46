package pageset

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"maintenance-controller.io/pkg/annotations"
)

// PodChange is what to do about the Pods of a set.
type PodChange struct {
	Create int
	Delete []*corev1.Pod
	// Failed are those of Delete that ended by themselves: new ones may do the same.
	Failed []*corev1.Pod
	// Ready says that as many current Pods as wanted are ready.
	Ready bool
}

// ChangePods keeps replicas Pods of the current template alive.
//
//	gone or failed                     → deleted (its name is not used again) and replaced
//	of an older template               → replaced first, deleted when enough current ones are ready
//	more current ones than wanted      → the newest that are not ready go first
//	current and starting               → waited for, never doubled
func ChangePods(own []*corev1.Pod, template string, replicas int) PodChange {
	var change PodChange
	var current, outdated []*corev1.Pod
	for _, p := range own {
		switch {
		case p.DeletionTimestamp != nil: // on its way out
		case !Lives(p):
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
	// An outdated Pod that serves nobody makes room for a current one, should
	// the namespace's quota be what keeps that from starting.
	for _, p := range outdated {
		if !Ready(p) {
			change.Delete = append(change.Delete, p)
		}
	}
	return change
}

// keepFirst orders ready Pods before others, then older before newer.
func keepFirst(a, b *corev1.Pod) int {
	if ra, rb := Ready(a), Ready(b); ra != rb {
		if ra {
			return -1
		}
		return 1
	}
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}
