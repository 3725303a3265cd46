// Package controller brings each target to the state that its annotations ask for: gather, decide,
// execute one step. It connects the watches to two queues, one of targets and one of page sets, and
// processes them.
package controller

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/notice"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pagebook"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/queue"
	"maintenance-controller.io/pkg/setmanager"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/visits"
	"maintenance-controller.io/pkg/watch"
)

// Config configures a Controller. Fields are required unless they say what nil, zero or empty means.
type Config struct {
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface            // to read and write targets
	Metadata  metadata.Interface           // to watch targets
	Discovery discovery.DiscoveryInterface // to learn which CRDs are installed
	Recorder  record.EventRecorder         // of Events on targets and pages
	Log       *zap.Logger
	// Clock for decisions and waits; nil is the real one.
	Clock clock.WithTicker
	// Observe is called after each reconcile with queue, result and duration; nil observes nothing.
	Observe func(queue, result string, took time.Duration)

	// Installation of which this controller is a replica. Objects of other installations are left
	// alone.
	Installation installation.Installation
	Keys         annotations.Keys // names of the annotations that people write
	Kinds        []target.Kind    // kinds of targets to serve
	Namespaces   []string         // to watch; empty means all
	// Classes are the ingress classes to serve; empty means all.
	Classes []string
	// OwnNamespace is the namespace of the controller and its pages.
	OwnNamespace string
	// NamespacePages enables pages in a target's own namespace.
	NamespacePages bool
	BuiltIn        page.Page // default page, see pagebook.Config
	// BuiltInUntil replaces BuiltIn for a maintenance that ends at a known time; nil always uses
	// BuiltIn.
	BuiltInUntil func(until time.Time) page.Page
	Template     pageset.Template // how page Pods and their Services are created
	// Grace is how long a page set stays after its last user has left; 0 deletes it at once.
	Grace    time.Duration
	Settings plan.Settings // waits and limits of decisions
	// Readiness reports whether Services can serve; nil disables annotations that need it.
	Readiness Readiness
	// Checkers give the verdicts of ServiceCheckers; nil if they are switched off.
	Checkers Checkers
	// AutoFor is how long all of a target's backends must have had no ready endpoint before
	// maintenance begins automatically; 0 is at once.
	AutoFor time.Duration
	// AutoRecovery is how long one of them must have had a ready endpoint before that maintenance
	// ends; 0 is at once.
	AutoRecovery time.Duration
	// Debounce is how long changes of pages are collected before targets follow; 0 is not at all.
	Debounce time.Duration
	// DisableLeases switches off the watch of Leases that targets name.
	DisableLeases bool
	// DiscoveryInterval is how often to check whether a kind's CRD exists; above 0.
	DiscoveryInterval time.Duration
	// Workers is how many targets, and how many page sets, are reconciled at once; at least 1, or
	// nothing is.
	Workers int
	// DoorLimits bound page sets with doors.
	DoorLimits DoorLimits
	// AskPod asks a page Pod who was let through; nil asks over HTTP.
	AskPod func(ctx context.Context, address string) (access.Summary, error)
}

// Controller brings targets to the state that their annotations ask for.
type Controller struct {
	config       Config
	kinds        map[string]target.Kind
	queues       queues
	watches      watches
	manager      *setmanager.Manager
	book         *pagebook.Book
	alarms       *queue.Alarms[target.Ref] // when the decision changes although nothing happens
	notices      *notice.Board[target.Ref]
	dependencies *dependencies // nil if Config.Readiness is
	doors        *doors
	visits       *visits.Poller

	mu         sync.Mutex
	memory     map[target.Ref]plan.Memory
	others     map[target.Ref]string         // targets of other installations, by the installation's id
	lastStatus map[pageset.ID]pageset.Status // last status that the users of a set were notified of
	synced     chan struct{}
}

// queues of keys that wait for a reconcile.
type queues struct {
	targets *queue.Queue[target.Ref]
	sets    *queue.Queue[pageset.ID]
}

// watches fill the queues and cache what they have seen.
type watches struct {
	managed  *watch.Managed
	policies *watch.Policies
	pages    *watch.Pages
	targets  *watch.Targets
	leases   *watch.Leases
}

