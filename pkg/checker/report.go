package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/apis/v1alpha1"
)

// maxNamedServices bounds the services that a condition's message describes.
const maxNamedServices = 3

// status returns the status that a checker should have: the observed services, and conditions that
// keep the time of their last change. Conditions of other writers stay.
func status(generation int64, entries []entry, wrong string, before []metav1.Condition, now time.Time) v1alpha1.ServiceCheckerStatus {
	s := v1alpha1.ServiceCheckerStatus{ObservedGeneration: generation}
	ready := 0
	for i := range entries {
		one := entries[i].status()
		if one.Ready {
			ready++
		}
		s.Services = append(s.Services, one)
	}
	s.ReadyServices = fmt.Sprintf("%d/%d", ready, len(entries))
	for _, c := range before {
		s.Conditions = append(s.Conditions, *c.DeepCopy())
	}
	for _, c := range []metav1.Condition{available(entries, wrong), degraded(entries, wrong)} {
		c.ObservedGeneration = generation
		c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		c.Message = annotations.ClipTo(c.Message, annotations.MaxMessage)
		meta.SetStatusCondition(&s.Conditions, c)
	}
	return s
}

// available considers critical services only:
//
//	one counts as down          False
//	else one is unknown         Unknown
//	else                        True
func available(entries []entry, wrong string) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.Available, Status: metav1.ConditionTrue, Reason: v1alpha1.AllUp, Message: "no critical service counts as down"}
	critical := func(e *entry) bool { return e.Critical }
	down, unknown := filter(entries, v1alpha1.Down, critical), filter(entries, v1alpha1.Unknown, critical)
	switch {
	case wrong != "":
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.InvalidService, wrong
	case len(down) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.CriticalServiceDown, describe(down)
	case len(unknown) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, reasonOf(unknown), describe(unknown)
	}
	return c
}

// degraded considers all services:
//
//	one counts as down          True
//	else one cannot be watched  True
//	else one is unknown         Unknown
//	else                        False
func degraded(entries []entry, wrong string) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.Degraded, Status: metav1.ConditionFalse, Reason: v1alpha1.AllUp, Message: "no service counts as down"}
	whichever := func(*entry) bool { return true }
	down, unknown := filter(entries, v1alpha1.Down, whichever), filter(entries, v1alpha1.Unknown, whichever)
	invalid := filter(entries, v1alpha1.Unknown, func(e *entry) bool { return e.invalid != "" })
	switch {
	case wrong != "":
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.InvalidService, wrong
	case len(down) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ServiceDown, describe(down)
	case len(invalid) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.InvalidService, describe(invalid)
	case len(unknown) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.NotKnown, describe(unknown)
	}
	return c
}

func reasonOf(unknown []*entry) string {
	if slices.ContainsFunc(unknown, func(e *entry) bool { return e.invalid != "" }) {
		return v1alpha1.InvalidService
	}
	return v1alpha1.NotKnown
}

func filter(entries []entry, state v1alpha1.ServiceState, of func(*entry) bool) []*entry {
	var found []*entry
	for i := range entries {
		if e := &entries[i]; e.state() == state && of(e) {
			found = append(found, e)
		}
	}
	return found
}

func describe(entries []*entry) string {
	var all []string
	for _, e := range entries[:min(len(entries), maxNamedServices)] {
		all = append(all, e.sentence())
	}
	text := strings.Join(all, "; ")
	if more := len(entries) - maxNamedServices; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// sameStatus reports whether two statuses do not differ in anything that is worth a write.
func sameStatus(a, b v1alpha1.ServiceCheckerStatus) bool {
	return a.ObservedGeneration == b.ObservedGeneration && a.ReadyServices == b.ReadyServices &&
		slices.EqualFunc(a.Services, b.Services, sameService) && slices.EqualFunc(a.Conditions, b.Conditions, sameCondition)
}

func sameService(a, b v1alpha1.ServiceStatus) bool {
	samePort := a.Port == nil && b.Port == nil || a.Port != nil && b.Port != nil && *a.Port == *b.Port
	sameTime := a.Since.Equal(&b.Since)
	a.Port, b.Port, a.Since, b.Since = nil, nil, metav1.Time{}, metav1.Time{}
	return samePort && sameTime && a == b
}

func sameCondition(a, b metav1.Condition) bool {
	at, bt := a.LastTransitionTime, b.LastTransitionTime
	a.LastTransitionTime, b.LastTransitionTime = metav1.Time{}, metav1.Time{}
	return a == b && at.Equal(&bt)
}
