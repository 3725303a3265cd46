package checker

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/apis/v1alpha1"
)

// evaluated is a checker as it was last evaluated. It is replaced and never changed, except for the
// namespaces that it holds.
type evaluated struct {
	object         *cachedChecker
	entries        []entry
	unreadable     string // why its spec cannot be read; empty if it can
	waits          waits
	verdict        Verdict
	firstEvaluated time.Time         // time of the first evaluation
	releases       map[string]func() // by namespace, the function that releases it
}

// release releases the namespaces that are not wanted.
func (c *evaluated) release(wanted map[string]bool) {
	for namespace, release := range c.releases {
		if !wanted[namespace] {
			release()
			delete(c.releases, namespace)
		}
	}
}

// evaluate judges the services of a checker, and returns after how long to evaluate it again
// although nothing has changed.
func (r *Registry) evaluate(_ context.Context, key types.NamespacedName) (time.Duration, error) {
	now := r.config.Clock.Now()
	object := r.find(key)
	if object == nil {
		return r.forget(key, now), nil
	}
	before := r.get(key)
	if before != nil && before.object.UID != object.UID { // recreated under the same name
		r.forget(key, now)
		before = nil
	}
	c := &evaluated{object: object, waits: waitsOf(object.ServiceChecker), firstEvaluated: now, releases: map[string]func(){}}
	if object.unreadable != "" {
		c.unreadable = "spec cannot be read: " + annotations.ClipTo(object.unreadable, annotations.MaxMessage/2)
	}
	if before != nil {
		c.firstEvaluated, c.releases = before.firstEvaluated, before.releases
	}
	c.entries = r.namedEntries(c, before, now)
	r.acquire(key, c) // from here on changes are reported
	due := c.judgeAll(r, now)
	c.decide(before, now)
	if r.store(key, c, before) {
		r.notifyChanged(key)
	}
	r.notifyEvaluated(key)
	if due.IsZero() {
		return 0, nil
	}
	return max(time.Millisecond, due.Sub(now)), nil
}

// namedEntries returns the entries of the spec with their history: from this process, or else from
// the status.
func (r *Registry) namedEntries(c, before *evaluated, now time.Time) []entry {
	known, at := map[occurrence]entry{}, occurrences{}
	for _, s := range c.object.Status.Services {
		known[at.next(types.NamespacedName{Namespace: s.Namespace, Name: s.Name})] = entry{health: resumedHealth(s, now), namedAt: s.Since.Time}
	}
	if before != nil {
		at = occurrences{}
		for _, e := range before.entries {
			known[at.next(e.key())] = e
		}
	}
	var entries []entry
	at = occurrences{}
	for _, w := range (limits{namespaces: r.config.Namespaces, anyNamespace: r.config.AcrossNamespaces}).services(c.object.ServiceChecker) {
		e := entry{namedService: w, namedAt: now}
		if was, ok := known[at.next(w.key())]; ok {
			e.health, e.namedAt, e.everKnown = was.health, was.namedAt, was.everKnown
		}
		if w.invalid != "" {
			e.health = health{}
		}
		entries = append(entries, e)
	}
	return entries
}

