package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
)

// pageAwayTolerance is how long a page may not serve before that is reported, as while a
// Pod is replaced.
const pageAwayTolerance = 10 * time.Second

// keepOldPage leaves a target on its page while the page that it should be on does not
// serve. It does not call the target active if that old page is away, or if some slots lead
// to the app.
func (d *draft) keepOldPage(state, why string) {
	status := d.status
	onApp := slices.ContainsFunc(d.in.Slots, func(s swap.Slot) bool { return !s.OnPage() })
	switch {
	case slices.Contains(d.out.Claims, status.PageSet) && d.pageIsAway(status.PageSet, &status):
	case onApp:
		status = withState(status, state, why)
	case status.State != annotations.Active:
		status = d.switchingOrActive(status)
	}
	d.annotate(status)
}

// stay handles a target whose slots are all where they should be: it updates the state, and
// repairs our annotations if somebody changed them.
func (d *draft) stay(plan swap.Plan) {
	m := &d.out.Memory
	m.ResumeAt = time.Time{}
	if m.SwitchedTo != d.page.Set {
		d.rememberFollowers(d.object.GetGeneration() - 1) // the swap is the last change or an earlier one
		m.SwitchedAt, m.SwitchedTo = d.in.Now, d.page.Set
	}
	if d.in.Sets[d.page.Set].Phase == pageset.Serving {
		m.WaitingSince = time.Time{}
	}
	status := d.withNewRecord(&plan)
	switch {
	case d.pageIsAway(d.page.Set, &status):
	case status.State == annotations.Active:
		status = withState(status, annotations.Active, d.requestedBy()) // the request may have changed hands
	case !d.rejectedOnPage(&status):
		status = d.switchingOrActive(status)
	}
	status.Since = d.startedAt()
	d.remindOfLongMaintenance(status.Since)
	d.annotate(status)
}

// switchingOrActive gives the state of a target whose slots are all on a page that serves:
// active once ingress controllers have had time to follow.
func (d *draft) switchingOrActive(status annotations.Status) annotations.Status {
	left, late := d.settleTimeLeft()
	if left <= 0 {
		if len(late) > 0 {
			d.report(SwapNotObserved, "not observed by %s within %d times the settle time: its visitors may still get the app, check that it works", strings.Join(late, ", "), observeTimeoutFactor)
		}
		return withState(status, annotations.Active, d.requestedBy())
	}
	d.recheckAfter(left)
	if status.State == annotations.Contested {
		return status
	}
	return withState(status, annotations.Switching, d.requestedBy())
}

// startedAt is when maintenance began: what the annotation says, or what is remembered if
// somebody removed it.
func (d *draft) startedAt() string {
	m := &d.out.Memory
	if _, err := time.Parse(time.RFC3339, d.status.Since); err == nil {
		m.Since = d.status.Since
	}
	m.Since = cmp.Or(m.Since, d.in.Now.UTC().Format(time.RFC3339))
	return m.Since
}

// pageIsAway says whether the page that visitors are sent to has not served for longer than
// it takes to replace a Pod, and reports that.
func (d *draft) pageIsAway(name string, status *annotations.Status) bool {
	set := d.in.Sets[name]
	m := &d.out.Memory
	if set.Phase == pageset.Serving {
		m.AwaySince = time.Time{}
		return false
	}
	if m.AwaySince.IsZero() {
		m.AwaySince = d.in.Now
	}
	if left := m.AwaySince.Add(pageAwayTolerance).Sub(d.in.Now); left > 0 {
		d.recheckAfter(left)
		return false
	}
	d.report(PageNotReady, "visitors are sent to page set %s, which does not serve: %s", name, set.Message)
	*status = withState(*status, annotations.Blocked, "the page does not serve: "+set.Message)
	return true
}

// remindOfLongMaintenance warns after 24 and 48 hours: search engines start to drop pages
// that answer 503 for more than a day or two.
func (d *draft) remindOfLongMaintenance(sinceText string) {
	since, err := time.Parse(time.RFC3339, sinceText)
	if err != nil {
		return
	}
	lasts := d.in.Now.Sub(since)
	switch {
	case lasts >= 48*time.Hour:
		d.report(LongMaintenance, "in maintenance for more than 48 h: search engines drop pages that answer 503 for that long")
	case lasts >= 24*time.Hour:
		d.report(LongMaintenance, "in maintenance for more than 24 h: search engines start to drop pages that answer 503 for longer than a day or two")
		d.recheckAfter(48*time.Hour - lasts)
	default:
		d.recheckAfter(24*time.Hour - lasts)
	}
}
