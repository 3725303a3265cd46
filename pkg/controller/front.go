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

// mostInFront bounds what is read for one target.
const mostInFront = 20

// front looks at what stands between visitors and a target that is about to be
// swapped: what is known to hide a page, or to stop because of it. It is read live,
// and only then: none of it is worth a watch, and nothing depends on it. What cannot
// be read is said to be so.
func (c *Controller) front(ctx context.Context, kind target.Kind, ref target.Ref, object map[string]any, status int) []plan.Event {
	if kind.Front == nil {
		return nil
	}
	f := kind.Front(object, status)
	events := c.middlewares(ctx, f.Middlewares, status)
	for _, why := range f.Hides {
		events = append(events, plan.Event{Reason: plan.PageHidden, Message: why})
	}
	for _, name := range f.Services[:min(len(f.Services), mostInFront)] {
		svc, err := c.config.Client.CoreV1().Services(ref.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			continue // not there, or asked again with the next target: it is advice
		}
		if who := target.LooksForIt(svc); who != "" {
			events = append(events, plan.Event{Reason: plan.RolloutStops, Message: fmt.Sprintf("Service %q belongs to %s, which looks for it among the backends of this %s: a rollout stops, or is called invalid, until maintenance ends",
				annotations.Clip(name), who, ref.Kind)})
		}
	}
	return events
}

// middlewares follows chains.
func (c *Controller) middlewares(ctx context.Context, all []target.Middleware, status int) []plan.Event {
	var events []plan.Event
	var unread []string
	all = slices.Clone(all)
	for i := 0; i < len(all); i++ {
		m := all[i]
		var object *unstructured.Unstructured
		known := i < mostInFront
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
		why, chain := target.Hides(object.Object["spec"], object.GetNamespace(), status)
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
		events = append(events, plan.Event{Reason: plan.PageHidden, Message: fmt.Sprintf("could not look at middlewares in front of the page, which may hide it (a circuitBreaker, errors or retry over 503): %s. The controller reads objects that it is granted (get middlewares.traefik.io) and none of other providers",
			strings.Join(unread, ", "))})
	}
	return events
}

// middleware reads one: nil if there is none, and not known if it cannot be read.
func (c *Controller) middleware(ctx context.Context, m target.Middleware) (object *unstructured.Unstructured, known bool) {
	places := m.Places()
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
