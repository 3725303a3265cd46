// Package setmanager reconciles page sets. It is the only writer of page sets: the reconcile of a
// set knows all its users and writes once for all of them.
package setmanager

import (
	"context"
	"errors"
	"fmt"
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

// recheckInterval is after how long a page set is checked again that waits for something that no
// watch reports.
const recheckInterval = 250 * time.Millisecond

// Cache gives access to what the watches have seen.
type Cache interface {
	Observe(id pageset.ID) pageset.Observed
	Budget(id pageset.ID) *policyv1.PodDisruptionBudget
	// Policy returns the page set's NetworkPolicy, nil if there is none, and whether the namespace
	// has one that belongs to no page set.
	Policy(id pageset.ID) (own *networkingv1.NetworkPolicy, others bool)
	// EgressRestricted reports whether a policy that belongs to no page set restricts the egress of
	// Pods with these labels.
	EgressRestricted(namespace string, pod map[string]string) bool
	// Users lists the targets whose annotation or backup names the page set.
	Users(id pageset.ID) []target.Ref
}

// Config configures a Manager. Client, Cache, Template, ListUsers and OnUsersFound are required.
type Config struct {
	Client   kubernetes.Interface
	Cache    Cache
	Template pageset.Template // how page Pods and their Services are created
	// Installation marks the objects that are created. Page sets of another installation are left
	// alone.
	Installation installation.Installation
	// Grace is how long a page set stays after its last user has left, because ingress controllers
	// may still send visitors to it. 0 deletes it at once.
	Grace time.Duration
	// ListUsers asks the API server for all users of the page set. On an error nothing is deleted.
	ListUsers func(ctx context.Context, id pageset.ID) ([]target.Ref, error)
	// Clock for waits; nil is the real one.
	Clock clock.PassiveClock
	// OnUsersFound is called with users that ListUsers found and the watches had not shown. It must
	// only enqueue.
	OnUsersFound func(users []target.Ref)
}

// Manager reconciles page sets.
type Manager struct {
	Config
	*Claims

	began     time.Time
	mu        sync.Mutex
	idleSince map[pageset.ID]time.Time
	reachable map[pageset.ID]time.Time // since when the set has been reachable, as far as this process has seen
	failures  map[pageset.ID]pageset.Status
	deleted   map[types.UID]time.Time // ConfigMaps that this process deleted and the watch may still show
	written   map[pageset.ID]ownWrite
	started   map[pageset.ID]map[types.UID]startedPod
	failing   map[pageset.ID]failingPods
}

// New returns a Manager. All sets count as in use at first: none is deleted within the grace period
// after the start.
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

// Status returns whether visitors can be sent to the page set, and if not, why.
func (m *Manager) Status(id pageset.ID) pageset.Status {
	o := m.observe(id)
	status := o.Status()
	since, reachable := m.reachableSince(id, o)
	if status.Phase == pageset.Serving {
		if reachable {
			status.Since = since
			return status
		}
		status = pageset.Status{Phase: pageset.Starting, Message: "the Service of the page set is being adapted to another ingress class"}
	}
	if _, known := m.page(id); known && status.Phase == pageset.Absent {
		status.Phase = pageset.Starting // it will be created
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if failure, ok := m.failures[id]; ok {
		return failure
	}
	return status
}

// StatusFor returns the Status of the page set for a user that wants the content with this hash. The
// set's name contains only a part of the hash: if the set shows other content or belongs to another
// installation, the status is Conflict.
func (m *Manager) StatusFor(id pageset.ID, hash string) pageset.Status {
	cm := m.observe(id).ConfigMap
	switch {
	case cm == nil || pageset.ShowsContent(cm, hash, m.Installation) || cm.DeletionTimestamp != nil || pageset.Foreign(cm) != "":
		return m.Status(id)
	case !m.Installation.Owns(installation.Of(cm)):
		return pageset.Status{Phase: pageset.Conflict, Message: fmt.Sprintf("page set %s belongs to installation %q", id, installation.Of(cm))}
	default:
		return pageset.Status{Phase: pageset.Conflict, Message: fmt.Sprintf("page set %s shows another page whose hash has the same beginning: change one character of either page", id)}
	}
}

// Shows reports whether the page set belongs to the installation and shows the content with this
// hash.
func (m *Manager) Shows(id pageset.ID, hash string) bool {
	return pageset.ShowsContent(m.observe(id).ConfigMap, hash, m.Installation)
}

// Provide sets the content of a claimed page set, to build the set from. The first content counts.
func (m *Manager) Provide(id pageset.ID, p page.Page) { m.provide(id, p) }

// requireProgress returns the error of an update, or that nothing of it was stored.
func requireProgress(sent, answer metav1.Object, err error) error {
	if err == nil {
		err = refusal.Unstored(sent, answer)
	}
	return err
}

// errConflict marks a name that is taken by an object that is not ours.
var errConflict = refusal.New("it does not belong to the controller: rename or delete it")

// Reconcile brings the page set to what its users need. It returns after how long to check again
// although nothing has changed; 0 means never.
func (m *Manager) Reconcile(ctx context.Context, id pageset.ID) (time.Duration, error) {
	o := m.observe(id)
	if o.ConfigMap != nil && !m.Installation.Owns(installation.Of(o.ConfigMap)) {
		m.forget(id)
		return 0, nil // its own installation reconciles it
	}
	users := append(m.Claims.Users(id), m.Cache.Users(id)...)
	if len(users) == 0 {
		return m.release(ctx, id, o)
	}
	m.mu.Lock()
	delete(m.idleSince, id)
	m.mu.Unlock()
	after, err := m.ensure(ctx, id, o, users)
	return after, m.recordOutcome(id, err)
}

// recordOutcome stores the failure for Status, and drops errors that need no retry.
func (m *Manager) recordOutcome(id pageset.ID, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var failing failingPods
	switch {
	case err == nil:
		delete(m.failures, id)
	case errors.As(err, &failing):
		m.failures[id] = pageset.Status{Phase: pageset.Blocked, Message: stableMessage(id, failing)}
		return nil // the time of the next attempt is known
	case refusal.NamespaceGone(err):
		m.failures[id] = pageset.Status{Phase: pageset.Blocked, Message: "the namespace is being deleted"}
		return nil
	case errors.Is(err, errConflict):
		m.failures[id] = pageset.Status{Phase: pageset.Conflict, Message: err.Error()}
	case refusal.Final(err):
		m.failures[id] = pageset.Status{Phase: pageset.Blocked, Message: stableMessage(id, err)}
	}
	return err
}

// stableMessage returns the same message for the same problem: the API server generates the name of
// each Pod that it refuses, and every user of the set is notified when the message changes.
func stableMessage(id pageset.ID, err error) string {
	return regexp.MustCompile(regexp.QuoteMeta(id.Name)+"-[0-9a-z]{5}\\b").ReplaceAllString(err.Error(), id.Name+"-…")
}

func (m *Manager) ensure(ctx context.Context, id pageset.ID, o pageset.Observed, users []target.Ref) (time.Duration, error) {
	cm, err := m.ensureConfigMap(ctx, id, o, pageset.UsedBy(users))
	if cm == nil || err != nil {
		return recheckInterval, err
	}
	if o.ConfigMap == nil {
		o.ConfigMap = cm // just created: the other parts need not wait for the watch
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
		return recheckInterval, nil
	}
	return 0, nil
}

// ensureConfigMap returns the set's live ConfigMap; nil if the reconcile has to wait for it.
func (m *Manager) ensureConfigMap(ctx context.Context, id pageset.ID, o pageset.Observed, usedBy string) (*corev1.ConfigMap, error) {
	if o.ConfigMap == nil {
		return m.createConfigMap(ctx, id, usedBy)
	}
	if !o.Alive() {
		return nil, nil
	}
	if why := pageset.Foreign(o.ConfigMap); why != "" {
		return nil, nameTaken(id, why)
	}
	if p, err := page.Parse(o.ConfigMap.Data); err == nil {
		m.provide(id, p) // if somebody deletes it, it can be created again
	}
	return m.recordUsers(ctx, id, o.ConfigMap, usedBy)
}

// recordUsers writes the users to the set's ConfigMap, and restores the labels that it is found by.
func (m *Manager) recordUsers(ctx context.Context, id pageset.ID, cm *corev1.ConfigMap, usedBy string) (*corev1.ConfigMap, error) {
	made := pageset.ConfigMap(id, page.Page{}, "")
	if cm.Annotations[annotations.UsedBy] == usedBy && pageset.HasLabels(cm, made) {
		return cm, nil
	}
	changed := cm.DeepCopy()
	pageset.RestoreLabels(changed, made)
	installation.Inherit(changed, changed) // restores the label of its id
	changed.Annotations[annotations.UsedBy] = usedBy
	if id.Name == m.Installation.SetName(cm.Annotations[annotations.ContentHash]) {
		m.Installation.Mark(changed) // a set from before installations had ids
	}
	out, err := m.Client.CoreV1().ConfigMaps(id.Namespace).Update(ctx, changed, update())
	if err := requireProgress(cm, out, err); err != nil {
		return nil, fmt.Errorf("write used-by of page set %s: %w", id, err)
	}
	m.rememberWrite(id, cm, out)
	return out, nil
}

func (m *Manager) createConfigMap(ctx context.Context, id pageset.ID, usedBy string) (*corev1.ConfigMap, error) {
	p, ok := m.page(id)
	if !ok {
		return nil, nil // a target that wants the set provides the page with its claim
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
		return nil, nameTaken(id, why)
	case !m.Installation.Owns(installation.Of(there)):
		return nil, nameTaken(id, fmt.Sprintf("it belongs to installation %q", installation.Of(there)))
	case there.DeletionTimestamp == nil && !pageset.HasLabels(there, made):
		_, err = m.recordUsers(ctx, id, there, usedBy)
		return nil, err
	default:
		return nil, nil // ours: the watch will show it, or its deletion
	}
}

func nameTaken(id pageset.ID, why string) error {
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

// onlyUID deletes only the object that was seen, identified by its UID.
func onlyUID(o metav1.Object) metav1.DeleteOptions {
	uid := o.GetUID()
	return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
}
