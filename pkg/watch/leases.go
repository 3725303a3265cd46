package watch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// LeasesConfig is what the watch of Leases stands on.
type LeasesConfig struct {
	Client kubernetes.Interface
	Log    *zap.Logger
	Clock  clock.WithTicker
	// Off says that nothing is watched and no rights are needed: Leases that targets
	// name then count as not readable.
	Off bool
	// Target is told of each target for which a Lease that it names is another matter
	// than before. A renewal in time is none.
	Target func(target.Ref)
}

// Leases watches the Leases that targets name, in the namespaces of those targets alone,
// and by our label: where no target names any, nothing is watched.
type Leases struct {
	config LeasesConfig
	alarms *queue.Alarms[leaseKey]

	mu     sync.Mutex
	child  func() (context.Context, context.CancelFunc) // for a watch, which ends with the controller; nil if none may begin
	wg     sync.WaitGroup
	spaces map[string]*leaseSpace
}

type leaseKey struct{ namespace, name string }

// leaseSpace is the watch of one namespace.
type leaseSpace struct {
	cancel context.CancelFunc
	users  map[target.Ref][]string
	leases map[string]*lease
	synced bool
	failed string // why nothing can be read; empty if it can, or if it has not been tried
}

// lease is what is known of one. Only what its holder says counts as a renewal.
type lease struct {
	wanted.Lease
	uid    string
	spec   coordinationv1.LeaseSpec
	silent bool // the API server could not be asked, and has not answered since
}

// NewLeases gives a watch that has not started.
func NewLeases(c LeasesConfig) *Leases {
	l := &Leases{config: c, spaces: map[string]*leaseSpace{}}
	l.alarms = queue.NewAlarms(c.Clock, l.due)
	return l
}

// Start watches what is followed from now on, until ctx ends.
func (l *Leases) Start(ctx context.Context, wg *sync.WaitGroup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.child = func() (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }
	wg.Go(func() {
		l.alarms.Run(ctx)
		l.mu.Lock()
		l.child = nil // none begins any more
		l.mu.Unlock()
		l.wg.Wait()
	})
}

// Follow says which Leases a target names, of which the API server has just told; none any
// more if there are no names.
func (l *Leases) Follow(ref target.Ref, names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	space := l.spaces[ref.Namespace]
	if len(names) == 0 {
		if space == nil {
			return
		}
		delete(space.users, ref)
		l.forget(ref.Namespace, space)
		return
	}
	if space == nil {
		if l.config.Off || l.child == nil {
			return
		}
		space = l.start(ref.Namespace)
	}
	space.users[ref] = slices.Clone(names)
	for _, name := range names {
		if known := space.leases[name]; known != nil && known.silent {
			l.excuse(ref.Namespace, name, known)
			known.silent = false
		}
	}
	l.forget(ref.Namespace, space)
	l.miss(ref.Namespace, space)
}

// forget drops what nobody names any more.
func (l *Leases) forget(namespace string, space *leaseSpace) {
	for name, known := range space.leases {
		if known.uid == "" && !space.named(name) { // it is not there

			delete(space.leases, name)
			l.alarms.Set(leaseKey{namespace, name}, time.Time{})
		}
	}
	if len(space.users) > 0 {
		return
	}
	space.cancel()
	delete(l.spaces, namespace)
	for name := range space.leases {
		l.alarms.Set(leaseKey{namespace, name}, time.Time{})
	}
}

func (s *leaseSpace) named(name string) bool {
	for _, names := range s.users {
		if slices.Contains(names, name) {
			return true
		}
	}
	return false
}

// missing is the Problem of a Lease that the watch does not show.
const missing = "which is not there, or lacks the label " + annotations.LeaseLabel

// miss notes since when Leases are missing, once it is known that they are.
func (l *Leases) miss(namespace string, space *leaseSpace) {
	if !space.synced {
		return
	}
	for _, names := range space.users {
		for _, name := range names {
			if space.leases[name] == nil {
				space.leases[name] = &lease{Lease: wanted.Lease{Problem: missing, Since: l.config.Clock.Now()}}
				l.arm(namespace, name, space.leases[name])
			}
		}
	}
}

// arm looks again when the Lease will have expired, and every so often at one that must
// not be read: that it may is told by nobody.
func (l *Leases) arm(namespace, name string, known *lease) {
	at := known.Expires()
	if known.Unread != "" {
		at = l.config.Clock.Now().Add(wanted.Chance)
	}
	l.alarms.Set(leaseKey{namespace, name}, at)
}

