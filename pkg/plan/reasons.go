package plan

import (
	"fmt"
	"slices"
)

// Reason of an event: what has come about.
type Reason string

// The reasons. Reasons says what each means.
const (
	MaintenanceStarted  Reason = "MaintenanceStarted"
	MaintenanceEnded    Reason = "MaintenanceEnded"
	PageChanged         Reason = "PageChanged"
	PageNotReady        Reason = "PageNotReady"
	PageNotFound        Reason = "PageNotFound"
	InvalidAnnotation   Reason = "InvalidAnnotation"
	UnknownAnnotation   Reason = "UnknownAnnotation"
	EndPassed           Reason = "EndPassed"
	LeaseNotHeld        Reason = "LeaseNotHeld"
	NothingToSwap       Reason = "NothingToSwap"
	BackendLeftAlone    Reason = "BackendLeftAlone"
	PageHidden          Reason = "PageHidden"
	RolloutStops        Reason = "RolloutStops"
	BackendReverted     Reason = "BackendReverted"
	BackendLost         Reason = "BackendLost"
	NameConflict        Reason = "NameConflict"
	ForeignInstallation Reason = "ForeignInstallation"
	RestoreFailed       Reason = "RestoreFailed"
	PageRefused         Reason = "PageRefused"
	NotFollowed         Reason = "NotFollowed"
	MaintenanceLong     Reason = "MaintenanceLong"
	NoDoor              Reason = "NoDoor"
	BypassNotWorking    Reason = "BypassNotWorking"
	BackendNotJudged    Reason = "BackendNotJudged"
	RestoreTimedOut     Reason = "RestoreTimedOut"
)

// About says what a reason tells people.
type About struct {
	Reason Reason
	// Warning says that somebody should look; otherwise it is told as it happens.
	Warning bool
	// Meaning, and what to do about it, as the README has them.
	Meaning, Remedy string
}

