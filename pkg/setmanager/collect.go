package setmanager

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
)

// release waits out the grace period of a set that nobody uses, then collects it.
func (m *Manager) release(ctx context.Context, id pageset.ID, o pageset.Observed) (time.Duration, error) {
	if o.ConfigMap == nil && (o.Service != nil || len(o.Pods) > 0) {
		m.forget(id)
		return 0, m.findAgain(ctx, id)
	}
	if !o.Alive() || pageset.Foreign(o.ConfigMap) != "" {
		m.forget(id)
		return 0, nil
	}
	// Until all that the record names has been looked at, it may be the only trace
	// of a user whose annotations and backup are both gone.
	if left := m.Grace - m.Clock.Since(m.began); left > 0 {
		return left, nil
	}
	// The record goes first. A set without users does not count as serving, and
	// who takes it into use again writes to it: the delete would then conflict.
	cm := o.ConfigMap
	if cm.Annotations[annotations.UsedBy] != "" {
		changed := cm.DeepCopy()
		changed.Annotations[annotations.UsedBy] = ""
		out, err := m.Client.CoreV1().ConfigMaps(id.Namespace).Update(ctx, changed, update())
		if err != nil {
			return recheck, ignoreGone(wrap(err, "write used-by of page set", id))
		}
		m.wrote(id, cm, out)
		return m.graceLeft(id), nil
	}
	if left := m.graceLeft(id); left > 0 {
		return left, nil
	}
	return m.collect(ctx, id, cm)
}

// findAgain puts the labels back on a set's ConfigMap of which the watch shows nothing
// but its parts: somebody took them off, and it would stay for ever.
func (m *Manager) findAgain(ctx context.Context, id pageset.ID) error {
	there, err := m.Client.CoreV1().ConfigMaps(id.Namespace).Get(ctx, id.Name, metav1.GetOptions{})
	if err != nil {
		return ignoreGone(wrap(err, "read ConfigMap of page set", id)) // gone, as a rule: the rest is about to follow
	}
	if there.DeletionTimestamp != nil || pageset.Foreign(there) != "" || !m.Installation.Owns(installation.Of(there)) || pageset.Labelled(there, pageset.ConfigMap(id, page.Page{}, "")) {
		return nil
	}
	_, err = m.record(ctx, id, there, there.Annotations[annotations.UsedBy])
	return err
}

// graceLeft starts or reads the clock of an idle set.
func (m *Manager) graceLeft(id pageset.ID) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	since, ok := m.idleSince[id]
	if !ok {
		since = m.Clock.Now()
		m.idleSince[id] = since
	}
	return max(0, m.Grace-m.Clock.Since(since))
}

// collect deletes the set after the API server itself has confirmed that nobody
// uses it. The rest of the set goes with its owner, the ConfigMap.
func (m *Manager) collect(ctx context.Context, id pageset.ID, cm metav1.Object) (time.Duration, error) {
	if !m.Claims.collect(id) {
		return 0, nil // claimed this moment: the claim has queued the set
	}
	defer m.reopen(id)
	users, err := m.Confirm(ctx, id)
	if err != nil {
		return 0, wrap(err, "not collected, since its users cannot be listed: page set", id)
	}
	if len(users) > 0 {
		m.Found(users)
		return max(m.Grace, time.Second), nil
	}
	uid, version := cm.GetUID(), cm.GetResourceVersion()
	background := metav1.DeletePropagationBackground
	err = m.Client.CoreV1().ConfigMaps(id.Namespace).Delete(ctx, id.Name, metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
		PropagationPolicy: &background,
	})
	if ignoreGone(err) != nil {
		return 0, wrap(err, "delete page set", id)
	}
	if err == nil {
		m.mu.Lock()
		now := m.Clock.Now()
		for old, at := range m.deleted {
			if now.Sub(at) > time.Hour {
				delete(m.deleted, old)
			}
		}
		m.deleted[uid] = now
		m.mu.Unlock()
	}
	m.forget(id)
	return recheck, nil
}

func (m *Manager) forget(id pageset.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.idleSince, id)
	delete(m.reachable, id)
	delete(m.failures, id)
	delete(m.started, id)
	delete(m.failing, id)
	delete(m.written, id)
}
