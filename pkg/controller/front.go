package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/target"
)

// maxFrontReads bounds the objects that are read for one target.
const maxFrontReads = 20

// front checks what stands between visitors and a target that is about to be swapped, and returns
// warnings about what is known to hide a page, or to stop because of it. It reads objects live, only
// at this time: none of it is worth a watch, and nothing depends on it. The warnings also name what
// cannot be read.
func (c *Controller) front(ctx context.Context, kind target.Kind, ref target.Ref, object map[string]any, status int) []plan.Event {
	if kind.Front == nil {
		return nil
	}
	f := kind.Front(object, status)
	events := c.middlewares(ctx, f.Middlewares, status)
	for _, why := range f.Hides {
		events = append(events, plan.Event{Reason: plan.PageHidden, Message: why})
	}
	for _, name := range f.Services[:min(len(f.Services), maxFrontReads)] {
		svc, err := c.config.Client.CoreV1().Services(ref.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			continue // missing, or tried again with the next target: this is only advice
		}
		if who := target.RolloutTool(svc); who != "" {
			events = append(events, plan.Event{Reason: plan.RolloutStalled, Message: fmt.Sprintf("Service %q belongs to %s, which looks for it among the backends of this %s: a rollout stops, or is reported as invalid, until maintenance ends",
				annotations.Clip(name), who, ref.Kind)})
		}
	}
	return events
}

// middlewares checks middlewares, including those in chains.
func (c *Controller) middlewares(ctx context.Context, all []target.Middleware, status int) []plan.Event {
	var events []plan.Event
	var unread []string
	all = slices.Clone(all)
	for i := 0; i < len(all); i++ {
		m := all[i]
		var object *unstructured.Unstructured
		known := i < maxFrontReads
		if known {
			object, known = c.middleware(ctx, m)
		}
		switch {
		case !known:
			unread = append(unread, m.String())
			continue
		case object == nil:
			continue
		}
		why, chain := target.MiddlewareHides(object.Object["spec"], object.GetNamespace(), status)
		if why != "" {
			events = append(events, plan.Event{Reason: plan.PageHidden, Message: fmt.Sprintf("Middleware %s is in front of the page: %s", m, why)})
		}
		for _, next := range chain {
			if !slices.Contains(all, next) {
				all = append(all, next)
			}
		}
	}
	if len(unread) > 0 {
		events = append(events, plan.Event{Reason: plan.PageHidden, Message: fmt.Sprintf("could not check middlewares in front of the page, which may hide it (a circuitBreaker, errors or retry on 503): %s. The controller needs get on middlewares.traefik.io, and cannot read middlewares of other providers",
			strings.Join(unread, ", "))})
	}
	return events
}

// middleware reads a middleware. The object is nil if it does not exist; known is false if it cannot
// be read.
func (c *Controller) middleware(ctx context.Context, m target.Middleware) (object *unstructured.Unstructured, known bool) {
	places := m.Candidates()
	for _, at := range places {
		object, err := c.config.Dynamic.Resource(target.MiddlewareResource()).Namespace(at.Namespace).Get(ctx, at.Name, metav1.GetOptions{})
		if err == nil {
			return object, true
		}
		if !apierrors.IsNotFound(err) {
			return nil, false
		}
	}
	return nil, len(places) > 0
}
