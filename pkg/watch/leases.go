package watch

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationinformers "k8s.io/client-go/informers/coordination/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/queue"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// LeasesConfig configures Leases. All fields but Disabled are required.
type LeasesConfig struct {
	Client kubernetes.Interface
	Log    *zap.Logger
	Clock  clock.WithTicker
	// Disabled watches nothing and needs no permissions. Leases that targets name then count as
	// unreadable.
	Disabled bool
	// OnTarget is called with each target when the status of a Lease that it names changes. A
	// renewal in time is no such change. It must only enqueue.
	OnTarget func(target.Ref)
}

// Leases watches the Leases that targets name: only in the namespaces of those targets, and only
// Leases with our label. While no target names one, nothing is watched.
type Leases struct {
	config LeasesConfig
	alarms *queue.Alarms[leaseKey]

	mu         sync.Mutex
	newContext func() (context.Context, context.CancelFunc) // context of a new watch; nil before Start and after the controller has stopped
	wg         sync.WaitGroup
	namespaces map[string]*leaseNamespace
}

type leaseKey struct{ namespace, name string }

// leaseNamespace is the watch of one namespace.
type leaseNamespace struct {
	cancel context.CancelFunc
	users  map[target.Ref][]string
	leases map[string]*lease
	synced bool
	failed string // why the Leases cannot be read; empty if they can, or before the first attempt
}

// lease is what is known of one Lease. Only a change by its holder counts as a renewal.
type lease struct {
	wanted.Lease
	uid        string
	spec       coordinationv1.LeaseSpec
	unanswered bool // the API server could not be asked, and has not answered since
}

// NewLeases returns a watch that has not started.
func NewLeases(c LeasesConfig) *Leases {
	l := &Leases{config: c, namespaces: map[string]*leaseNamespace{}}
	l.alarms = queue.NewAlarms(c.Clock, l.expired)
	return l
}

// Start begins to watch the Leases that are followed, until ctx ends. wg counts its goroutines.
func (l *Leases) Start(ctx context.Context, wg *sync.WaitGroup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newContext = func() (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }
	wg.Go(func() {
		l.alarms.Run(ctx)
		l.mu.Lock()
		l.newContext = nil // no new watch starts
		l.mu.Unlock()
		l.wg.Wait()
	})
}

// Follow sets the Leases that a target names. The caller has just read the target from the API
// server. No names ends the target's interest.
func (l *Leases) Follow(ref target.Ref, names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	space := l.namespaces[ref.Namespace]
	if len(names) == 0 {
		if space == nil {
			return
		}
		delete(space.users, ref)
		l.dropUnnamed(ref.Namespace, space)
		return
	}
	if space == nil {
		if l.config.Disabled || l.newContext == nil {
			return
		}
		space = l.start(ref.Namespace)
	}
	space.users[ref] = slices.Clone(names)
	for _, name := range names {
		if known := space.leases[name]; known != nil && known.unanswered {
			l.restartExpiry(ref.Namespace, name, known)
			known.unanswered = false
		}
	}
	l.dropUnnamed(ref.Namespace, space)
	l.addMissing(ref.Namespace, space)
}

// dropUnnamed drops the Leases that no target names any more.
func (l *Leases) dropUnnamed(namespace string, space *leaseNamespace) {
	for name, known := range space.leases {
		if known.uid == "" && !space.isNamed(name) { // the Lease does not exist

			delete(space.leases, name)
			l.alarms.Set(leaseKey{namespace, name}, time.Time{})
		}
	}
	if len(space.users) > 0 {
		return
	}
	space.cancel()
	delete(l.namespaces, namespace)
	for name := range space.leases {
		l.alarms.Set(leaseKey{namespace, name}, time.Time{})
	}
}

func (s *leaseNamespace) isNamed(name string) bool {
	for _, names := range s.users {
		if slices.Contains(names, name) {
			return true
		}
	}
	return false
}

// missing is the Problem of a Lease that the watch does not show.
const missing = "which does not exist, or lacks the label " + annotations.LeaseLabel

// addMissing records since when Leases are missing, once the initial list is known.
func (l *Leases) addMissing(namespace string, space *leaseNamespace) {
	if !space.synced {
		return
	}
	for _, names := range space.users {
		for _, name := range names {
			if space.leases[name] == nil {
				space.leases[name] = &lease{Lease: wanted.Lease{Problem: missing, Since: l.config.Clock.Now()}}
				l.setAlarm(namespace, name, space.leases[name])
			}
		}
	}
}

// setAlarm arms the alarm for when the Lease expires. An unreadable Lease is checked again at
// intervals, because no watch reports that permission was granted.
func (l *Leases) setAlarm(namespace, name string, known *lease) {
	at := known.HoldsUntil()
	if known.ReadError != "" {
		at = l.config.Clock.Now().Add(wanted.MissingLeaseGrace)
	}
	l.alarms.Set(leaseKey{namespace, name}, at)
}

// expired notifies the users of a Lease that has expired.
func (l *Leases) expired(key leaseKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	space := l.namespaces[key.namespace]
	if space == nil || space.leases[key.name] == nil {
		return
	}
	if known := space.leases[key.name]; known.ReadError == "" && l.config.Clock.Now().Before(known.HoldsUntil()) {
		l.setAlarm(key.namespace, key.name, known) // it was renewed just now
		return
	}
	l.notifyUsers(space, key.name)
}

// notifyUsers notifies the targets that name the Lease.
func (l *Leases) notifyUsers(space *leaseNamespace, name string) {
	for ref, names := range space.users {
		if slices.Contains(names, name) {
			l.config.OnTarget(ref)
		}
	}
}

// Get returns what is known of the Leases with these names. A name that is missing in the result has
// not been looked up yet.
func (l *Leases) Get(namespace string, names []string) map[string]wanted.Lease {
	if len(names) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[string]wanted.Lease{}
	space := l.namespaces[namespace]
	for _, name := range names {
		switch {
		case l.config.Disabled:
			found[name] = wanted.Lease{ReadError: "which is not watched: this controller runs with --watch-leases=false"}
		case space == nil:
		case space.leases[name] != nil:
			found[name] = space.leases[name].Lease
		case space.failed != "":
			found[name] = wanted.Lease{ReadError: space.failed}
		}
	}
	return found
}

// start starts the watch of a namespace.
func (l *Leases) start(namespace string) *leaseNamespace {
	ctx, cancel := l.newContext()
	space := &leaseNamespace{cancel: cancel, users: map[target.Ref][]string{}, leases: map[string]*lease{}}
	l.namespaces[namespace] = space
	labelled := func(o *metav1.ListOptions) { o.LabelSelector = annotations.LeaseLabel }
	one := informers{coordinationinformers.NewFilteredLeaseInformer(l.config.Client, namespace, 0, cache.Indexers{}, labelled)}
	one.transform(l.config.Log, reduceLease)
	told := one.setUp(l.config.Log, nil, cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { l.changed(space, object) },
		UpdateFunc: func(_, now any) { l.changed(space, now) },
		DeleteFunc: func(object any) { l.deleted(space, object) },
	})
	if err := one[0].SetWatchErrorHandler(func(_ *cache.Reflector, err error) { l.watchFailed(space, err) }); err != nil {
		l.config.Log.Error("cannot set up informer", zap.Error(err))
	}
	one.start(ctx, &l.wg)
	l.wg.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), told) {
			l.synced(namespace, space)
		}
	})
	return space
}
