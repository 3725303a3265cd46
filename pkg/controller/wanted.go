package controller

import (
	"context"
	"fmt"
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// parse parses the annotations of a target. Those that need Services to be watched have no effect if
// that is switched off.
func (c *Controller) parse(all map[string]string) (annotations.Request, []annotations.Problem) {
	req, problems := c.config.Keys.Parse(all)
	if c.dependencies == nil && req.Automation != (annotations.Automation{}) {
		req.Automation = annotations.Automation{}
		problems = append(problems, annotations.Problem{Key: annotations.Auto, Message: fmt.Sprintf(
			"annotations %s and %s have no effect: this controller runs with --auto=false", annotations.Auto, annotations.RestoreWhen)})
	}
	return req, problems
}

// wants reports whether a target with these annotations is to be in maintenance now.
func (c *Controller) wants(ref target.Ref, all map[string]string) bool {
	req, _ := c.parse(all)
	shown := all[annotations.PageSet] != ""
	facts := wanted.Facts{Begun: wanted.Begun(all, shown), Leases: c.watches.leases.Get(ref.Namespace, req.Leases)}
	facts.Auto = automatic(all, shown)
	facts.Auto.Observed = c.dependencies.lastSeen(ref)
	return wanted.Decide(req, facts, c.config.Clock.Now()).On
}

// needsPage reports whether a target with these annotations needs a page, now or kept ready.
func (c *Controller) needsPage(ref target.Ref, all map[string]string) bool {
	req, _ := c.parse(all)
	return plan.State{Request: req}.Prewarms() || c.wants(ref, all)
}

// decideWanted decides whether the target is to be in maintenance, adds the Leases to the facts, and
// sets the alarm for when the answer changes although nothing happens. Before Leases end a
// maintenance, it reads them from the API server.
func (c *Controller) decideWanted(ctx context.Context, ref target.Ref, req annotations.Request, facts wanted.Facts) (wanted.Answer, error) {
	now := c.config.Clock.Now()
	names := req.Leases
	if req.Enabled != annotations.On || !req.Until.IsZero() && !now.Before(req.Until) {
		names = nil // they do not matter
	}
	c.watches.leases.Follow(ref, names)
	facts.Leases = c.watches.leases.Get(ref.Namespace, names)
	answer := wanted.Decide(req, facts, now)
	if len(names) > 0 && (answer.Ended != "" || anyUnread(facts.Leases)) {
		if err := c.watches.leases.Confirm(ctx, ref.Namespace, names); err != nil {
			return answer, err
		}
		facts.Leases = c.watches.leases.Get(ref.Namespace, names)
		answer = wanted.Decide(req, facts, now)
	}
	c.alarms.Set(ref, answer.Next)
	return answer, nil
}

// anyUnread reports whether a Lease that was known may not be read any more.
func anyUnread(leases map[string]wanted.Lease) bool {
	for _, l := range leases {
		if l.ReadError != "" && !l.Since.IsZero() {
			return true
		}
	}
	return false
}

// stopFollowing drops the Leases and the alarm of a target that no longer exists.
func (c *Controller) stopFollowing(ref target.Ref) {
	c.watches.leases.Follow(ref, nil)
	c.alarms.Set(ref, time.Time{})
}

// automatic returns what a target itself says about automatic maintenance.
func automatic(all map[string]string, shown bool) wanted.Automatic {
	status := annotations.StatusOf(all)
	return wanted.Automatic{Kept: wanted.ParseEpisode(status.Cause), Shown: shown, Restoring: status.State == annotations.Restoring}
}
