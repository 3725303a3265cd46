package plan

import (
	"slices"
	"strings"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/wanted"
)

// prewarm claims the page set of a target whose maintenance may begin automatically, so
// that the set serves before it is needed. It reports what would prevent that.
func (d *draft) prewarm() {
	if !d.in.Prewarms() || len(d.in.Slots) == 0 || d.page.Set == "" {
		return
	}
	if !slices.Contains(d.out.Claims, d.page.Set) && !d.setRefused() {
		d.out.Claims = append(d.out.Claims, d.page.Set)
	}
	if d.page.Problem != "" {
		d.report(PageNotFound, "%s: visitors will get the default page", d.page.Problem)
	}
	switch set := d.in.Sets[d.page.Set]; set.Phase {
	case pageset.Conflict:
		d.report(NameConflict, "%s", set.Message)
	case pageset.Blocked:
		d.report(PageNotReady, "the page prewarmed for annotation %s cannot be shown, visitors are not affected yet: %s", annotations.Auto, set.Message)
	case pageset.Absent, pageset.Starting, pageset.Serving:
	}
}

// Prewarms says whether the target's page set must serve before it is needed.
func (s State) Prewarms() bool {
	return s.Request.Auto != "" && s.Request.Enabled != annotations.Off
}

// handOver removes a person's request that has ended while the app is down: from then on
// the maintenance is automatic.
func (d *draft) handOver(all map[string]string) map[string]string {
	if !d.in.Wanted.On {
		return all
	}
	return d.removeEndedRequest(all)
}

// requestedBy says who has the target in maintenance, a person or the controller, where it
// could be either. Empty where it could not.
func (d *draft) requestedBy() string {
	switch {
	case d.in.Wanted.By == wanted.Auto:
		return "began automatically because " + d.in.Wanted.Cause
	case d.in.Request.Auto != "":
		return "requested by annotation, whatever " + annotations.Auto + " finds"
	}
	return ""
}

// withRequestedBy appends it to a message.
func (d *draft) withRequestedBy(text string) string {
	why := d.requestedBy()
	if why == "" || strings.HasSuffix(text, why) {
		return text
	}
	return text + "; " + why
}

// becauseAuto ends the message of an event with the cause of automatic maintenance. Empty
// if a person asked for it.
func (m Memory) becauseAuto() string {
	if m.AutoCause == "" {
		return ""
	}
	return ": it began automatically because " + m.AutoCause
}
