package controller

import (
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/metrics"
	"maintenance-controller.io/pkg/target"
)

// Snapshot counts what the watches show, for metrics.
func (c *Controller) Snapshot() metrics.Snapshot {
	s := metrics.Snapshot{
		Targets:    map[metrics.TargetLabels]int{},
		Unrestored: map[string]int{},
		PageSets:   c.watches.managed.CountSets(),
		Bypass:     c.visits.ProblemCounts(),
		Queued:     map[string]int{c.queues.targets.Name(): c.queues.targets.Len(), c.queues.sets.Name(): c.queues.sets.Len()},
	}
	c.watches.targets.EachAnnotated(func(ref target.Ref, all map[string]string) {
		status := annotations.StatusOf(all)
		if status.State == "" || !c.config.Installation.Owns(status.Installation) {
			return
		}
		if status.State != annotations.Restoring && !c.wants(ref, all) {
			s.Unrestored[ref.Kind]++
		}
		s.Targets[metrics.TargetLabels{Kind: ref.Kind, State: status.State}]++
		if since, err := time.Parse(time.RFC3339, status.Since); err == nil && (s.Oldest.IsZero() || since.Before(s.Oldest)) {
			s.Oldest = since
		}
	})
	return s
}