// due tells the users of a Lease that has expired.
func (l *Leases) due(key leaseKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	space := l.spaces[key.namespace]
	if space == nil || space.leases[key.name] == nil {
		return
	}
	if known := space.leases[key.name]; known.Unread == "" && l.config.Clock.Now().Before(known.Expires()) {
		l.arm(key.namespace, key.name, known) // it was renewed this moment
		return
	}
	l.told(space, key.name)
}

// told tells who names the Lease.
func (l *Leases) told(space *leaseSpace, name string) {
	for ref, names := range space.users {
		if slices.Contains(names, name) {
			l.config.Target(ref)
		}
	}
}

// Of gives what is known of Leases, by name. One that is missing in it has not been
// looked for yet.
func (l *Leases) Of(namespace string, names []string) map[string]wanted.Lease {
	if len(names) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[string]wanted.Lease{}
	space := l.spaces[namespace]
	for _, name := range names {
		switch {
		case l.config.Off:
			found[name] = wanted.Lease{Unread: "which is not looked at: this controller runs with --watch-leases=false"}
		case space == nil:
		case space.leases[name] != nil:
			found[name] = space.leases[name].Lease
		case space.failed != "":
			found[name] = wanted.Lease{Unread: space.failed}
		}
	}
	return found
}

// start watches a namespace.
func (l *Leases) start(namespace string) *leaseSpace {
	ctx, cancel := l.child()
	space := &leaseSpace{cancel: cancel, users: map[target.Ref][]string{}, leases: map[string]*lease{}}
	l.spaces[namespace] = space
	labelled := func(o *metav1.ListOptions) { o.LabelSelector = annotations.LeaseLabel }
	one := informers{coordinationinformers.NewFilteredLeaseInformer(l.config.Client, namespace, 0, cache.Indexers{}, labelled)}
	one.transform(l.config.Log, reduceLease)
	told := one.set(l.config.Log, nil, cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { l.changed(space, object) },
		UpdateFunc: func(_, now any) { l.changed(space, now) },
		DeleteFunc: func(object any) { l.gone(space, object) },
	})
	if err := one[0].SetWatchErrorHandler(func(_ *cache.Reflector, err error) { l.fails(space, err) }); err != nil {
		l.config.Log.Error("informer refused to be set up", zap.Error(err))
	}
	one.start(ctx, &l.wg)
	l.wg.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), told) {
			l.read(namespace, space)
		}
	})
	return space
}

// reduceLease keeps what its holder says, and when it was last written.
func reduceLease(object any) (any, error) {
	in, ok := object.(*coordinationv1.Lease)
	if !ok {
		return object, nil
	}
	return &coordinationv1.Lease{Spec: in.Spec, ObjectMeta: metav1.ObjectMeta{
		Namespace: in.Namespace, Name: in.Name, UID: in.UID, ResourceVersion: in.ResourceVersion, CreationTimestamp: metav1.NewTime(written(in)),
	}}, nil
}

// written is when the API server stored it last, by its own clock.
func written(in *coordinationv1.Lease) time.Time {
	last := in.CreationTimestamp.Time
	for _, e := range in.ManagedFields {
		if e.Time != nil && e.Time.After(last) {
			last = e.Time.Time
		}
	}
	return last
}

// read notes that what is there has been seen.
func (l *Leases) read(namespace string, space *leaseSpace) {
	l.mu.Lock()
	defer l.mu.Unlock()
	space.synced, space.failed = true, ""
	l.miss(namespace, space)
	for ref := range space.users {
		l.config.Target(ref)
	}
}

// fails notes why nothing can be read.
func (l *Leases) fails(space *leaseSpace, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if space.synced {
		return // it goes on where it was
	}
	why := unread(err)
	if space.failed == why {
		return
	}
	space.failed = why
	for ref := range space.users {
		l.config.Target(ref)
	}
}

// unread says why nothing is known of a Lease.
func unread(err error) string {
	text := annotations.ClipTo(err.Error(), annotations.MaxMessage/4)
	if apierrors.IsForbidden(err) {
		return "which this controller has no right to read (get, list and watch leases.coordination.k8s.io): " + text
	}
	return "which cannot be read: " + text
}

