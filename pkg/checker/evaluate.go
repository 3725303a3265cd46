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

// checked is a checker as it was last evaluated. It is replaced and never changed, but for
// what it holds.
type checked struct {
	object  *stored
	entries []entry
	wrong   string // why its spec cannot be read
	waits   waits
	verdict Verdict
	begun   time.Time         // of the first evaluation
	held    map[string]func() // namespaces, and how to release them
}

// release gives back the namespaces that are not wanted.
func (c *checked) release(wanted map[string]bool) {
	for namespace, release := range c.held {
		if !wanted[namespace] {
			release()
			delete(c.held, namespace)
		}
	}
}

// evaluate sees how the services of a checker are, and says when to look again.
func (r *Registry) evaluate(_ context.Context, key types.NamespacedName) (time.Duration, error) {
	now := r.config.Clock.Now()
	object := r.find(key)
	if object == nil {
		return r.gone(key, now), nil
	}
	before := r.get(key)
	if before != nil && before.object.UID != object.UID { // made anew under its name
		r.gone(key, now)
		before = nil
	}
	c := &checked{object: object, waits: waitsOf(object.ServiceChecker), begun: now, held: map[string]func(){}}
	if object.wrong != "" {
		c.wrong = "spec cannot be read: " + annotations.ClipTo(object.wrong, annotations.MaxMessage/2)
	}
	if before != nil {
		c.begun, c.held = before.begun, before.held
	}
	c.entries = r.name(c, before, now)
	r.hold(key, c) // told of changes from here on
	due := c.look(r, now)
	c.decide(before, now)
	if r.put(key, c, before) {
		r.notify(key)
	}
	r.poke(key)
	if due.IsZero() {
		return 0, nil
	}
	return max(time.Millisecond, due.Sub(now)), nil
}

// name lists the services that the spec names, as they have been so far: in this process,
// or else as the status says.
func (r *Registry) name(c, before *checked, now time.Time) []entry {
	known, at := map[place]entry{}, places{}
	for _, s := range c.object.Status.Services {
		known[at.next(types.NamespacedName{Namespace: s.Namespace, Name: s.Name})] = entry{spell: resumed(s, now), named: s.Since.Time}
	}
	if before != nil {
		at = places{}
		for _, e := range before.entries {
			known[at.next(e.key())] = e
		}
	}
	var entries []entry
	at = places{}
	for _, w := range (limits{namespaces: r.config.Namespaces, across: r.config.AcrossNamespaces}).services(c.object.ServiceChecker) {
		e := entry{wanted: w, named: now}
		if was, ok := known[at.next(w.key())]; ok {
			e.spell, e.named, e.seen = was.spell, was.named, was.seen
		}
		if w.invalid != "" {
			e.spell = spell{}
		}
		entries = append(entries, e)
	}
	return entries
}

// hold has the namespaces of all services watched, and the checker told of them.
func (r *Registry) hold(key types.NamespacedName, c *checked) {
	wanted := map[string]bool{}
	for i := range c.entries {
		if e := &c.entries[i]; e.invalid == "" {
			wanted[e.Namespace] = true
		}
	}
	for namespace := range wanted {
		if c.held[namespace] == nil {
			c.held[namespace] = r.config.Readiness.Acquire(namespace)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range c.entries {
		if e := &c.entries[i]; e.invalid == "" {
			add(r.naming, e.key(), key)
			add(r.within, e.Namespace, key)
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

// look judges every service, and says when the first of them changes by itself.
func (c *checked) look(r *Registry, now time.Time) time.Time {
	var first time.Time
	for i := range c.entries {
		e := &c.entries[i]
		due := e.see(r.config.Readiness.Of(e.Namespace, e.Name, e.port()), now, c.waits)
		if !due.IsZero() && (first.IsZero() || due.Before(first)) {
			first = due
		}
	}
	return first
}

// decide gives the verdict on the critical services.
func (c *checked) decide(before *checked, now time.Time) {
	critical := func(e *entry) bool { return e.Critical }
	down := which(c.entries, v1alpha1.Down, critical)
	c.verdict = Verdict{State: Up, RecoverFor: c.waits.up, Since: now}
	switch {
	case len(down) > 0:
		c.verdict.State = Down
		for _, e := range down {
			c.verdict.Causes = append(c.verdict.Causes, e.says())
		}
	case c.wrong != "" || len(which(c.entries, v1alpha1.Unknown, critical)) > 0:
		c.verdict.State, c.verdict.Since = Unknown, time.Time{}
	}
	if before != nil && before.verdict.State == c.verdict.State {
		c.verdict.Since = before.verdict.Since
	}
}

func (r *Registry) get(key types.NamespacedName) *checked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checkers[key]
}

// put keeps a checker as it is now, and says whether anything has changed that is shown.
func (r *Registry) put(key types.NamespacedName, c, before *checked) bool {
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
				remove(r.naming, e.key(), key)
			}
			if e := &before.entries[i]; !wanted[e.Namespace] {
				remove(r.within, e.Namespace, key)
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

// Deletions of checkers are believed once the CRD has been seen to be served for that long
// after it: with a CRD, the API server deletes its objects first.
const believed = 5 * time.Second

// remembered bounds how many deletions are kept; of one that is not, it is known that there
// is no such checker, and not what it said.
const remembered = 1000

// gone forgets a checker that is not there, and says when to look again.
func (r *Registry) gone(key types.NamespacedName, now time.Time) time.Duration {
	there, looked := r.served.Looked(v1alpha1.Kind)
	r.mu.Lock()
	c := r.checkers[key]
	if c != nil {
		c.release(nil)
		for i := range c.entries {
			remove(r.naming, c.entries[i].key(), key)
			remove(r.within, c.entries[i].Namespace, key)
		}
		delete(r.checkers, key)
		if len(r.deleted) >= remembered {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(r.deleted)), func(a, b types.NamespacedName) int {
				return r.deleted[a].at.Compare(r.deleted[b].at)
			})
			delete(r.deleted, oldest)
		}
		r.deleted[key] = deletion{at: now, recoverFor: c.waits.up}
		r.merged = nil
	}
	d, was := r.deleted[key]
	waits := was && d.since.IsZero()
	confirmed := waits && there && looked.After(d.at.Add(believed))
	if confirmed {
		d.since = now
		r.deleted[key] = d
	}
	r.mu.Unlock()
	if c != nil || confirmed {
		r.notify(key)
	}
	if c != nil {
		r.poke(key)
	}
	switch {
	case waits && !confirmed:
		return time.Second
	case was:
		return 0
	case !there || !r.served.HasSynced():
		return believed // somebody has asked for it
	}
	r.notify(key)
	return 0
}
