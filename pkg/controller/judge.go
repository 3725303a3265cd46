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

// serviceName returns the name of a backend's Service for messages.
func serviceName(b swap.Backend) string {
	return fmt.Sprintf("Service %s/%s", annotations.Clip(b.Namespace), annotations.Clip(b.Name))
}

// noReadyEndpoint does not depend on the number of endpoints, because the text is written to the
// target.
func noReadyEndpoint(s readiness.State) string {
	if !s.Exists {
		return "does not exist"
	}
	return "has no ready endpoint"
}

// unjudgedReason says why a backend counts as serving; empty if it is judged.
func unjudgedReason(ref target.Ref, b swap.Backend, s readiness.State) string {
	switch {
	case b.Unjudged != "":
		return fmt.Sprintf("backend %q counts as serving because %s", annotations.Clip(b.Name), b.Unjudged)
	case b.Namespace != ref.Namespace:
		return serviceName(b) + " counts as serving because it is in another namespace than the target"
	case s.Known && !s.Judgeable:
		return fmt.Sprintf("%s counts as serving: it %s", serviceName(b), s.Message)
	}
	return ""
}

// judgeBackends judges all backends of a target together: one that serves is enough. Backends with
// weight 0 do not count.
func judgeBackends(ref target.Ref, backends []swap.Backend, states []readiness.State) wanted.Observed {
	var seen wanted.Observed
	ups, downs, unknown := []time.Time{}, []time.Time{}, false
	for i, b := range backends {
		s := states[i]
		if b.Weight <= 0 {
			continue
		}
		switch note := unjudgedReason(ref, b, s); {
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
	default: // no backend gets visitors
		seen.Verdict = wanted.Up
	}
	return seen
}

// judgeByChecker converts the verdict of a checker, which has already applied the waits of its spec,
// except after its deletion.
func judgeByChecker(name string, v checker.Verdict) wanted.Observed {
	switch v.State {
	case checker.Up:
		return wanted.Observed{Verdict: wanted.Up, Since: v.Since}
	case checker.Down:
		return wanted.Observed{Verdict: wanted.Down, Since: v.Since, Causes: v.Causes}
	case checker.Deleted:
		note := fmt.Sprintf("there is no ServiceChecker %q: maintenance does not begin automatically, and maintenance that did ends after %s", annotations.Clip(name), v.RecoverFor)
		return wanted.Observed{Verdict: wanted.Gone, Since: v.Since, Recovery: v.RecoverFor, Notes: []string{note}}
	case checker.Unknown:
	}
	return wanted.Observed{}
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

// gateOf returns what the end of a target's maintenance waits for.
func gateOf(ref target.Ref, backends []swap.Backend, states []readiness.State, timeout time.Duration) *plan.Gate {
	gate := &plan.Gate{Timeout: timeout}
	for i, b := range backends {
		s := states[i]
		if b.Weight <= 0 || unjudgedReason(ref, b, s) != "" {
			continue
		}
		backend := plan.Backend{Name: serviceName(b), Ready: s.Known && s.Ready > 0, Since: s.Since}
		switch {
		case !s.Known:
			backend.Why = "is currently unknown"
		case s.Ready == 0:
			backend.Why = noReadyEndpoint(s)
		}
		gate.Backends = append(gate.Backends, backend)
	}
	return gate
}

// assess judges the backends or the checker that a target's automatic maintenance depends on, and
// the gate of its restore. A target that uses neither has no dependencies.
func (c *Controller) assess(ref target.Ref, state plan.State) (wanted.Observed, *plan.Gate) {
	r, onPage := state.Request, swap.OnPage(state.Slots)
	auto := r.Auto != "" && r.Enabled != annotations.Off
	gated := r.RestoreWhen != "" && (onPage || r.Enabled == annotations.On)
	if !auto && !gated {
		c.dependencies.drop(ref)
		return wanted.Observed{}, nil
	}
	var all []swap.Backend
	if auto && r.Auto == annotations.AutoBackends {
		all = state.Backends()
	}
	own := len(all)
	if gated && onPage {
		all = append(all, state.BehindPage()...)
	}
	goesBy := ""
	if auto && r.Auto == annotations.AutoChecker {
		goesBy = r.Checker
	}
	states := c.dependencies.observe(ref, all, goesBy)
	var seen wanted.Observed
	switch {
	case !auto:
	case r.Auto == annotations.AutoBackends:
		seen = judgeBackends(ref, all[:own], states[:own])
		seen.For, seen.Recovery = c.config.AutoFor, c.config.AutoRecovery
	case c.config.Checkers != nil:
		seen = judgeByChecker(r.Checker, c.config.Checkers.Verdict(ref.Namespace, r.Checker))
	default: // no verdict will ever come, so an unknown one would hold for ever
		seen.Verdict = wanted.Gone
		seen.Notes = []string{fmt.Sprintf("annotation %s=%s has no effect: this controller runs with --service-checkers=false", annotations.Auto, annotations.AutoChecker)}
	}
	c.dependencies.remember(ref, seen)
	if !gated || !onPage {
		return seen, nil
	}
	return seen, gateOf(ref, all[own:], states[own:], r.RestoreTimeout)
}
