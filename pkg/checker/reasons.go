package checker

import "slices"

// Reason of an Event on a ServiceChecker.
type Reason string

// The reasons. Reasons says what each means.
const (
	CriticalServiceDown Reason = "CriticalServiceDown"
	CriticalServiceUp   Reason = "CriticalServiceUp"
	ServiceNotJudged    Reason = "ServiceNotJudged"
	InvalidService      Reason = "InvalidService"
)

// About says what a reason tells people.
type About struct {
	Reason Reason
	// Warning says that somebody should look; otherwise it is told as it happens.
	Warning bool
	// Meaning, and what to do about it, as the documentation has them.
	Meaning, Remedy string
}

// Reasons is the whole list, in the order of the table that is made of it.
func Reasons() []About {
	return []About{
		{Reason: CriticalServiceDown, Warning: true, Meaning: "a critical service counts as down: it was not ready for `spec.for`",
			Remedy: "the message names the Service and says why it is not ready: look at its Pods"},
		{Reason: CriticalServiceUp, Meaning: "it counts as up again: it was ready for `spec.recoverFor`",
			Remedy: "–"},
		{Reason: ServiceNotJudged, Warning: true, Meaning: "nobody can tell whether a service can serve, which is an ExternalName, has no selector or publishes addresses that are not ready: it counts as up",
			Remedy: "name a Service with a selector, or take it off the list"},
		{Reason: InvalidService, Warning: true, Meaning: "an entry of `spec.services` cannot be watched: another namespace without `--checkers-across-namespaces`, one that `--watch-namespaces` leaves out, or a Service that an entry before it names already. Or another CRD of this name is installed",
			Remedy: "do what the message says"},
	}
}

// warning says whether events of this reason are warnings.
func (r Reason) warning() bool {
	return slices.ContainsFunc(Reasons(), func(a About) bool { return a.Reason == r && a.Warning })
}
