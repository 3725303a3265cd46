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

// parse reads what a target asks for. What needs Services to be looked at is not to be had
// where that is switched off.
func (c *Controller) parse(all map[string]string) (annotations.Request, []annotations.Problem) {
	req, problems := c.config.Keys.Parse(all)
	if c.lookout == nil && req.Unattended != (annotations.Unattended{}) {
		req.Unattended = annotations.Unattended{}
		problems = append(problems, annotations.Problem{Key: annotations.Auto, Message: fmt.Sprintf(
			"annotations %s and %s have no effect: they are switched off for this controller (--auto=false)", annotations.Auto, annotations.RestoreWhen)})
	}
	return req, problems
}

// wants says whether a target with these annotations is to be in maintenance now.
func (c *Controller) wants(ref target.Ref, all map[string]string) bool {
	req, _ := c.parse(all)
	shown := all[annotations.PageSet] != ""
	facts := wanted.Facts{Begun: wanted.Begun(all, shown), Leases: c.watches.leases.Of(ref.Namespace, req.Leases)}
	facts.Auto = automatic(all, shown)
	facts.Auto.Seen = c.lookout.seen(ref)
	return wanted.Decide(req, facts, c.config.Clock.Now()).On
}

// claims says whether a target with these annotations needs a page, now or in case.
func (c *Controller) claims(ref target.Ref, all map[string]string) bool {
	req, _ := c.parse(all)
	return plan.State{Request: req}.Prewarms() || c.wants(ref, all)
}

// decideWanted says what is wanted of a target, by facts in which Leases are still to come,
// and keeps what tells when that changes. Before Leases end what has begun, the API server
// is asked for them.
func (c *Controller) decideWanted(ctx context.Context, ref target.Ref, req annotations.Request, facts wanted.Facts) (wanted.Answer, error) {
	now := c.config.Clock.Now()
	names := req.Leases
	if req.Enabled != annotations.On || !req.Until.IsZero() && !now.Before(req.Until) {
		names = nil // they decide nothing
	}
	c.watches.leases.Follow(ref, names)
	facts.Leases = c.watches.leases.Of(ref.Namespace, names)
	answer := wanted.Decide(req, facts, now)
	if len(names) > 0 && (answer.Ended != "" || doubted(facts.Leases)) {
		if err := c.watches.leases.Confirm(ctx, ref.Namespace, names); err != nil {
			return answer, err
		}
		facts.Leases = c.watches.leases.Of(ref.Namespace, names)
		answer = wanted.Decide(req, facts, now)
	}
	c.alarms.Set(ref, answer.Next)
	return answer, nil
}

// doubted says whether there is a Lease that was known and must not be read any more.
func doubted(leases map[string]wanted.Lease) bool {
	for _, l := range leases {
		if l.Unread != "" && !l.Since.IsZero() {
			return true
		}
	}
	return false
}

// unfollow drops what is kept for what is wanted of a target that is gone.
func (c *Controller) unfollow(ref target.Ref) {
	c.watches.leases.Follow(ref, nil)
	c.alarms.Set(ref, time.Time{})
}

// automatic is what a target itself says of maintenance that begins by itself.
func automatic(all map[string]string, shown bool) wanted.Automatic {
	status := annotations.StatusOf(all)
	return wanted.Automatic{Kept: wanted.ParseSpell(status.Cause), Shown: shown, Restoring: status.State == annotations.Restoring}
}