// Reasons is the whole list, in the order of the README's table, which is made of it.
func Reasons() []About {
	return []About{
		{Reason: MaintenanceStarted, Meaning: "the backends point at the page",
			Remedy: "–"},
		{Reason: MaintenanceEnded, Meaning: "the backends are restored, the annotations gone",
			Remedy: "–"},
		{Reason: PageChanged, Meaning: "another page or version of it is shown",
			Remedy: "–"},
		{Reason: PageNotReady, Warning: true, Meaning: "the page Pods cannot start, or the API server refuses the change: the app is served on. Or the page that visitors are sent to has not served for 10 s: the message says so",
			Remedy: "read the message: a quota, an admission policy, an image that cannot be pulled (`--page-image`, `--page-image-pull-secrets`), no node with room. It is tried again by itself"},
		{Reason: PageNotFound, Warning: true, Meaning: "the page named is missing or invalid; visitors get the last good version, or the default page. Or one of its formats is: visitors get the default page in that one",
			Remedy: "the message names the ConfigMap and the key"},
		{Reason: InvalidAnnotation, Warning: true, Meaning: "a value is neither on nor off, or there is no room left for the originals among the annotations (256 KiB): those of backends that are gone are forgotten then, the oldest first",
			Remedy: "mend the value; remove large annotations"},
		{Reason: UnknownAnnotation, Warning: true, Meaning: "a key under `maintenance/` that does not exist, such as a typo",
			Remedy: "mend or remove it"},
		{Reason: EndPassed, Warning: true, Meaning: "`maintenance/until` is past: maintenance does not begin, or has ended before the page could be shown, or has ended and the request cannot be taken off, since an Apply manager would write it again",
			Remedy: "set a later `maintenance/until`; or take the annotations out of what is applied. See [when maintenance ends by itself](docs/until.md)"},
		{Reason: LeaseNotHeld, Warning: true, Meaning: "a Lease that `maintenance/lease` names is not there, has not the label `maintenance/lease`, says no duration, or cannot be read; or none of them is renewed, so that maintenance does not begin",
			Remedy: "see [when maintenance ends by itself](docs/until.md#as-long-as-a-lease-is-renewed)"},
		{Reason: NothingToSwap, Warning: true, Meaning: "the target has no backend that may be swapped",
			Remedy: "see [What is left alone](#what-is-left-alone); put the annotation on the object that has the backends"},
		{Reason: BackendLeftAlone, Warning: true, Meaning: "a part of the target stays as it is: a port that does not speak HTTP, a backend of a shape that could not be put back, or one that AWS's load balancer controller knows by its name",
			Remedy: "nothing, or see [Services](#services) and [What is left alone](#what-is-left-alone)"},
		{Reason: PageHidden, Warning: true, Meaning: "what stands in front of the page is known to hide it or to repeat its requests, such as a Traefik circuitBreaker or a filter of a route, or could not be looked at. Looked at when maintenance begins",
			Remedy: "see [What hides a page](#what-hides-a-page)"},
		{Reason: RolloutStops, Warning: true, Meaning: "a tool looks for the app's Service among the backends, and stops while it is not there (Argo Rollouts, Flagger)",
			Remedy: "finish or pause the rollout; it goes on after maintenance"},
		{Reason: BackendReverted, Warning: true, Meaning: "somebody wrote backends during maintenance: the app's, or beside the page; they are swapped again",
			Remedy: "see [GitOps](#gitops)"},
		{Reason: BackendLost, Warning: true, Meaning: "no original is known for a backend that points at a page set, because both copies were deleted, or because one edit renamed or moved several and nobody can tell which is which",
			Remedy: "set that backend yourself; its page is kept until you have"},
		{Reason: NameConflict, Warning: true, Meaning: "an object that is not the controller's has the name of a page set or backup; or a page is in several ConfigMaps; on a ConfigMap: another one has the page too, or a page called `default` outside the controller's namespace",
			Remedy: "rename or delete the one named"},
		{Reason: ForeignInstallation, Warning: true, Meaning: "two installations of the controller are asked for the same target: the one that the message names has it, the other leaves it alone",
			Remedy: "see [Two installations in one cluster](#two-installations-in-one-cluster)"},
		{Reason: RestoreFailed, Warning: true, Meaning: "a copy of the originals cannot be read, and is kept as it is; the API server refuses the restore; or the object has an unknown shape",
			Remedy: "read the message: a copy that cannot be read may be of a later version of the controller, or be mended by [hand](#restore-by-hand); all else is tried again, for ever"},
		{Reason: PageRefused, Warning: true, Meaning: "the controller of a Gateway says of the route, now that it leads to the page, that it does not accept it, or cannot resolve its backends",
			Remedy: "the message is in its own words. The route stays swapped, and the state becomes `active` once it is accepted"},
		{Reason: NotFollowed, Warning: true, Meaning: "the controller of a Gateway has not shown for ten times the settle time that it has seen the swap; the state is `active` all the same",
			Remedy: "look whether the controller that is named works; until it has followed, its visitors get the app"},
		{Reason: MaintenanceLong, Warning: true, Meaning: "on for 24 h, and again for 48 h",
			Remedy: "search engines drop pages that answer 503 for longer than a day or two"},
		{Reason: NoDoor, Warning: true, Meaning: "people are to be let through, and cannot be to an app: the message names its backend and says why. Everybody gets the page there",
			Remedy: "see [Who is let through](docs/access.md)"},
		{Reason: BypassNotWorking, Warning: true, Meaning: "who should be let through is not: the Secret that `maintenance/bypass-secret` names is missing or has lines that cannot be used, or an app cannot be reached from the page Pods",
			Remedy: "the message says which; see [Who is let through](docs/access.md)"},
		{Reason: BackendNotJudged, Warning: true, Meaning: "`maintenance/auto` cannot tell of a backend whether it serves, so that it counts as serving; or there is no such ServiceChecker",
			Remedy: "see [Automatic maintenance](docs/auto.md)"},
		{Reason: RestoreTimedOut, Warning: true, Meaning: "the app has not been ready for `maintenance/restore-timeout`: visitors get it as it is. Maintenance that began by itself does not begin so again before the app has been ready",
			Remedy: "see what keeps the app from being ready: the message names it, and [Automatic maintenance](docs/auto.md) what never is behind a page"},
	}
}

// Warning says whether events of this reason are warnings.
func (r Reason) Warning() bool {
	return slices.ContainsFunc(Reasons(), func(a About) bool { return a.Reason == r && a.Warning })
}

// Event is told to people, on the target.
type Event struct {
	Reason  Reason
	Message string
}

// tell adds an event to the decision.
func (d *draft) tell(reason Reason, format string, args ...any) {
	d.out.Events = append(d.out.Events, Event{Reason: reason, Message: fmt.Sprintf(format, args...)})
}

func (d *draft) tellProblems() {
	for _, p := range d.in.Problems {
		reason := InvalidAnnotation
		if p.Unknown {
			reason = UnknownAnnotation
		}
		d.tell(reason, "%s", p.Message)
	}
}
