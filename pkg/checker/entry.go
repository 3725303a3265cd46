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

// DefaultWait is the default of spec.for and spec.recoverFor.
const DefaultWait = 10 * time.Second

// maxWait bounds both, as the CRD does.
const maxWait = 24 * time.Hour

// namedService is an entry of the spec with its defaults filled in.
type namedService struct {
	v1alpha1.CheckedService
	invalid string // why it cannot be watched; empty if it can
}

func (w namedService) key() types.NamespacedName {
	return types.NamespacedName{Namespace: w.Namespace, Name: w.Name}
}

// occurrence identifies an entry of a list. Of a Service that is listed twice only the first entry
// is watched, and the two must not exchange their history.
type occurrence struct {
	key     types.NamespacedName
	earlier int // earlier entries of the same Service
}

// occurrences counts how often each Service has been listed so far.
type occurrences map[types.NamespacedName]int

func (p occurrences) next(key types.NamespacedName) occurrence {
	at := occurrence{key, p[key]}
	p[key]++
	return at
}

func (w namedService) port() intstr.IntOrString {
	if w.Port == nil {
		return intstr.IntOrString{}
	}
	return *w.Port
}

// limits say which namespaces a checker may name.
type limits struct {
	namespaces   []string // that are served; "" means all
	anyNamespace bool     // namespaces other than the checker's are allowed
}

// services returns the entries of the spec. It also handles what our CRD would reject, because
// another CRD of this name may be installed.
func (l limits) services(c *v1alpha1.ServiceChecker) []namedService {
	var all []namedService
	seen := map[types.NamespacedName]bool{}
	for _, s := range c.Spec.Services {
		w := namedService{CheckedService: s}
		if w.Namespace == "" {
			w.Namespace = c.Namespace
		}
		w.MinReady = max(1, w.MinReady)
		switch {
		case w.Namespace != c.Namespace && !l.anyNamespace:
			w.invalid = "is in another namespace than the checker, which takes --checkers-across-namespaces"
		case !slices.Contains(l.namespaces, "") && !slices.Contains(l.namespaces, w.Namespace):
			w.invalid = "is in a namespace that --watch-namespaces does not include"
		case seen[w.key()]:
			w.invalid = "is listed twice: list it once"
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
	return min(max(0, d.Duration.Duration), maxWait)
}

// entry is a service of a checker with its observed state.
type entry struct {
	namedService
	health
	namedAt   time.Time // when it was first listed in the spec
	everKnown bool      // its state has been known once in this process
	endpoints int
	unjudged  bool // it counts as up because it cannot be judged
	message   string
}

// judge updates the entry from the readiness of its Service, and returns when to judge it again
// although nothing has changed; zero for never.
func (e *entry) judge(s readiness.State, now time.Time, w waits) time.Time {
	if e.invalid != "" { // others may watch it, but this checker must not learn anything about it
		s = readiness.State{}
	}
	e.endpoints, e.unjudged, e.message = s.Ready, s.Known && !s.Judgeable, s.Message
	ready := !s.Judgeable || s.Ready >= int(e.MinReady) || e.MinReady == 1 && s.Serving() > 0
	var due time.Time
	e.health, due = e.health.next(observation{known: s.Known, ready: ready, at: now}, w)
	e.everKnown = e.everKnown || e.known
	switch {
	case e.invalid != "":
		e.message = e.invalid
	case !e.known:
	case !ready && s.Ready > 0:
		e.message = fmt.Sprintf("has %d of the %d ready endpoints that it needs", s.Ready, e.MinReady)
	case ready && e.countsAs == v1alpha1.Down:
		e.message = fmt.Sprintf("is ready again, and counts as up once it has stayed ready for %s", w.up)
	}
	return due
}

// sentence returns the message as a complete sentence.
func (e *entry) sentence() string {
	if e.message == "" {
		return ""
	}
	return fmt.Sprintf("Service %s %s", e.key(), e.message)
}

func (e *entry) status() v1alpha1.ServiceStatus {
	return v1alpha1.ServiceStatus{
		Name: e.Name, Namespace: e.Namespace, Port: e.Port,
		Ready: e.ready, ReadyEndpoints: int32(e.endpoints),
		State: e.state(), Since: metav1.NewTime(e.effectiveSince().Truncate(time.Second)), Message: e.message,
	}
}

// effectiveSince returns since when it is ready or not, or when it was first listed if that was
// never known.
func (e *entry) effectiveSince() time.Time {
	if e.since.IsZero() {
		return e.namedAt
	}
	return e.since
}
