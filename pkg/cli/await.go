package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// reactionTime is how long the controller has to act on a request before people are told
// that nothing has happened.
const reactionTime = 3 * time.Second

// condition says whether a target is as wanted, or returns an error if it can no longer
// become so. on says whether it still asks for maintenance.
type condition func(row view.Row, on bool) (met bool, err error)

// waiter waits for targets.
type waiter struct {
	*session
	condition  condition
	begun      time.Time
	pending    map[target.Ref]found
	last       map[target.Ref]view.Row // as each was read last
	watched    map[target.Ref]bool     // which of them the watch has shown
	reported   map[target.Ref]string   // what people were told last
	failed     error
	watchError string // why changes cannot be watched now
}

// await waits until the condition is met for all targets, and tells people what each target
// waits for. It returns an error for the targets that fail. With a timeout of 0 it waits
// without limit.
func (s *session) await(ctx context.Context, all []found, timeout time.Duration, met condition) error {
	follow, stop := context.WithCancel(ctx)
	defer stop()
	w := &waiter{
		session: s, condition: met, begun: s.Now(), pending: map[target.Ref]found{}, last: map[target.Ref]view.Row{},
		watched: map[target.Ref]bool{}, reported: map[target.Ref]string{},
	}
	for _, f := range all {
		w.pending[f.ref()] = f
		w.last[f.ref()], _ = f.row(s.keys)
	}
	updates := s.follow(follow, scopesOf(all))
	end, noReaction := after(timeout), after(reactionTime)
	for len(w.pending) > 0 {
		select {
		case u := <-updates:
			w.observe(u)
		case <-noReaction:
			w.reportPending()
		case <-end:
			return errors.Join(w.failed, failure{ExitTimeout, w.timedOut(timeout)})
		case <-ctx.Done():
			return errors.Join(w.failed, context.Cause(ctx))
		}
	}
	return w.failed
}

// observe processes one update.
func (w *waiter) observe(u update) {
	if u.scope != nil {
		w.observeScope(u)
		return
	}
	f, ok := w.pending[u.ref]
	if !ok {
		return
	}
	if u.meta == nil || u.meta.UID != f.object.GetUID() {
		w.fail(u.ref, fmt.Errorf("%s was deleted", w.label(u.ref)))
		return
	}
	row, _ := u.row(w.keys)
	w.last[u.ref], w.watched[u.ref] = row, true
	request, _ := w.keys.Parse(u.meta.Annotations)
	met, err := w.condition(row, request.Enabled == annotations.On)
	switch {
	case err != nil:
		w.fail(u.ref, fmt.Errorf("%s: %w", w.label(u.ref), err))
	case met:
		delete(w.pending, u.ref)
	case row.State != view.Requested && row.State != view.Ending || w.Now().Sub(w.begun) > reactionTime:
		w.report(row)
	}
}

// observeScope processes the end of the first list, after which a target that has not been
// seen does not exist, or an error of a watch.
func (w *waiter) observeScope(u update) {
	for ref, f := range w.pending {
		if f.kind.Name != u.kind.Name || u.scope.namespace != ref.Namespace {
			continue
		}
		switch {
		case u.err == nil && !w.watched[ref]:
			w.fail(ref, fmt.Errorf("%s was deleted", w.label(ref)))
		case u.err != nil && isPermanent(u.err):
			w.fail(ref, fmt.Errorf("wait for %s: %w", w.label(ref), u.err))
		case u.err != nil && w.watchError != u.err.Error():
			w.watchError = u.err.Error()
			w.tell("Cannot watch for changes, trying again: %s", w.watchError)
		}
	}
}

func (w *waiter) fail(ref target.Ref, err error) {
	delete(w.pending, ref)
	w.failed = errors.Join(w.failed, err)
}

// report tells people what a target waits for, if that has changed.
func (w *waiter) report(row view.Row) {
	text := row.State
	if why := whyItWaits(row, w.clock.Estimate()); why != "" {
		text += ": " + why
	}
	if w.reported[row.Ref()] != text {
		w.reported[row.Ref()] = text
		w.tell("%s  %s", w.label(row.Ref()), text)
	}
}

func (w *waiter) reportPending() {
	for _, ref := range w.sorted() {
		w.report(w.last[ref])
	}
}

// whyItWaits explains a state, if the controller's message does not.
func whyItWaits(row view.Row, now time.Time) string {
	switch {
	case row.State == view.Requested && !row.Until.IsZero() && !row.Until.After(now):
		return annotations.Until + " has passed, so visitors get the app: set a later time"
	case row.Message != "":
		return row.Message
	case row.State == annotations.Pending:
		return "the page is starting, visitors still get the app"
	case row.State == annotations.Switching:
		return "ingress controllers are following"
	case row.State == view.Ending:
		return "no controller has restored it yet"
	}
	return ""
}

// timedOut says what each target waits for that did not meet the condition in time, as it was
// read last.
func (w *waiter) timedOut(timeout time.Duration) error {
	var all []error
	for _, ref := range w.sorted() {
		row := w.last[ref]
		text := fmt.Sprintf("timed out after %s: %s is %s", timeout, w.label(ref), row.State)
		if why := whyItWaits(row, w.clock.Estimate()); why != "" {
			text += ": " + why
		}
		if w.watchError != "" && !w.watched[ref] {
			text += "; changes could not be watched: " + w.watchError
		}
		all = append(all, errors.New(text))
	}
	return errors.Join(all...)
}

// sorted returns what is still waited for, in a stable order.
func (w *waiter) sorted() []target.Ref {
	return slices.SortedFunc(maps.Keys(w.pending), func(a, b target.Ref) int { return strings.Compare(a.String(), b.String()) })
}
