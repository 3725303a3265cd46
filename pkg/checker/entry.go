package checker

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/readiness"
)

// DefaultWait is spec.for and spec.recoverFor where they are absent.
const DefaultWait = 10 * time.Second

// longestWait bounds them, as the CRD does.
const longestWait = 24 * time.Hour

// wanted is a service that a checker names, as it is meant.
type wanted struct {
	v1alpha1.CheckedService
	invalid string // why it cannot be watched, empty if it can
}

func (w wanted) key() types.NamespacedName {
	return types.NamespacedName{Namespace: w.Namespace, Name: w.Name}
}

// place is where a list names a service: a service that is named twice is watched in the
// first, and what the second is told must not become the first one's past.
type place struct {
	key    types.NamespacedName
	before int // entries of the same service
}

// places counts how often each service has been named so far.
type places map[types.NamespacedName]int

func (p places) next(key types.NamespacedName) place {
	at := place{key, p[key]}
	p[key]++
	return at
}

func (w wanted) port() intstr.IntOrString {
	if w.Port == nil {
		return intstr.IntOrString{}
	}
	return *w.Port
}

// limits say what a checker may name.
type limits struct {
	namespaces []string // that are served; "" among them is all
	across     bool     // other namespaces than the checker's
}

// services reads the spec. What the CRD would have refused is met here as well: it may be
// somebody else's.
func (l limits) services(c *v1alpha1.ServiceChecker) []wanted {
	var all []wanted
	seen := map[types.NamespacedName]bool{}
	for _, s := range c.Spec.Services {
		w := wanted{CheckedService: s}
		if w.Namespace == "" {
			w.Namespace = c.Namespace
		}
		w.MinReady = max(1, w.MinReady)
		switch {
		case w.Namespace != c.Namespace && !l.across:
			w.invalid = "is in another namespace than the checker: --checkers-across-namespaces would allow it"
		case !slices.Contains(l.namespaces, "") && !slices.Contains(l.namespaces, w.Namespace):
			w.invalid = "is in a namespace that --watch-namespaces leaves out"
		case seen[w.key()]:
			w.invalid = "is named twice: name it once"
		}
		seen[w.key()] = true
		all = append(all, w)
	}
	return all
}

func waitsOf(c *v1alpha1.ServiceChecker) waits {
	return waits{down: wait(c.Spec.For), up: wait(c.Spec.RecoverFor)}
}

func wait(d *v1alpha1.Duration) time.Duration {
	if d == nil {
		return DefaultWait
	}
	return min(max(0, d.Duration.Duration), longestWait)
}

// entry is a service of a checker, and what is seen of it.
type entry struct {
	wanted
	spell
	named     time.Time // when it was first seen in the spec
	seen      bool      // this process has known it once
	endpoints int
	unjudged  bool // it counts as up, since nobody can tell
	message   string
}

// see judges the entry by the readiness of its Service, and says when to look again.
func (e *entry) see(s readiness.State, now time.Time, w waits) time.Time {
	if e.invalid != "" { // others may have it watched, and who may not ask is told nothing of it
		s = readiness.State{}
	}
	e.endpoints, e.unjudged, e.message = s.Ready, s.Known && !s.Judgeable, s.Message
	ready := !s.Judgeable || s.Ready >= int(e.MinReady) || e.MinReady == 1 && s.Serving() > 0
	var due time.Time
	e.spell, due = e.spell.next(sight{known: s.Known, ready: ready, at: now}, w)
	e.seen = e.seen || e.known
	switch {
	case e.invalid != "":
		e.message = e.invalid
	case !e.known:
	case !ready && s.Ready > 0:
		e.message = fmt.Sprintf("has %d of %d ready endpoints that it needs", s.Ready, e.MinReady)
	case ready && e.counted == v1alpha1.Down:
		e.message = fmt.Sprintf("is ready again, and counts as up once it has been for %s", w.up)
	}
	return due
}

// says is the message as a sentence of its own.
func (e *entry) says() string {
	if e.message == "" {
		return ""
	}
	return fmt.Sprintf("Service %s %s", e.key(), e.message)
}

func (e *entry) status() v1alpha1.ServiceStatus {
	return v1alpha1.ServiceStatus{
		Name: e.Name, Namespace: e.Namespace, Port: e.Port,
		Ready: e.ready, ReadyEndpoints: int32(e.endpoints),
		State: e.state(), Since: metav1.NewTime(e.begun().Truncate(time.Second)), Message: e.message,
	}
}

// begun is since when it is ready or not, or if that was never known, since it was named.
func (e *entry) begun() time.Time {
	if e.since.IsZero() {
		return e.named
	}
	return e.since
}
