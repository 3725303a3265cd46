// Package setmanager keeps page sets as their users need them. It is the only
// writer of page sets: a set's reconcile knows all its users and writes once
// for all of them.
package setmanager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/refusal"
	"maintenance-controller.io/pkg/target"
)

// recheck is when a set is looked at again that waits for something of which
// no watch tells.
const recheck = 250 * time.Millisecond

// Cache is what the watches have seen.
type Cache interface {
	Observe(id pageset.ID) pageset.Observed
	Budget(id pageset.ID) *policyv1.PodDisruptionBudget
	// Policy gives the set's NetworkPolicy, if there is one, and whether the
	// namespace has any that is not a page set's.
	Policy(id pageset.ID) (own *networkingv1.NetworkPolicy, others bool)
	// Isolated says whether a policy that is not a page set's keeps in what Pods with
	// these labels begin.
	Isolated(namespace string, pod map[string]string) bool
	// Users lists the targets and backups that name the set.
	Users(id pageset.ID) []target.Ref
}

// Config of a Manager.
type Config struct {
	Client   kubernetes.Interface
	Cache    Cache
	Template pageset.Template
	// Installation marks what is made. Sets of another one are left alone.
	Installation installation.Installation
	// Grace is how long a set stays after its last user has left: ingress
	// controllers may go on sending visitors to it for a while.
	Grace time.Duration
	// Confirm lists, from the API server, whoever uses the set. An error means
	// that it cannot be known, and that nothing is collected.
	Confirm func(ctx context.Context, id pageset.ID) ([]target.Ref, error)
	// Clock that waits are measured by; nil is the real one.
	Clock clock.PassiveClock
	// Found is told of users that the watches had not shown.
	Found func(users []target.Ref)
}

// Manager keeps page sets.
type Manager struct {
	Config
	*Claims

	began     time.Time
	mu        sync.Mutex
	idleSince map[pageset.ID]time.Time
	reachable map[pageset.ID]time.Time // since when, as far as it has been seen
	failures  map[pageset.ID]pageset.Status
	deleted   map[types.UID]time.Time // ConfigMaps that we deleted and the watch may still show
	written   map[pageset.ID]ownWrite
	started   map[pageset.ID]map[types.UID]startedPod
	failing   map[pageset.ID]failingPods
}

// ownWrite is a ConfigMap as this process last wrote it, and the versions before it
// that the watch may still show: to write one of those would conflict.
type ownWrite struct {
	latest     *corev1.ConfigMap
	superseded map[string]bool
}

// wrote remembers that a version of a set's ConfigMap was followed by another.
func (m *Manager) wrote(id pageset.ID, before, after *corev1.ConfigMap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	superseded := map[string]bool{before.ResourceVersion: true}
	if w := m.written[id]; w.latest != nil && w.latest.ResourceVersion == before.ResourceVersion {
		maps.Copy(superseded, w.superseded)
	}
	m.written[id] = ownWrite{latest: after, superseded: superseded}
}

// startedPod was created and may not be in the cache yet.
type startedPod struct {
	pod *corev1.Pod
	at  time.Time
}

// New gives a Manager. It starts with no idle set: none is collected within the
// grace period after it.
func New(c Config) *Manager {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	return &Manager{
		Config: c, Claims: newClaims(), began: c.Clock.Now(), reachable: map[pageset.ID]time.Time{},
		idleSince: map[pageset.ID]time.Time{}, failures: map[pageset.ID]pageset.Status{},
		deleted: map[types.UID]time.Time{}, written: map[pageset.ID]ownWrite{}, started: map[pageset.ID]map[types.UID]startedPod{},
		failing: map[pageset.ID]failingPods{},
	}
}