// acquire has the namespaces of all services watched, and their changes reported to the checker.
func (r *Registry) acquire(key types.NamespacedName, c *evaluated) {
	wanted := map[string]bool{}
	for i := range c.entries {
		if e := &c.entries[i]; e.invalid == "" {
			wanted[e.Namespace] = true
		}
	}
	for namespace := range wanted {
		if c.releases[namespace] == nil {
			c.releases[namespace] = r.config.Readiness.Acquire(namespace)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range c.entries {
		if e := &c.entries[i]; e.invalid == "" {
			add(r.byService, e.key(), key)
			add(r.byNamespace, e.Namespace, key)
		}
	}
}

func add[K comparable](index map[K]map[types.NamespacedName]bool, under K, key types.NamespacedName) {
	if index[under] == nil {
		index[under] = map[types.NamespacedName]bool{}
	}
	index[under][key] = true
}

func remove[K comparable](index map[K]map[types.NamespacedName]bool, under K, key types.NamespacedName) {
	if delete(index[under], key); len(index[under]) == 0 {
		delete(index, under)
	}
}

// judgeAll judges every service, and returns when the first of them changes although nothing
// happens; zero for never.
func (c *evaluated) judgeAll(r *Registry, now time.Time) time.Time {
	var first time.Time
	for i := range c.entries {
		e := &c.entries[i]
		due := e.judge(r.config.Readiness.State(e.Namespace, e.Name, e.port()), now, c.waits)
		if !due.IsZero() && (first.IsZero() || due.Before(first)) {
			first = due
		}
	}
	return first
}

// decide sets the verdict on the critical services.
func (c *evaluated) decide(before *evaluated, now time.Time) {
	critical := func(e *entry) bool { return e.Critical }
	down := filter(c.entries, v1alpha1.Down, critical)
	c.verdict = Verdict{State: Up, RecoverFor: c.waits.up, Since: now}
	switch {
	case len(down) > 0:
		c.verdict.State = Down
		for _, e := range down {
			c.verdict.Causes = append(c.verdict.Causes, e.sentence())
		}
	case c.unreadable != "" || len(filter(c.entries, v1alpha1.Unknown, critical)) > 0:
		c.verdict.State, c.verdict.Since = Unknown, time.Time{}
	}
	if before != nil && before.verdict.State == c.verdict.State {
		c.verdict.Since = before.verdict.Since
	}
}

func (r *Registry) get(key types.NamespacedName) *evaluated {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checkers[key]
}

// store stores the evaluation, and reports whether anything visible has changed.
func (r *Registry) store(key types.NamespacedName, c, before *evaluated) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := map[string]bool{}
	named := map[types.NamespacedName]bool{}
	for i := range c.entries {
		if e := &c.entries[i]; e.invalid == "" {
			wanted[e.Namespace], named[e.key()] = true, true
		}
	}
	if before != nil {
		for i := range before.entries {
			if e := &before.entries[i]; !named[e.key()] {
				remove(r.byService, e.key(), key)
			}
			if e := &before.entries[i]; !wanted[e.Namespace] {
				remove(r.byNamespace, e.Namespace, key)
			}
		}
	}
	c.release(wanted)
	r.checkers[key] = c
	delete(r.deleted, key)
	changed := before == nil || !reflect.DeepEqual(before.verdict, c.verdict) || !reflect.DeepEqual(before.entries, c.entries)
	if changed {
		r.merged = nil
	}
	return changed
}

// deletionConfirmDelay is for how long the CRD must have been served after the deletion of a checker
// before the deletion counts: when a CRD is deleted, the API server deletes its objects first.
const deletionConfirmDelay = 5 * time.Second

// maxRememberedDeletions bounds how many deletions are kept. Of a forgotten one it is still known
// that the checker does not exist, but not its last recoverFor.
const maxRememberedDeletions = 1000

// forget handles a checker that does not exist, and returns after how long to check again.
func (r *Registry) forget(key types.NamespacedName, now time.Time) time.Duration {
	there, looked := r.served.LastDiscovery(v1alpha1.Kind)
	r.mu.Lock()
	c := r.checkers[key]
	if c != nil {
		c.release(nil)
		for i := range c.entries {
			remove(r.byService, c.entries[i].key(), key)
			remove(r.byNamespace, c.entries[i].Namespace, key)
		}
		delete(r.checkers, key)
		if len(r.deleted) >= maxRememberedDeletions {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(r.deleted)), func(a, b types.NamespacedName) int {
				return r.deleted[a].at.Compare(r.deleted[b].at)
			})
			delete(r.deleted, oldest)
		}
		r.deleted[key] = deletion{at: now, recoverFor: c.waits.up}
		r.merged = nil
	}
	d, was := r.deleted[key]
	waits := was && d.confirmed.IsZero()
	confirmed := waits && there && looked.After(d.at.Add(deletionConfirmDelay))
	if confirmed {
		d.confirmed = now
		r.deleted[key] = d
	}
	r.mu.Unlock()
	if c != nil || confirmed {
		r.notifyChanged(key)
	}
	if c != nil {
		r.notifyEvaluated(key)
	}
	switch {
	case waits && !confirmed:
		return time.Second
	case was:
		return 0
	case !there || !r.served.HasSynced():
		return deletionConfirmDelay // Verdict was called for it
	}
	r.notifyChanged(key)
	return 0
}
