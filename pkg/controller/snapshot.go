package controller

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/metrics"
	"maintenance-controller.io/pkg/target"
)

// Snapshot counts what the watches show.
func (c *Controller) Snapshot() metrics.Snapshot {
	s := metrics.Snapshot{
		Targets:    map[metrics.Target]int{},
		Unrestored: map[string]int{},
		PageSets:   c.ours.count(),
		Queued:     map[string]int{c.targets.name: c.targets.Len(), c.sets.name: c.sets.Len()},
	}
	c.watches.each(concerned, concerned, func(k target.Kind, m *metav1.PartialObjectMetadata) {
		status := annotations.StatusOf(m.Annotations)
		if status.State == "" {
			return
		}
		if req, _ := c.Keys.Parse(m.Annotations); !req.On {
			s.Unrestored[k.Name]++
		}
		s.Targets[metrics.Target{Kind: k.Name, State: status.State}]++
		if since, err := time.Parse(time.RFC3339, status.Since); err == nil && (s.Oldest.IsZero() || since.Before(s.Oldest)) {
			s.Oldest = since
		}
	})
	return s
}