// Status says whether visitors can be sent to the set, and if not, why.
func (m *Manager) Status(id pageset.ID) pageset.Status {
	o := m.observe(id)
	status := o.Status()
	since, reachable := m.reachableSince(id, o)
	if status.Phase == pageset.Serving {
		if reachable {
			status.Since = since
			return status
		}
		status = pageset.Status{Phase: pageset.Starting, Message: "the Service of the page set is being fitted to another ingress class"}
	}
	if _, known := m.page(id); known && status.Phase == pageset.Absent {
		status.Phase = pageset.Starting // it will be made
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if failure, ok := m.failures[id]; ok {
		return failure
	}
	return status
}

// Wanted is the Status of the set for who wants it to show the content with this hash.
// The set's name has a part of the hash only: to whom it would show another content, or
// whose installation it is not, it is in the way.
func (m *Manager) Wanted(id pageset.ID, hash string) pageset.Status {
	cm := m.observe(id).ConfigMap
	switch {
	case cm == nil || pageset.Shows(cm, hash, m.Installation) || cm.DeletionTimestamp != nil || pageset.Foreign(cm) != "":
		return m.Status(id)
	case !m.Installation.Owns(installation.Of(cm)):
		return pageset.Status{Phase: pageset.Conflict, Message: fmt.Sprintf("page set %s belongs to installation %q", id, installation.Of(cm))}
	default:
		return pageset.Status{Phase: pageset.Conflict, Message: fmt.Sprintf("page set %s shows another page, whose hash begins alike: change either page by a character", id)}
	}
}

// Shows says whether the set is one of the installation that shows this content.
func (m *Manager) Shows(id pageset.ID, hash string) bool {
	return pageset.Shows(m.observe(id).ConfigMap, hash, m.Installation)
}

// reachableSince keeps since when the set has endpoints, and a Service that fits its
// users: also while nobody uses it, for then ingress controllers know it well.
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

// Provide gives the content of a claimed set, for it to be built from.
func (m *Manager) Provide(id pageset.ID, p page.Page) { m.provide(id, p) }

// observe is what the cache shows, corrected by what this process has just done.
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

// errNoProgress marks an update that was accepted and changed nothing.
var errNoProgress = refusal.New("the API server took the update and stored nothing of it: an admission webhook undoes what the controller writes")

// progress is the error of an update, also if its answer is the version that was sent:
// to send it again at once would be answered the same.
func progress(before, stored metav1.Object, err error) error {
	if err == nil && stored.GetResourceVersion() == before.GetResourceVersion() {
		return errNoProgress
	}
	return err
}

// errConflict marks a name that is taken by an object that is not ours.
var errConflict = refusal.New("it is not ours: rename or delete it")

// Reconcile makes the set what its users need. It returns when to look again
// although nothing has changed, 0 for never.
func (m *Manager) Reconcile(ctx context.Context, id pageset.ID) (time.Duration, error) {
	o := m.observe(id)
	if o.ConfigMap != nil && !m.Installation.Owns(installation.Of(o.ConfigMap)) {
		m.forget(id)
		return 0, nil // its own controller keeps it
	}
	users := append(m.Claims.Users(id), m.Cache.Users(id)...)
	if len(users) == 0 {
		return m.release(ctx, id, o)
	}
	m.mu.Lock()
	delete(m.idleSince, id)
	m.mu.Unlock()
	after, err := m.ensure(ctx, id, o, users)
	return after, m.note(id, err)
}

// note keeps what is wrong for Status, and ends what needs no retry.
func (m *Manager) note(id pageset.ID, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var failing failingPods
	switch {
	case err == nil:
		delete(m.failures, id)
	case errors.As(err, &failing):
		m.failures[id] = pageset.Status{Phase: pageset.Blocked, Message: lasting(id, failing)}
		return nil // it is known when to go on
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		m.failures[id] = pageset.Status{Phase: pageset.Blocked, Message: "the namespace is being deleted"}
		return nil
	case errors.Is(err, errConflict):
		m.failures[id] = pageset.Status{Phase: pageset.Conflict, Message: err.Error()}
	case refusal.Final(err):
		m.failures[id] = pageset.Status{Phase: pageset.Blocked, Message: lasting(id, err)}
	}
	return err
}

// lasting says what is wrong in the same words each time: the API server makes up the
// name of each Pod that it refuses, and every user of the set is told what changes.
func lasting(id pageset.ID, err error) string {
	return regexp.MustCompile(regexp.QuoteMeta(id.Name)+"-[0-9a-z]{5}\\b").ReplaceAllString(err.Error(), id.Name+"-…")
}

func (m *Manager) ensure(ctx context.Context, id pageset.ID, o pageset.Observed, users []target.Ref) (time.Duration, error) {
	cm, err := m.ensureConfigMap(ctx, id, o, pageset.UsedBy(users))
	if cm == nil || err != nil {
		return recheck, err
	}
	if o.ConfigMap == nil {
		o.ConfigMap = cm // just created: the rest need not wait for the watch
	}
	ready, err := m.ensureService(ctx, o)
	if err != nil {
		return 0, err
	}
	if err := m.ensureBudget(ctx, o); err != nil {
		return 0, err
	}
	allowed, err := m.ensurePolicy(ctx, o)
	if err != nil {
		return 0, err
	}
	if after, err := m.ensurePods(ctx, id, o); err != nil {
		return after, err
	}
	if !ready || !allowed {
		return recheck, nil
	}
	return 0, nil
}

// ensureConfigMap gives the set's live ConfigMap, nil if it has to be waited for.
func (m *Manager) ensureConfigMap(ctx context.Context, id pageset.ID, o pageset.Observed, usedBy string) (*corev1.ConfigMap, error) {
	if o.ConfigMap == nil {
		return m.createConfigMap(ctx, id, usedBy)
	}
	if !o.Alive() {
		return nil, nil
	}
	if why := pageset.Foreign(o.ConfigMap); why != "" {
		return nil, inTheWay(id, why)
	}
	if p, err := page.Parse(o.ConfigMap.Data); err == nil {
		m.provide(id, p) // should somebody delete it, it can be made again
	}
	return m.record(ctx, id, o.ConfigMap, usedBy)
}

// record writes to a set's ConfigMap who uses it, and puts back the labels that it is
// found by.
func (m *Manager) record(ctx context.Context, id pageset.ID, cm *corev1.ConfigMap, usedBy string) (*corev1.ConfigMap, error) {
	made := pageset.ConfigMap(id, page.Page{}, "")
	if cm.Annotations[annotations.UsedBy] == usedBy && pageset.Labelled(cm, made) {
		return cm, nil
	}
	changed := cm.DeepCopy()
	pageset.Relabel(changed, made)
	installation.Inherit(changed, changed) // the label of its id
	changed.Annotations[annotations.UsedBy] = usedBy
	if id.Name == m.Installation.SetName(cm.Annotations[annotations.ContentHash]) {
		m.Installation.Mark(changed) // one from before there were ids
	}
	out, err := m.Client.CoreV1().ConfigMaps(id.Namespace).Update(ctx, changed, update())
	if err := progress(cm, out, err); err != nil {
		return nil, fmt.Errorf("write used-by of page set %s: %w", id, err)
	}
	m.wrote(id, cm, out)
	return out, nil
}

func (m *Manager) createConfigMap(ctx context.Context, id pageset.ID, usedBy string) (*corev1.ConfigMap, error) {
	p, ok := m.page(id)
	if !ok {
		return nil, nil // a target that wants it brings the page with its claim
	}
	client := m.Client.CoreV1().ConfigMaps(id.Namespace)
	made := pageset.ConfigMap(id, p, usedBy)
	m.Installation.Mark(made)
	cm, err := client.Create(ctx, made, create())
	if !apierrors.IsAlreadyExists(err) {
		return cm, wrap(err, "create ConfigMap of page set", id)
	}
	there, err := client.Get(ctx, id.Name, metav1.GetOptions{})
	if err != nil {
		return nil, ignoreGone(wrap(err, "read ConfigMap of page set", id))
	}
	switch why := pageset.Foreign(there); {
	case why != "":
		return nil, inTheWay(id, why)
	case !m.Installation.Owns(installation.Of(there)):
		return nil, inTheWay(id, fmt.Sprintf("it belongs to installation %q", installation.Of(there)))
	case there.DeletionTimestamp == nil && !pageset.Labelled(there, made):
		_, err = m.record(ctx, id, there, usedBy)
		return nil, err
	default:
		return nil, nil // ours: the watch will show it, or its end
	}
}

func inTheWay(id pageset.ID, why string) error {
	return fmt.Errorf("ConfigMap %s is in the way (%s): %w", id, why, errConflict)
}

func wrap(err error, what string, id pageset.ID) error {
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, id, err)
	}
	return nil
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func create() metav1.CreateOptions { return metav1.CreateOptions{FieldManager: ownership.Manager} }
func update() metav1.UpdateOptions { return metav1.UpdateOptions{FieldManager: ownership.Manager} }

// exactly deletes only the object that was seen, by UID.
func exactly(o metav1.Object) metav1.DeleteOptions {
	uid := o.GetUID()
	return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
}
