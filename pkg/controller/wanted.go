package controller

import (
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// wants says whether a target with these annotations is to be in maintenance now.
func (c *Controller) wants(ref target.Ref, all map[string]string) bool {
	req, _ := c.config.Keys.Parse(all)
	return wanted.Decide(req, c.facts(ref, req, annotations.HasWritten(all)), c.config.Clock.Now()).On
}

// facts are what a target's request does not say.
func (c *Controller) facts(_ target.Ref, _ annotations.Request, begun bool) wanted.Facts {
	return wanted.Facts{Begun: begun}
}
