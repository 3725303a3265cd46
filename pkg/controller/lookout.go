package controller

import (
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/util/intstr"

	"maintenance-controller.io/pkg/checker"
	"maintenance-controller.io/pkg/readiness"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// Readiness says whether Services can serve.
type Readiness interface {
	Acquire(namespace string) (release func())
	Of(namespace, service string, port intstr.IntOrString) readiness.State
	Notify(f func(namespace, service string))
}

// Checkers say whether critical services are down.
type Checkers interface {
	Down(namespace, name string) checker.Verdict
	Notify(f func(namespace, checker string))
}

// lookout knows which targets look at which Services, and tells each when one of its own
// begins or ceases to be ready. What changes otherwise all day, such as how many endpoints
// there are, costs no request.
type lookout struct {
	readiness Readiness
	queue     func(target.Ref)

	mu      sync.Mutex
	looks   map[target.Ref]*look
	targets map[subject]map[target.Ref]bool
	by      map[subject]map[target.Ref]bool // the targets of a ServiceChecker
}

// subject is a Service, or a ServiceChecker, that targets look at.
type subject struct{ namespace, name string }

// look is what one target looks at.
type look struct {
	release func()
	at      map[through]readiness.State // as it was when the target was decided on
	checker string                      // that the target goes by; empty for none
	seen    wanted.Seen
}

// through which port a Service is looked at.
type through struct {
	subject
	port intstr.IntOrString
}

// newLookout gives nil if nothing may be looked at.
func newLookout(r Readiness, checkers Checkers, queue func(target.Ref)) *lookout {
	if r == nil {
		return nil
	}
	l := &lookout{readiness: r, queue: queue, looks: map[target.Ref]*look{}, targets: map[subject]map[target.Ref]bool{}, by: map[subject]map[target.Ref]bool{}}
	r.Notify(l.changed)
	if checkers != nil {
		checkers.Notify(l.judged)
	}
	return l
}

// at gives the states of a target's backends, in their order, and tells the target from now
// on when one of them changes, or the checker that it goes by. Without backends its
// namespace is watched all the same: it is about to ask.
func (l *lookout) at(ref target.Ref, backends []swap.Backend, goesBy string) []readiness.State {
	l.mu.Lock()
	current := l.looks[ref]
	if current == nil {
		current = &look{release: l.readiness.Acquire(ref.Namespace)}
		l.looks[ref] = current
	}
	l.unregister(ref, current)
	current.at, current.checker = map[through]readiness.State{}, goesBy
	for _, b := range backends {
		if judged(ref, b) {
			t := throughOf(b)
			current.at[t] = readiness.State{}
			register(l.targets, t.subject, ref)
		}
	}
	if goesBy != "" {
		register(l.by, subject{ref.Namespace, goesBy}, ref)
	}
	l.mu.Unlock()
	// It is looked at after changes are told: none can be missed.
	states := make([]readiness.State, len(backends))
	for i, b := range backends {
		if !judged(ref, b) {
			continue
		}
		t := throughOf(b)
		states[i] = l.readiness.Of(t.namespace, t.name, t.port)
		l.mu.Lock()
		if _, ok := current.at[t]; ok {
			current.at[t] = states[i]
		}
		l.mu.Unlock()
	}
	return states
}

// register has a target told of a subject.
func register(told map[subject]map[target.Ref]bool, s subject, ref target.Ref) {
	if told[s] == nil {
		told[s] = map[target.Ref]bool{}
	}
	told[s][ref] = true
}

// unregister takes a target off the lists of those that are told.
func (l *lookout) unregister(ref target.Ref, current *look) {
	off := func(told map[subject]map[target.Ref]bool, s subject) {
		if delete(told[s], ref); len(told[s]) == 0 {
			delete(told, s)
		}
	}
	for t := range current.at {
		off(l.targets, t.subject)
	}
	off(l.by, subject{ref.Namespace, current.checker})
}

// judged tells the targets that go by a checker of which something has changed.
func (l *lookout) judged(namespace, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref := range l.by[subject{namespace, name}] {
		l.queue(ref)
	}
}

// leave ends what a target looks at.
func (l *lookout) leave(ref target.Ref) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	current := l.looks[ref]
	if current == nil {
		return
	}
	l.unregister(ref, current)
	delete(l.looks, ref)
	current.release()
}

// changed tells the targets that look at a Service, or at any of the namespace, if it is
// otherwise for them than when they were decided on.
func (l *lookout) changed(namespace, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name != "" {
		l.tell(subject{namespace, name})
		return
	}
	for s := range l.targets {
		if s.namespace == namespace {
			l.tell(s)
		}
	}
}

func (l *lookout) tell(s subject) {
	for ref := range l.targets[s] {
		for t, before := range l.looks[ref].at {
			if t.subject == s && differs(before, l.readiness.Of(t.namespace, t.name, t.port)) {
				l.queue(ref)
				break
			}
		}
	}
}

// differs says whether a target would be decided on otherwise.
func differs(a, b readiness.State) bool {
	return a.Known != b.Known || a.Exists != b.Exists || a.Judgeable != b.Judgeable || a.Ready > 0 != (b.Ready > 0) || !a.Since.Equal(b.Since)
}

// judged says whether a backend is a Service that may be looked at: nobody is told of
// another namespace than the target's own.
func judged(ref target.Ref, b swap.Backend) bool {
	return b.Weight > 0 && b.Unjudged == "" && b.Namespace == ref.Namespace
}

func throughOf(b swap.Backend) through {
	t := through{subject: subject{b.Namespace, b.Name}}
	switch n, err := strconv.ParseInt(b.Port, 10, 32); {
	case err == nil:
		t.port = intstr.FromInt32(int32(n))
	case b.Port != "":
		t.port = intstr.FromString(b.Port)
	}
	return t
}

// seen gives what was last seen for a target.
func (l *lookout) seen(ref target.Ref) wanted.Seen {
	if l == nil {
		return wanted.Seen{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if current := l.looks[ref]; current != nil {
		return current.seen
	}
	return wanted.Seen{}
}

func (l *lookout) keep(ref target.Ref, seen wanted.Seen) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if current := l.looks[ref]; current != nil {
		current.seen = seen
	}
}
