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

// release waits for the grace period of an unused page set, then deletes it.
func (m *Manager) release(ctx context.Context, id pageset.ID, o pageset.Observed) (time.Duration, error) {
	if o.ConfigMap == nil && (o.Service != nil || len(o.Pods) > 0) {
		m.forget(id)
		return 0, m.relabel(ctx, id)
	}
	if !o.Alive() || pageset.Foreign(o.ConfigMap) != "" {
		m.forget(id)
		return 0, nil
	}
	// Until all targets that the record names have been checked, it may be the only trace of a user
	// whose annotations and backup are both gone.
	if left := m.Grace - m.Clock.Since(m.began); left > 0 {
		return left, nil
	}
	// The record is cleared first. A set without users does not count as serving, and taking it into
	// use again writes to it: the delete would then conflict.
	cm := o.ConfigMap
	if cm.Annotations[annotations.UsedBy] != "" {
		changed := cm.DeepCopy()
		changed.Annotations[annotations.UsedBy] = ""
		out, err := m.Client.CoreV1().ConfigMaps(id.Namespace).Update(ctx, changed, update())
		if err != nil {
			return recheckInterval, ignoreGone(wrap(err, "write used-by of page set", id))
		}
		m.rememberWrite(id, cm, out)
		return m.graceLeft(id), nil
	}
	if left := m.graceLeft(id); left > 0 {
		return left, nil
	}
	return m.collect(ctx, id, cm)
}

// relabel puts the labels back on the ConfigMap of a page set whose other parts the watch shows:
// somebody removed them, and without them the set would stay for ever.
func (m *Manager) relabel(ctx context.Context, id pageset.ID) error {
	there, err := m.Client.CoreV1().ConfigMaps(id.Namespace).Get(ctx, id.Name, metav1.GetOptions{})
	if err != nil {
		return ignoreGone(wrap(err, "read ConfigMap of page set", id)) // usually deleted: the other parts are about to follow
	}
	if there.DeletionTimestamp != nil || pageset.Foreign(there) != "" || !m.Installation.Owns(installation.Of(there)) || pageset.HasLabels(there, pageset.ConfigMap(id, page.Page{}, "")) {
		return nil
	}
	_, err = m.recordUsers(ctx, id, there, there.Annotations[annotations.UsedBy])
	return err
}

// graceLeft returns how much of the grace period of an unused page set is left. The period starts at
// the first call.
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

// collect deletes the page set after the API server itself has confirmed that it is unused. The
// garbage collector deletes the parts that the ConfigMap owns.
func (m *Manager) collect(ctx context.Context, id pageset.ID, cm metav1.Object) (time.Duration, error) {
	if !m.Claims.startCollecting(id) {
		return 0, nil // claimed just now: the claim has queued the set
	}
	defer m.stopCollecting(id)
	users, err := m.ListUsers(ctx, id)
	if err != nil {
		return 0, wrap(err, "not deleted because its users cannot be listed: page set", id)
	}
	if len(users) > 0 {
		m.OnUsersFound(users)
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
	return recheckInterval, nil
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
