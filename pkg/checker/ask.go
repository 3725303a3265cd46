package checker

import (
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/metrics"
)

// Down says what a checker says of its critical services. It asks nobody and is quick.
func (r *Registry) Down(namespace, name string) Verdict {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	there, _ := r.served.Looked(v1alpha1.Kind)
	synced := there && r.served.HasSynced() && r.find(key) == nil
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.checkers[key]; c != nil {
		if !there { // its CRD went
			return Verdict{RecoverFor: c.waits.up}
		}
		return c.verdict
	}
	d, was := r.deleted[key]
	switch {
	case !synced:
		r.work.AddAfter(key, believed) // whoever asks is told once it is known whether there is one
		return Verdict{RecoverFor: DefaultWait}
	case was && d.since.IsZero():
		return Verdict{RecoverFor: d.recoverFor}
	case was:
		return Verdict{State: Deleted, Since: d.since, RecoverFor: d.recoverFor}
	}
	if r.synced.IsZero() {
		r.synced = r.config.Clock.Now()
	}
	return Verdict{State: Deleted, Since: r.synced, RecoverFor: DefaultWait}
}

// Services lists the Services that checkers name, each once, in no order. Nobody may change
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

// Ready says whether all checkers have been read and judged once.
func (r *Registry) Ready() bool {
	r.mu.Lock()
	begun := r.begun
	r.mu.Unlock()
	if begun {
		return true
	}
	if !r.served.HasSynced() {
		return false
	}
	complete := true
	r.served.Each(all, all, func(_ string, object any) {
		if s, ok := object.(*stored); ok && r.get(nameOf(s)) == nil {
			complete = false
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun = r.begun || complete
	return complete
}

// merge makes one of what several checkers say of a Service: critical if any says so, and
// ready if all do.
func merge(checkers map[types.NamespacedName]*checked) []Service {
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
				list[j] = list[j].and(s)
			} else {
				at[e.key()] = len(list)
				list = append(list, s)
			}
		}
	}
	return list
}

// and is what two checkers say of one Service, in whatever order.
func (s Service) and(o Service) Service {
	first := s
	if o.before(s) {
		first = o
	}
	first.Critical = s.Critical || o.Critical
	first.Known = s.Known && o.Known
	first.ReadyEndpoints = min(s.ReadyEndpoints, o.ReadyEndpoints)
	return first
}

// before says which of two goes for both: one that is not ready, and among equals the one
// that has been so for the shorter time if it is ready, for the longer one if not.
func (s Service) before(o Service) bool {
	switch {
	case s.Ready != o.Ready:
		return !s.Ready
	case !s.Since.Equal(o.Since):
		return s.Since.After(o.Since) == s.Ready
	}
	return s.Message > o.Message
}

// Counts counts what there is now.
func (r *Registry) Counts() metrics.Checks {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := metrics.Checks{Checkers: map[string]int{}, Services: map[metrics.Checked]int{}}
	for _, c := range r.checkers {
		n.Checkers[string(available(c.entries, c.wrong).Status)]++
		for i := range c.entries {
			e := &c.entries[i]
			n.Services[metrics.Checked{State: string(e.state()), Critical: e.Critical}]++
		}
	}
	return n
}
