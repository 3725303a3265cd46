package plan

import (
	"fmt"

	"maintenance-controller.io/pkg/reason"
)

// Reason is the reason of an Event: what happened, in UpperCamelCase.
type Reason string

// The reasons; Reasons says what each means.
const (
	MaintenanceStarted   Reason = "MaintenanceStarted"
	MaintenanceEnded     Reason = "MaintenanceEnded"
	PageChanged          Reason = "PageChanged"
	PageNotReady         Reason = "PageNotReady"
	PageNotFound         Reason = "PageNotFound"
	InvalidAnnotation    Reason = "InvalidAnnotation"
	UnknownAnnotation    Reason = "UnknownAnnotation"
	UntilPassed          Reason = "UntilPassed"
	LeaseNotHeld         Reason = "LeaseNotHeld"
	NothingToSwap        Reason = "NothingToSwap"
	BackendSkipped       Reason = "BackendSkipped"
	PageHidden           Reason = "PageHidden"
	RolloutStalled       Reason = "RolloutStalled"
	BackendReverted      Reason = "BackendReverted"
	BackendLost          Reason = "BackendLost"
	NameConflict         Reason = "NameConflict"
	InstallationConflict Reason = "InstallationConflict"
	RestoreFailed        Reason = "RestoreFailed"
	RouteRejected        Reason = "RouteRejected"
	SwapNotObserved      Reason = "SwapNotObserved"
	LongMaintenance      Reason = "LongMaintenance"
	BypassUnavailable    Reason = "BypassUnavailable"
	BypassFailing        Reason = "BypassFailing"
	ReadinessUnknown     Reason = "ReadinessUnknown"
	RestoreTimedOut      Reason = "RestoreTimedOut"
)

