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

// Readiness reports whether Services can serve. readiness.Watcher implements it and documents the
// methods.
type Readiness interface {
	Acquire(namespace string) (release func())
	State(namespace, service string, port intstr.IntOrString) readiness.State
	OnChange(f func(namespace, service string))
}

// Checkers give the verdicts of ServiceCheckers. checker.Registry implements it and documents the
// methods.
type Checkers interface {
	Verdict(namespace, name string) checker.Verdict
	OnChange(f func(namespace, checker string))
}

// dependencies tracks which targets depend on which Services and ServiceCheckers, and queues a
// target when one of its own becomes ready or stops being ready. Other changes that happen all day,
// such as the number of endpoints, cause no request.
type dependencies struct {
	readiness Readiness
	queue     func(target.Ref)

	mu        sync.Mutex
	byTarget  map[target.Ref]*dependency
	byService map[subject]map[target.Ref]bool
	byChecker map[subject]map[target.Ref]bool // by ServiceChecker
}

// subject is a Service or a ServiceChecker that targets depend on.
type subject struct{ namespace, name string }

// dependency is what one target depends on.
type dependency struct {
	release func()
	states  map[servicePort]readiness.State // as of the last decision on the target
	checker string                          // that the target names; empty for none
	seen    wanted.Observed
}

// servicePort is a Service through one of its ports.
type servicePort struct {
	subject
	port intstr.IntOrString
}

// newDependencies returns nil if there is no Readiness.
func newDependencies(r Readiness, checkers Checkers, queue func(target.Ref)) *dependencies {
	if r == nil {
		return nil
	}
	l := &dependencies{readiness: r, queue: queue, byTarget: map[target.Ref]*dependency{}, byService: map[subject]map[target.Ref]bool{}, byChecker: map[subject]map[target.Ref]bool{}}
	r.OnChange(l.serviceChanged)
	if checkers != nil {
		checkers.OnChange(l.checkerChanged)
	}
	return l
}

// observe returns the states of a target's backends, in their order, and from now on queues the
// target when one of them changes, or the checker that it names. Even without backends the namespace
// is watched: the target is about to need it.
func (l *dependencies) observe(ref target.Ref, backends []swap.Backend, goesBy string) []readiness.State {
	l.mu.Lock()
	current := l.byTarget[ref]
	if current == nil {
		current = &dependency{release: l.readiness.Acquire(ref.Namespace)}
		l.byTarget[ref] = current
	}
	l.unregister(ref, current)
	current.states, current.checker = map[servicePort]readiness.State{}, goesBy
	for _, b := range backends {
		if isJudged(ref, b) {
			t := servicePortOf(b)
			current.states[t] = readiness.State{}
			register(l.byService, t.subject, ref)
		}
	}
	if goesBy != "" {
		register(l.byChecker, subject{ref.Namespace, goesBy}, ref)
	}
	l.mu.Unlock()
	// The states are read after the registration, so that no change can be missed.
	states := make([]readiness.State, len(backends))
	for i, b := range backends {
		if !isJudged(ref, b) {
			continue
		}
		t := servicePortOf(b)
		states[i] = l.readiness.State(t.namespace, t.name, t.port)
		l.mu.Lock()
		if _, ok := current.states[t]; ok {
			current.states[t] = states[i]
		}
		l.mu.Unlock()
	}
	return states
}

// register registers a target for changes of a subject.
func register(told map[subject]map[target.Ref]bool, s subject, ref target.Ref) {
	if told[s] == nil {
		told[s] = map[target.Ref]bool{}
	}
	told[s][ref] = true
}

// unregister removes the registrations of a target.
func (l *dependencies) unregister(ref target.Ref, current *dependency) {
	off := func(told map[subject]map[target.Ref]bool, s subject) {
		if delete(told[s], ref); len(told[s]) == 0 {
			delete(told, s)
		}
	}
	for t := range current.states {
		off(l.byService, t.subject)
	}
	off(l.byChecker, subject{ref.Namespace, current.checker})
}

// checkerChanged queues the targets that name a checker.
func (l *dependencies) checkerChanged(namespace, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref := range l.byChecker[subject{namespace, name}] {
		l.queue(ref)
	}
}

// drop ends the dependencies of a target.
func (l *dependencies) drop(ref target.Ref) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	current := l.byTarget[ref]
	if current == nil {
		return
	}
	l.unregister(ref, current)
	delete(l.byTarget, ref)
	current.release()
}

// serviceChanged queues the targets that depend on a Service, or on any of the namespace, if the
// change would lead to another decision.
func (l *dependencies) serviceChanged(namespace, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name != "" {
		l.queueDependents(subject{namespace, name})
		return
	}
	for s := range l.byService {
		if s.namespace == namespace {
			l.queueDependents(s)
		}
	}
}

func (l *dependencies) queueDependents(s subject) {
	for ref := range l.byService[s] {
		for t, before := range l.byTarget[ref].states {
			if t.subject == s && differs(before, l.readiness.State(t.namespace, t.name, t.port)) {
				l.queue(ref)
				break
			}
		}
	}
}

// differs reports whether the decision on a target could differ.
func differs(a, b readiness.State) bool {
	return a.Known != b.Known || a.Exists != b.Exists || a.Judgeable != b.Judgeable || a.Ready > 0 != (b.Ready > 0) || !a.Since.Equal(b.Since)
}

// isJudged reports whether a backend is a Service that may be judged: nothing is revealed about
// other namespaces than the target's own.
func isJudged(ref target.Ref, b swap.Backend) bool {
	return b.Weight > 0 && b.Unjudged == "" && b.Namespace == ref.Namespace
}

func servicePortOf(b swap.Backend) servicePort {
	t := servicePort{subject: subject{b.Namespace, b.Name}}
	switch n, err := strconv.ParseInt(b.Port, 10, 32); {
	case err == nil:
		t.port = intstr.FromInt32(int32(n))
	case b.Port != "":
		t.port = intstr.FromString(b.Port)
	}
	return t
}

// lastSeen returns what was last observed for a target.
func (l *dependencies) lastSeen(ref target.Ref) wanted.Observed {
	if l == nil {
		return wanted.Observed{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if current := l.byTarget[ref]; current != nil {
		return current.seen
	}
	return wanted.Observed{}
}

func (l *dependencies) remember(ref target.Ref, seen wanted.Observed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if current := l.byTarget[ref]; current != nil {
		current.seen = seen
	}
}
