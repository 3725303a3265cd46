package setmanager

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"maintenance-controller.io/pkg/pageset"
)

// ownWrite is a ConfigMap as this process last wrote it, with the earlier versions that the watch
// may still show: an update of one of those would conflict.
type ownWrite struct {
	latest     *corev1.ConfigMap
	superseded map[string]bool
}

// startedPod is a Pod that was created and may not be in the cache yet.
type startedPod struct {
	pod *corev1.Pod
	at  time.Time
}

// rememberWrite records that a version of a set's ConfigMap was replaced by another.
func (m *Manager) rememberWrite(id pageset.ID, before, after *corev1.ConfigMap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	superseded := map[string]bool{before.ResourceVersion: true}
	if w := m.written[id]; w.latest != nil && w.latest.ResourceVersion == before.ResourceVersion {
		maps.Copy(superseded, w.superseded)
	}
	m.written[id] = ownWrite{latest: after, superseded: superseded}
}

// observe returns what the cache shows, corrected by what this process has just done.
func (m *Manager) observe(id pageset.ID) pageset.Observed {
	o := m.Cache.Observe(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.ConfigMap != nil {
		if _, gone := m.deleted[o.ConfigMap.UID]; gone {
			o.ConfigMap = nil
		} else if w := m.written[id]; w.superseded[o.ConfigMap.ResourceVersion] {
			o.ConfigMap = w.latest
		} else {
			delete(m.written, id)
		}
	}
	for _, p := range o.Pods {
		delete(m.started[id], p.UID)
	}
	for uid, s := range m.started[id] {
		if m.Clock.Since(s.at) > 30*time.Second { // it was deleted before the watch showed it
			delete(m.started[id], uid)
			continue
		}
		o.Pods = append(o.Pods, s.pod)
	}
	if len(m.started[id]) == 0 {
		delete(m.started, id)
	}
	return o
}

// reachableSince tracks since when the page set has endpoints and a Service that fits its users. It
// counts while the set is unused as well, because ingress controllers know the set then.
func (m *Manager) reachableSince(id pageset.ID, o pageset.Observed) (since time.Time, reachable bool) {
	reachable = o.Endpoints() && m.Template.Fits(o.Service, m.classes(id))
	m.mu.Lock()
	defer m.mu.Unlock()
	since, known := m.reachable[id]
	switch {
	case !reachable:
		delete(m.reachable, id)
	case !known:
		since = m.Clock.Now()
		m.reachable[id] = since
	}
	return since, reachable
}