// New returns a Controller. It reads and writes nothing before Run.
func New(c Config) *Controller {
	if len(c.Namespaces) == 0 {
		c.Namespaces = []string{""}
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	ctl := &Controller{
		config: c, kinds: map[string]target.Kind{},
		queues: queues{
			targets: queue.New[target.Ref](queue.Config{Name: "target", Log: c.Log, Observe: c.Observe, Clock: c.Clock}),
			sets:    queue.New[pageset.ID](queue.Config{Name: "page-set", Log: c.Log, Observe: c.Observe, Clock: c.Clock}),
		},
		notices: notice.New[target.Ref](c.Recorder), doors: newDoors(),
		memory: map[target.Ref]plan.Memory{}, others: map[target.Ref]string{}, lastStatus: map[pageset.ID]pageset.Status{}, synced: make(chan struct{}),
	}
	for _, k := range c.Kinds {
		ctl.kinds[k.Name] = k
	}
	ctl.watches = ctl.watch()
	ctl.dependencies = newDependencies(c.Readiness, c.Checkers, ctl.queues.targets.Add)
	ctl.alarms = queue.NewAlarms(c.Clock, ctl.queues.targets.Add)
	ctl.book = pagebook.New(pagebook.Config{
		Source: ctl.watches.pages, Recorder: c.Recorder, OwnNamespace: c.OwnNamespace, NamespacePages: c.NamespacePages,
		BuiltIn: c.BuiltIn, BuiltInUntil: c.BuiltInUntil, CustomPage: c.Keys.CustomPage, Installation: c.Installation,
	})
	ctl.manager = setmanager.New(setmanager.Config{
		Client: c.Client, Clock: c.Clock, Cache: cacheView{ctl.watches}, Template: c.Template, Installation: c.Installation, Grace: c.Grace,
		ListUsers: ctl.confirm, OnUsersFound: ctl.queueTargets,
	})
	ctl.visits = visits.New(visits.Config{Sets: ctl.setsToPoll, Ask: c.AskPod, OnReport: ctl.onReport, Log: c.Log, Clock: c.Clock})
	return ctl
}

// watch creates the watches and connects them to the queues.
func (c *Controller) watch() watches {
	config, targets, sets := c.config, c.queues.targets.Add, c.queues.sets.Add
	return watches{
		managed: watch.NewManaged(watch.ManagedConfig{
			Client: config.Client, Log: config.Log, Namespaces: config.Namespaces, Started: c.synced, OnSet: sets, OnTarget: targets, Installation: config.Installation,
		}),
		policies: watch.NewPolicies(watch.PoliciesConfig{
			Client: config.Client, Log: config.Log, Namespaces: config.Namespaces,
			Mode: config.Template.NetworkPolicy, OnChange: c.policyChanged,
		}),
		pages: watch.NewPages(watch.PagesConfig{
			Client: config.Client, Log: config.Log, OnChange: c.pageChanged,
			Namespaces: pagebook.Config{OwnNamespace: config.OwnNamespace, NamespacePages: config.NamespacePages}.Namespaces(config.Namespaces),
		}),
		targets: watch.NewTargets(watch.TargetsConfig{OnSet: sets, OnTarget: targets, KindsConfig: watch.KindsConfig{
			Metadata: config.Metadata, Discovery: config.Discovery, Log: config.Log, Clock: config.Clock,
			Namespaces: config.Namespaces, Kinds: config.Kinds, Keys: config.Keys, DiscoveryInterval: config.DiscoveryInterval,
		}}),
		leases: watch.NewLeases(watch.LeasesConfig{Client: config.Client, Log: config.Log, Clock: config.Clock, Disabled: config.DisableLeases, OnTarget: targets}),
	}
}

// Run reconciles until ctx ends, and returns when everything that it started has stopped. It returns
// an error only if ctx ends before the first lists are complete.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	c.watches.managed.Start(ctx, &wg)
	c.watches.policies.Start(ctx, &wg)
	c.watches.pages.Start(ctx, &wg)
	wg.Go(func() { c.logUnsynced(ctx) })
	// Pages and page sets come first: a target that is decided on before its page is known would
	// show the default page.
	if !cache.WaitForCacheSync(ctx.Done(), c.watches.managed.HasSynced, c.watches.policies.HasSynced, c.watches.pages.HasSynced) {
		return ctx.Err()
	}
	wg.Go(func() { c.watches.targets.Run(ctx) })
	if !cache.WaitForCacheSync(ctx.Done(), c.watches.targets.HasSynced) {
		return ctx.Err()
	}
	close(c.synced)
	c.config.Log.Info("watching", zap.Strings("kinds", c.kindNames()), zap.Strings("namespaces", c.config.Namespaces))
	c.watches.leases.Start(ctx, &wg)
	wg.Go(func() { c.alarms.Run(ctx) })
	wg.Go(func() { c.visits.Run(ctx) })
	wg.Go(func() { c.queues.sets.Run(ctx, c.config.Workers, c.reconcileSet) })
	c.queues.targets.Run(ctx, c.config.Workers, c.reconcileTarget)
	return nil
}

