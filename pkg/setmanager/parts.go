package setmanager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
)

// ensureService creates or updates the Service; false if a leftover of a deleted set of that name
// must be deleted first.
func (m *Manager) ensureService(ctx context.Context, o pageset.Observed) (bool, error) {
	id := pageset.ID{Namespace: o.ConfigMap.Namespace, Name: o.ConfigMap.Name}
	want := pageset.Service(o.ConfigMap, m.Template, append(m.classes(id), pageset.FittedClasses(o.Service)...))
	client := m.Client.CoreV1().Services(want.Namespace)
	there := o.Service
	if there == nil {
		_, err := client.Create(ctx, want, create())
		if !apierrors.IsAlreadyExists(err) {
			return true, wrap(err, "create Service of page set", id)
		}
		if there, err = client.Get(ctx, want.Name, metav1.GetOptions{}); err != nil {
			return false, ignoreGone(wrap(err, "read Service of page set", id))
		}
	}
	if !pageset.Owns(o.ConfigMap.UID, there) {
		return false, leftover(there, "Service", id)
	}
	if there.DeletionTimestamp != nil {
		return false, nil
	}
	fitted := there.Annotations[annotations.Template] == want.Annotations[annotations.Template] && there.Annotations[annotations.Classes] == want.Annotations[annotations.Classes]
	if fitted && there.Spec.Type == want.Spec.Type && pageset.LeadsTo(there.Spec, want.Spec) && pageset.HasLabels(there, want) {
		return true, nil
	}
	changed := there.DeepCopy()
	pageset.RestoreLabels(changed, want)
	changed.Spec.Type, changed.Spec.Selector, changed.Spec.Ports = want.Spec.Type, want.Spec.Selector, want.Spec.Ports
	if changed.Annotations == nil {
		changed.Annotations = map[string]string{}
	}
	delete(changed.Annotations, annotations.Classes) // the set may have no special class any more
	maps.Copy(changed.Annotations, want.Annotations)
	stored, err := client.Update(ctx, changed, update())
	return true, wrap(requireProgress(there, stored, err), "update Service of page set", id)
}

// leftover returns nil if an object with the set's name belongs to an earlier set and the garbage
// collector is about to delete it, and an error if it is not ours.
func leftover(there metav1.Object, kind string, id pageset.ID) error {
	if there.GetLabels()[annotations.ManagedByLabel] == annotations.ManagedBy && metav1.GetControllerOf(there) != nil {
		return nil
	}
	return fmt.Errorf("%s %s is in the way: %w", kind, id, errConflict)
}

// ensureBudget keeps a PodDisruptionBudget so that one of several Pods survives a drain.
func (m *Manager) ensureBudget(ctx context.Context, o pageset.Observed) error {
	want := pageset.Budget(o.ConfigMap)
	id := pageset.ID{Namespace: want.Namespace, Name: want.Name}
	there := m.Cache.Budget(id)
	client := m.Client.PolicyV1().PodDisruptionBudgets(want.Namespace)
	switch {
	case m.Template.Replicas < 2 && there != nil && pageset.Owns(o.ConfigMap.UID, there):
		// With one Pod it would block every drain.
		return ignoreGone(wrap(client.Delete(ctx, there.Name, onlyUID(there)), "delete PodDisruptionBudget of page set", id))
	case m.Template.Replicas < 2 || there != nil:
		return nil
	}
	_, err := client.Create(ctx, want, create())
	if !apierrors.IsAlreadyExists(err) {
		return wrap(err, "create PodDisruptionBudget of page set", id)
	}
	found, err := client.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return ignoreGone(wrap(err, "read PodDisruptionBudget of page set", id))
	}
	if !pageset.Owns(o.ConfigMap.UID, found) {
		return leftover(found, "PodDisruptionBudget", id)
	}
	if pageset.HasLabels(found, want) {
		return nil // the watch will show it
	}
	// Without its labels no watch shows it. It is created again, because the controller has no
	// permission to update it.
	if err := client.Delete(ctx, found.Name, onlyUID(found)); err != nil {
		return ignoreGone(wrap(err, "delete PodDisruptionBudget of page set", id))
	}
	_, err = client.Create(ctx, want, create())
	return wrap(err, "create PodDisruptionBudget of page set", id)
}

