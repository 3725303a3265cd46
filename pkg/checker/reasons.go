package checker

import "maintenance-controller.io/pkg/reason"

// Reason of an Event on a ServiceChecker.
type Reason string

// Reasons of Events. Function Reasons documents them.
const (
	CriticalServiceDown Reason = "CriticalServiceDown"
	CriticalServiceUp   Reason = "CriticalServiceUp"
	ServiceNotJudged    Reason = "ServiceNotJudged"
	InvalidService      Reason = "InvalidService"
)

// Reasons lists all reasons, in the order of the generated table.
func Reasons() []reason.About[Reason] {
	return []reason.About[Reason]{
		{Reason: CriticalServiceDown, Warning: true, Meaning: "a critical service counts as down: it has not been ready for `spec.for`",
			Remedy: "the message names the Service and the reason: check its Pods"},
		{Reason: CriticalServiceUp, Meaning: "a critical service counts as up again: it has been ready for `spec.recoverFor`",
			Remedy: "–"},
		{Reason: ServiceNotJudged, Warning: true, Meaning: "a service counts as up because its endpoints do not show whether it can serve: it is an ExternalName, has no selector, or publishes addresses that are not ready",
			Remedy: "list a Service that has a selector, or remove the entry"},
		{Reason: InvalidService, Warning: true, Meaning: "an entry of `spec.services` cannot be watched: it is in another namespace and `--checkers-across-namespaces` is off, in a namespace that `--watch-namespaces` does not include, or listed twice. Or another CRD of this name is installed",
			Remedy: "fix what the message names"},
	}
}

// warning reports whether Events with this reason are warnings.
func (r Reason) warning() bool {
	return reason.Warns(Reasons(), r)
}
