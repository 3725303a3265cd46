package controller

import (
	"fmt"

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
	facts := c.facts(ref, req, annotations.HasWritten(all))
	facts.Auto = wanted.Automatic{Seen: c.lookout.seen(ref), Kept: wanted.ParseSpell(all[annotations.Cause]), Shown: facts.Begun}
	return wanted.Decide(req, facts, c.config.Clock.Now()).On
}

// claims says whether a target with these annotations needs a page, now or in case.
func (c *Controller) claims(ref target.Ref, all map[string]string) bool {
	req, _ := c.parse(all)
	return plan.State{Request: req}.Prewarms() || c.wants(ref, all)
}

// facts are what a target's request does not say.
func (c *Controller) facts(_ target.Ref, _ annotations.Request, begun bool) wanted.Facts {
	return wanted.Facts{Begun: begun}
}