// logUnsynced logs what has not been read yet: a missing permission shows only as a watch that never
// catches up.
func (c *Controller) logUnsynced(ctx context.Context) {
	tick := c.config.Clock.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.synced:
			return
		case <-tick.C():
			c.config.Log.Warn("still waiting for the first lists: check the watch errors in this log for missing permissions",
				zap.Strings("waiting for", slices.Concat(c.watches.managed.Unsynced(), c.watches.policies.Unsynced(), c.watches.pages.Unsynced(), c.watches.targets.Unsynced())))
		}
	}
}

// Synced returns a channel that is closed when the watches have caught up and reconciles begin.
func (c *Controller) Synced() <-chan struct{} { return c.synced }

func (c *Controller) kindNames() []string {
	var names []string
	for _, k := range c.config.Kinds {
		names = append(names, k.Name)
	}
	return names
}

func (c *Controller) queueTargets(refs []target.Ref) {
	for _, ref := range refs {
		c.queues.targets.Add(ref)
	}
}

// policyChanged queues the page set that the NetworkPolicy belongs to, or else every page set of the
// namespace.
func (c *Controller) policyChanged(namespace, set string) {
	if set != "" {
		c.queues.sets.Add(pageset.ID{Namespace: namespace, Name: set})
		return
	}
	for _, id := range c.watches.managed.SetsIn(namespace) {
		c.queues.sets.Add(id)
	}
}

// pageChanged queues the targets that the change of a page concerns, after Debounce.
func (c *Controller) pageChanged(namespace, name string) {
	c.book.Forget()
	c.watches.targets.EachAnnotated(func(ref target.Ref, all map[string]string) {
		req, _ := c.parse(all)
		changed, asked := pagebook.Place{Namespace: namespace, Page: name}, pagebook.Place{Namespace: ref.Namespace, Page: req.Page}
		if c.needsPage(ref, all) && c.book.Concerns(changed, asked) {
			c.queues.targets.AddAfter(ref, c.config.Debounce)
		}
	})
}

// reconcileSet brings a page set to what its users need, and notifies them when its status has
// changed.
func (c *Controller) reconcileSet(ctx context.Context, id pageset.ID) (time.Duration, error) {
	after, err := c.manager.Reconcile(ctx, id)
	status := c.manager.Status(id)
	c.mu.Lock()
	changed := c.lastStatus[id] != status
	c.lastStatus[id] = status
	if status.Phase == pageset.Absent {
		delete(c.lastStatus, id)
	}
	c.mu.Unlock()
	if changed {
		c.config.Log.Debug("page set", zap.Stringer("set", id), zap.Int("phase", int(status.Phase)), zap.String("message", status.Message))
		c.queueTargets(c.manager.Users(id))
	}
	c.queueBarred(id)
	return after, err
}

// watchesNamespace reports whether the controller serves the namespace.
func (c *Controller) watchesNamespace(namespace string) bool {
	return slices.Contains(c.config.Namespaces, "") || slices.Contains(c.config.Namespaces, namespace)
}

// cacheView gives the page set manager access to the watches.
type cacheView struct{ watches watches }

func (s cacheView) Observe(id pageset.ID) pageset.Observed { return s.watches.managed.Observe(id) }

func (s cacheView) Budget(id pageset.ID) *policyv1.PodDisruptionBudget {
	return s.watches.managed.Budget(id)
}

func (s cacheView) Policy(id pageset.ID) (own *networkingv1.NetworkPolicy, others bool) {
	return s.watches.policies.Policy(id)
}

func (s cacheView) EgressRestricted(namespace string, pod map[string]string) bool {
	return s.watches.policies.EgressRestricted(namespace, pod)
}

// Users lists the targets whose annotation or backup names the page set.
func (s cacheView) Users(id pageset.ID) []target.Ref {
	return append(s.watches.targets.Users(id), s.watches.managed.UsersByBackup(id)...)
}