// ensurePolicy keeps a NetworkPolicy that admits visitors to the Pods where another policy may
// exclude them; false if the cache does not yet show the policy that has the set's name.
func (m *Manager) ensurePolicy(ctx context.Context, o pageset.Observed) (bool, error) {
	want := m.policy(o.ConfigMap)
	id := pageset.ID{Namespace: want.Namespace, Name: want.Name}
	there, others := m.Cache.Policy(id)
	client := m.Client.NetworkingV1().NetworkPolicies(want.Namespace)
	switch {
	case m.Template.NetworkPolicy != pageset.PolicyAlways && (m.Template.NetworkPolicy != pageset.PolicyAuto || !others && there == nil):
		return true, nil
	case there == nil:
		_, err := client.Create(ctx, want, create())
		if apierrors.IsAlreadyExists(err) {
			return false, nil
		}
		return true, wrap(err, "create NetworkPolicy of page set", id)
	case !pageset.Owns(o.ConfigMap.UID, there):
		return false, leftover(there, "NetworkPolicy", id)
	case equality.Semantic.DeepEqual(there.Spec, want.Spec) && pageset.HasLabels(there, want):
		return true, nil
	}
	changed := there.DeepCopy()
	pageset.RestoreLabels(changed, want)
	changed.Spec = want.Spec
	stored, err := client.Update(ctx, changed, update())
	return true, ignoreGone(wrap(requireProgress(there, stored, err), "update NetworkPolicy of page set", id))
}

// policy returns the NetworkPolicy of a page set. It has an egress rule to the apps behind the set's
// doors only where another policy restricts the Pods' egress.
func (m *Manager) policy(cm *corev1.ConfigMap) *networkingv1.NetworkPolicy {
	policy := pageset.Policy(cm)
	if len(pageset.Settings(cm).Doors) > 0 && m.Cache.EgressRestricted(cm.Namespace, pageset.Pod(cm, m.Template).Labels) {
		return pageset.AllowEgress(policy)
	}
	return policy
}

// ensurePods replaces Pods that are lost, failed or outdated, and creates new ones before it deletes
// old ones. Pods that keep failing are replaced with growing backoff: the error is then failingPods,
// with the time until new ones are created.
func (m *Manager) ensurePods(ctx context.Context, id pageset.ID, o pageset.Observed) (time.Duration, error) {
	want := pageset.Pod(o.ConfigMap, m.Template)
	change := pageset.ChangePods(o.Own(), want.Annotations[annotations.Template], m.Template.Replicas)
	client := m.Client.CoreV1().Pods(id.Namespace)
	var errs []error
	for _, p := range change.Delete {
		if err := client.Delete(ctx, p.Name, onlyUID(p)); ignoreGone(err) != nil {
			errs = append(errs, wrap(err, "delete Pod of page set", id))
		}
	}
	if failing := m.countFailures(id, change); change.Create > 0 && failing.until.After(m.Clock.Now()) {
		return failing.until.Sub(m.Clock.Now()), errors.Join(append(errs, failing)...)
	}
	for range change.Create {
		p, err := client.Create(ctx, want, create())
		if err != nil {
			errs = append(errs, wrap(err, "create Pod of page set", id))
			break // the next one would be refused as well
		}
		m.rememberPod(id, p)
	}
	return 0, errors.Join(errs...)
}

// failingPods describes a page set whose Pods fail again and again.
type failingPods struct {
	times int
	until time.Time // when the next ones are created
	why   string
}

func (f failingPods) Error() string { return f.why }

// maxPodBackoff is the longest wait before failed Pods are replaced.
const maxPodBackoff = time.Minute

// countFailures counts failed Pods in a row, and resets the count when the Pods are ready.
func (m *Manager) countFailures(id pageset.ID, change pageset.PodChange) failingPods {
	m.mu.Lock()
	defer m.mu.Unlock()
	if change.Ready {
		delete(m.failing, id)
	}
	f := m.failing[id]
	if len(change.Failed) > 0 {
		p := change.Failed[0]
		f.why = fmt.Sprintf("page Pod %s failed: %s %s", p.Name, p.Status.Reason, p.Status.Message)
		// The first failure may be an eviction, which need not hit the next Pod.
		if f.times > 0 {
			f.until = m.Clock.Now().Add(min(maxPodBackoff, time.Second<<min(f.times-1, 10)))
		}
		f.times++
		m.failing[id] = f
	}
	return f
}

func (m *Manager) rememberPod(id pageset.ID, p *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started[id] == nil {
		m.started[id] = map[types.UID]startedPod{}
	}
	m.started[id][p.UID] = startedPod{pod: p, at: m.Clock.Now()}
}
