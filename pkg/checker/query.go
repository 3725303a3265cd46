package checker

import (
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/metrics"
)

// Verdict returns a checker's verdict on its critical services. It sends no request and is quick.
func (r *Registry) Verdict(namespace, name string) Verdict {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	there, _ := r.served.LastDiscovery(v1alpha1.Kind)
	synced := there && r.served.HasSynced() && r.find(key) == nil
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.checkers[key]; c != nil {
		if !there { // its CRD was deleted
			return Verdict{RecoverFor: c.waits.up}
		}
		return c.verdict
	}
	d, was := r.deleted[key]
	switch {
	case !synced:
		r.work.AddAfter(key, deletionConfirmDelay) // the caller is notified once it is known whether the checker exists
		return Verdict{RecoverFor: DefaultWait}
	case was && d.confirmed.IsZero():
		return Verdict{RecoverFor: d.recoverFor}
	case was:
		return Verdict{State: Deleted, Since: d.confirmed, RecoverFor: d.recoverFor}
	}
	if r.absentSince.IsZero() {
		r.absentSince = r.config.Clock.Now()
	}
	return Verdict{State: Deleted, Since: r.absentSince, RecoverFor: DefaultWait}
}

// Services lists the Services that checkers name, each once, unordered. The caller must not change
// the list. known is false until all checkers have been read and judged once.
func (r *Registry) Services() (all []Service, known bool) {
	if !r.Ready() {
		return nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.merged == nil {
		r.merged = merge(r.checkers)
	}
	return r.merged, true
}

// Ready reports whether all checkers have been read and judged once.
func (r *Registry) Ready() bool {
	r.mu.Lock()
	begun := r.judgedOnce
	r.mu.Unlock()
	if begun {
		return true
	}
	if !r.served.HasSynced() {
		return false
	}
	complete := true
	r.served.Each(allCheckers, allCheckers, func(_ string, object any) {
		if s, ok := object.(*cachedChecker); ok && r.get(nameOf(s)) == nil {
			complete = false
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.judgedOnce = r.judgedOnce || complete
	return complete
}

// merge combines the entries that several checkers have for a Service: it is critical if it is for
// any of them, and ready if it is for all.
func merge(checkers map[types.NamespacedName]*evaluated) []Service {
	at := map[types.NamespacedName]int{}
	list := []Service{}
	for _, c := range checkers {
		for i := range c.entries {
			e := &c.entries[i]
			if e.invalid != "" {
				continue
			}
			s := Service{
				Namespace: e.Namespace, Name: e.Name, Known: e.known, Ready: e.ready, Critical: e.Critical,
				ReadyEndpoints: e.endpoints, Since: e.since, Message: e.message,
			}
			if j, named := at[e.key()]; named {
				list[j] = list[j].mergeWith(s)
			} else {
				at[e.key()] = len(list)
				list = append(list, s)
			}
		}
	}
	return list
}

// mergeWith combines the entries of two checkers for one Service. The order does not matter.
func (s Service) mergeWith(o Service) Service {
	first := s
	if o.takesPrecedence(s) {
		first = o
	}
	first.Critical = s.Critical || o.Critical
	first.Known = s.Known && o.Known
	first.ReadyEndpoints = min(s.ReadyEndpoints, o.ReadyEndpoints)
	return first
}

// takesPrecedence reports whether s stands for both: an entry that is not ready wins, and of two
// equal ones the one that became ready last or not ready first.
func (s Service) takesPrecedence(o Service) bool {
	switch {
	case s.Ready != o.Ready:
		return !s.Ready
	case !s.Since.Equal(o.Since):
		return s.Since.After(o.Since) == s.Ready
	}
	return s.Message > o.Message
}

// Counts returns the current state for metrics.
func (r *Registry) Counts() metrics.Checks {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := metrics.Checks{Checkers: map[string]int{}, Services: map[metrics.CheckedLabels]int{}}
	for _, c := range r.checkers {
		n.Checkers[string(available(c.entries, c.unreadable).Status)]++
		for i := range c.entries {
			e := &c.entries[i]
			n.Services[metrics.CheckedLabels{State: string(e.state()), Critical: e.Critical}]++
		}
	}
	return n
}
