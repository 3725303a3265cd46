package controller

import (
	"fmt"
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/checker"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/readiness"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// serviceName of a backend, for people.
func serviceName(b swap.Backend) string {
	return fmt.Sprintf("Service %s/%s", annotations.Clip(b.Namespace), annotations.Clip(b.Name))
}

// noReadyEndpoint is in the same words however many there are: what it says is written
// to the target.
func noReadyEndpoint(s readiness.State) string {
	if !s.Exists {
		return "does not exist"
	}
	return "has no ready endpoint"
}

// unjudged says why a backend counts as serving; empty if it is judged.
func unjudged(ref target.Ref, b swap.Backend, s readiness.State) string {
	switch {
	case b.Unjudged != "":
		return fmt.Sprintf("backend %q counts as serving, since %s", annotations.Clip(b.Name), b.Unjudged)
	case b.Namespace != ref.Namespace:
		return serviceName(b) + " counts as serving, since it is in another namespace than the target"
	case s.Known && !s.Judgeable:
		return fmt.Sprintf("%s counts as serving: it %s", serviceName(b), s.Message)
	}
	return ""
}

// seenOf judges all backends of a target together: one that serves is enough. Nobody is
// sent to a weight of 0.
func seenOf(ref target.Ref, backends []swap.Backend, states []readiness.State) wanted.Seen {
	var seen wanted.Seen
	ups, downs, unknown := []time.Time{}, []time.Time{}, false
	for i, b := range backends {
		s := states[i]
		if b.Weight <= 0 {
			continue
		}
		switch note := unjudged(ref, b, s); {
		case note != "":
			seen.Notes = append(seen.Notes, note)
			ups = append(ups, time.Time{})
		case !s.Known:
			unknown = true
		case s.Ready > 0:
			ups = append(ups, s.Since)
		default:
			downs = append(downs, s.Since)
			seen.Causes = append(seen.Causes, serviceName(b)+" "+noReadyEndpoint(s))
		}
	}
	switch {
	case len(ups) > 0:
		seen.Verdict, seen.Since = wanted.Up, earliest(ups)
	case unknown:
	case len(downs) > 0:
		seen.Verdict, seen.Since = wanted.Down, latest(downs)
	default: // nobody is sent anywhere
		seen.Verdict = wanted.Up
	}
	return seen
}

// seenBy is what a checker says. It has waited for as long as its spec asks for, but for its
// own end.
func seenBy(name string, v checker.Verdict) wanted.Seen {
	switch v.State {
	case checker.Up:
		return wanted.Seen{Verdict: wanted.Up, Since: v.Since}
	case checker.Down:
		return wanted.Seen{Verdict: wanted.Down, Since: v.Since, Causes: v.Causes}
	case checker.Deleted:
		note := fmt.Sprintf("there is no ServiceChecker %q: maintenance does not begin by itself, and what has begun so ends after %s", annotations.Clip(name), v.RecoverFor)
		return wanted.Seen{Verdict: wanted.Gone, Since: v.Since, Recovery: v.RecoverFor, Notes: []string{note}}
	case checker.Unknown:
	}
	return wanted.Seen{}
}

func earliest(times []time.Time) time.Time {
	first := times[0]
	for _, t := range times {
		if t.Before(first) {
			first = t
		}
	}
	return first
}

func latest(times []time.Time) time.Time {
	last := times[0]
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// gateOf gives what the end of a target's maintenance waits for.
func gateOf(ref target.Ref, backends []swap.Backend, states []readiness.State, timeout time.Duration) *plan.Gate {
	gate := &plan.Gate{Timeout: timeout}
	for i, b := range backends {
		s := states[i]
		if b.Weight <= 0 || unjudged(ref, b, s) != "" {
			continue
		}
		backend := plan.Backend{Name: serviceName(b), Ready: s.Known && s.Ready > 0, Since: s.Since}
		switch {
		case !s.Known:
			backend.Why = "is not known at the moment"
		case s.Ready == 0:
			backend.Why = noReadyEndpoint(s)
		}
		gate.Backends = append(gate.Backends, backend)
	}
	return gate
}

// look judges what a target's automatic maintenance and its gate are about. A target that
// asks for neither looks at nothing.
func (c *Controller) look(ref target.Ref, state plan.State) (wanted.Seen, *plan.Gate) {
	r, onPage := state.Request, swap.OnPage(state.Slots)
	auto := r.Auto != "" && r.Enabled != annotations.Off
	gated := r.RestoreWhen != "" && (onPage || r.Enabled == annotations.On)
	if !auto && !gated {
		c.lookout.leave(ref)
		return wanted.Seen{}, nil
	}
	var all []swap.Backend
	if auto && r.Auto == annotations.AutoBackends {
		all = state.Backends()
	}
	own := len(all)
	if gated && onPage {
		all = append(all, state.Behind()...)
	}
	goesBy := ""
	if auto && r.Auto == annotations.AutoChecker {
		goesBy = r.Checker
	}
	states := c.lookout.at(ref, all, goesBy)
	var seen wanted.Seen
	switch {
	case !auto:
	case r.Auto == annotations.AutoBackends:
		seen = seenOf(ref, all[:own], states[:own])
		seen.For, seen.Recovery = c.config.AutoFor, c.config.AutoRecovery
	case c.config.Checkers != nil:
		seen = seenBy(r.Checker, c.config.Checkers.Down(ref.Namespace, r.Checker))
	default: // nothing is going to say more: what is held for the moment would be held for good
		seen.Verdict = wanted.Gone
		seen.Notes = []string{fmt.Sprintf("annotation %s=%s has no effect: ServiceCheckers are switched off for this controller", annotations.Auto, annotations.AutoChecker)}
	}
	c.lookout.keep(ref, seen)
	if !gated || !onPage {
		return seen, nil
	}
	return seen, gateOf(ref, all[own:], states[own:], r.RestoreTimeout)
}