// Reasons lists all reasons in the order of the table in docs/reference.md, which is generated from it.
func Reasons() []reason.About[Reason] {
	return []reason.About[Reason]{
		{Reason: MaintenanceStarted, Meaning: "the backends point at the page",
			Remedy: "–"},
		{Reason: MaintenanceEnded, Meaning: "the backends are restored and the annotations removed",
			Remedy: "–"},
		{Reason: PageChanged, Meaning: "another page, or another version of it, is shown",
			Remedy: "–"},
		{Reason: PageNotReady, Warning: true, Meaning: "the page Pods cannot start, or the API server refuses the change; visitors still get the app. Or the page that visitors are sent to has not served for 10 s: the message says which",
			Remedy: "read the message: a quota, an admission policy, an image that cannot be pulled (`--page-image`, `--page-image-pull-secrets`), no node with room. The controller keeps trying"},
		{Reason: PageNotFound, Warning: true, Meaning: "the requested page is missing or invalid: visitors get its last good version, or the default page. Or one of its formats is invalid: visitors get the default page in that format",
			Remedy: "the message names the ConfigMap and the key"},
		{Reason: InvalidAnnotation, Warning: true, Meaning: "a value is not valid, or the annotations (256 KiB in all) have no room left for the originals: those of backends that no longer exist are then dropped, oldest first",
			Remedy: "correct the value; remove large annotations"},
		{Reason: UnknownAnnotation, Warning: true, Meaning: "an unknown key under `maintenance/`, for example a typo",
			Remedy: "correct or remove it"},
		{Reason: UntilPassed, Warning: true, Meaning: "`maintenance/until` has passed: maintenance does not begin, or ended before the page could be shown, or ended but the request cannot be removed because something that applies it would set it again",
			Remedy: "set a later `maintenance/until`, or remove the annotations from what is applied. See [when maintenance ends by itself](until.md)"},
		{Reason: LeaseNotHeld, Warning: true, Meaning: "a Lease named in `maintenance/lease` does not exist, lacks the label `maintenance/lease`, has no duration, or cannot be read; or none of them is renewed, so maintenance does not begin",
			Remedy: "see [when maintenance ends by itself](until.md#as-long-as-a-lease-is-renewed)"},
		{Reason: NothingToSwap, Warning: true, Meaning: "the target has no backend that can be swapped",
			Remedy: "see [What is left alone](compatibility.md#what-is-left-alone); put the annotation on the object that has the backends"},
		{Reason: BackendSkipped, Warning: true, Meaning: "a part of the target is left as it is: a port that does not speak HTTP, a backend that could not be restored, or one that the AWS load balancer controller refers to by name",
			Remedy: "nothing, or see [Services](services.md) and [What is left alone](compatibility.md#what-is-left-alone)"},
		{Reason: PageHidden, Warning: true, Meaning: "something in front of the page is known to hide it or to repeat requests, for example a Traefik circuitBreaker or a filter of a route, or it could not be checked. Checked when maintenance begins",
			Remedy: "see [What stands in front of a page](in-front.md)"},
		{Reason: RolloutStalled, Warning: true, Meaning: "a tool (Argo Rollouts, Flagger) looks for the app's Service among the backends and stops until it is back",
			Remedy: "finish or pause the rollout; it continues after maintenance"},
		{Reason: BackendReverted, Warning: true, Meaning: "somebody changed backends during maintenance, to the app or to something other than the page; they are swapped again",
			Remedy: "see [GitOps](gitops.md)"},
		{Reason: BackendLost, Warning: true, Meaning: "no original is known for a backend that points at a page set, because both copies were deleted, or because one edit renamed or moved several backends and their originals cannot be told apart",
			Remedy: "set that backend yourself; it keeps the page until then"},
		{Reason: NameConflict, Warning: true, Meaning: "a foreign object has the name of a page set or backup; or several ConfigMaps hold the same page. On a ConfigMap: another one holds the page too, or it holds a page called `default` outside the controller's namespace",
			Remedy: "rename or delete the object that the message names"},
		{Reason: InstallationConflict, Warning: true, Meaning: "two installations of the controller are asked for the same target: the installation that the message names has it, the other leaves it alone",
			Remedy: "see [Two installations in one cluster](operations.md#two-installations-in-one-cluster)"},
		{Reason: RestoreFailed, Warning: true, Meaning: "a copy of the originals cannot be read and is left as it is; or the API server refuses the restore; or the object has an unknown shape",
			Remedy: "read the message: an unreadable copy may come from a later version of the controller, or can be repaired by [hand](restore.md#restore-by-hand); everything else is retried until it succeeds"},
		{Reason: RouteRejected, Warning: true, Meaning: "now that the route leads to the page, a Gateway's controller reports that it does not accept the route or cannot resolve its backends",
			Remedy: "read the message, which quotes the controller. The route stays swapped, and the state becomes `active` once the route is accepted"},
		{Reason: SwapNotObserved, Warning: true, Meaning: "a Gateway's controller has not observed the swap within ten times the settle time; the state is `active` all the same",
			Remedy: "check that the controller that the message names works; its visitors may get the app until it has followed"},
		{Reason: LongMaintenance, Warning: true, Meaning: "on for 24 h, and again at 48 h",
			Remedy: "search engines drop pages that answer 503 for longer than a day or two"},
		{Reason: BypassUnavailable, Warning: true, Meaning: "the bypass does not reach an app: the message names its backend and says why. Everybody gets the page there",
			Remedy: "see [Who is let through](access.md)"},
		{Reason: BypassFailing, Warning: true, Meaning: "the bypass fails: the Secret named in `maintenance/bypass-secret` is missing or has invalid lines, or an app cannot be reached from the page Pods",
			Remedy: "the message says which; see [Who is let through](access.md)"},
		{Reason: ReadinessUnknown, Warning: true, Meaning: "`maintenance/auto` cannot tell whether a backend serves, so the backend counts as serving; or the ServiceChecker does not exist",
			Remedy: "see [Automatic maintenance](auto.md)"},
		{Reason: RestoreTimedOut, Warning: true, Meaning: "the app has not become ready within `maintenance/restore-timeout`: visitors get it as it is. Automatic maintenance does not begin again until the app has been ready",
			Remedy: "find out why the app that the message names is not ready; [Automatic maintenance](auto.md) lists what never becomes ready behind a page"},
	}
}

// Warning says whether events of this reason are of type Warning.
func (r Reason) Warning() bool {
	return reason.Warns(Reasons(), r)
}

// Event is reported on the target. A Warning is reported once while it lasts.
type Event struct {
	Reason  Reason // what happened
	Message string // what happened to what, and what to do
}

// report adds an event to the decision.
func (d *draft) report(r Reason, format string, args ...any) {
	d.out.Events = append(d.out.Events, Event{Reason: r, Message: fmt.Sprintf(format, args...)})
}

func (d *draft) reportProblems() {
	for _, p := range d.in.Problems {
		r := InvalidAnnotation
		if p.Unknown {
			r = UnknownAnnotation
		}
		d.report(r, "%s", p.Message)
	}
}