// changed takes in what the watch shows of a Lease.
func (l *Leases) changed(space *leaseSpace, object any) {
	seen, ok := object.(*coordinationv1.Lease)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, news := l.observe(space, seen); known != nil {
		l.arm(seen.Namespace, seen.Name, known)
		if news {
			l.told(space, seen.Name)
		}
	}
}

// observe gives what is known of a Lease by what is seen of it, nil if that is nothing
// new, and whether its users should know at once.
func (l *Leases) observe(space *leaseSpace, seen *coordinationv1.Lease) (known *lease, news bool) {
	now := l.config.Clock.Now()
	before := space.leases[seen.Name]
	if before != nil && before.uid == string(seen.UID) && sameLease(before.spec, seen.Spec) {
		if before.Unread == "" {
			return nil, false
		}
		before.Unread = ""
		return before, true
	}
	known = &lease{uid: string(seen.UID), spec: seen.Spec}
	known.Since, known.Written, known.Renewed = now, written(seen), before != nil
	if seconds := seen.Spec.LeaseDurationSeconds; seconds != nil && *seconds > 0 {
		known.Duration = time.Duration(*seconds) * time.Second
	} else {
		known.Problem = "which does not say for how long a renewal holds (spec.leaseDurationSeconds)"
		if before != nil && before.Problem == known.Problem {
			known.Since = before.Since // to be renewed does not mend it
		}
	}
	space.leases[seen.Name] = known
	news = before == nil || before.Problem != known.Problem || known.Problem == "" && !now.Before(before.Begins())
	return known, news
}

func sameLease(a, b coordinationv1.LeaseSpec) bool {
	return same(a.HolderIdentity, b.HolderIdentity) && same(a.LeaseDurationSeconds, b.LeaseDurationSeconds) && same(a.LeaseTransitions, b.LeaseTransitions) &&
		a.RenewTime.Equal(b.RenewTime) && a.AcquireTime.Equal(b.AcquireTime)
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// gone notes since when a Lease is missing.
func (l *Leases) gone(space *leaseSpace, object any) {
	was, ok := seen[*coordinationv1.Lease](object)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(space.leases, was.Name)
	l.alarms.Set(leaseKey{was.Namespace, was.Name}, time.Time{})
	l.miss(was.Namespace, space)
	l.told(space, was.Name)
}

// Excuse gives all Leases that a target names their whole duration anew, from when the API
// server answers again: it could not be asked about the target, and so nobody could have
// renewed them either.
func (l *Leases) Excuse(ref target.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	space := l.spaces[ref.Namespace]
	if space == nil {
		return
	}
	for _, name := range space.users[ref] {
		if known := space.leases[name]; known != nil && known.Problem == "" {
			l.excuse(ref.Namespace, name, known)
		}
	}
}

func (l *Leases) excuse(namespace, name string, known *lease) {
	known.Since, known.Renewed, known.silent = l.config.Clock.Now(), true, true
	l.arm(namespace, name, known)
}

// Confirm asks the API server itself for Leases that seem to have expired: a watch may lag
// behind, and what ends does not begin again by itself. While it cannot be asked, nobody
// could have renewed them either, so that they get their whole duration anew.
func (l *Leases) Confirm(ctx context.Context, namespace string, names []string) error {
	for _, name := range names {
		live, err := l.config.Client.CoordinationV1().Leases(namespace).Get(ctx, name, metav1.GetOptions{})
		l.answered(namespace, name, live, err)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return fmt.Errorf("read Lease %s/%s: %w", namespace, name, err)
		}
	}
	return nil
}

// answered takes in what the API server has said of a Lease.
func (l *Leases) answered(namespace, name string, live *coordinationv1.Lease, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	space := l.spaces[namespace]
	if space == nil {
		return
	}
	known := space.leases[name]
	if known != nil {
		known.Unread = ""
	}
	switch {
	case apierrors.IsNotFound(err): // the watch knows better
	case err == nil:
		if _, labelled := live.Labels[annotations.LeaseLabel]; labelled {
			if known, _ = l.observe(space, live); known != nil {
				l.arm(namespace, name, known)
			}
		}
	case known == nil:
	case apierrors.IsForbidden(err): // the watch may have ended for it
		known.Unread = unread(err)
		l.arm(namespace, name, known)
	default:
		l.excuse(namespace, name, known)
	}
}
