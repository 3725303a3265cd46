// Package controller brings each target to what its annotations ask for: gather,
// decide, execute one step. It wires the watches to two queues, one of targets and
// one of page sets, and works them off.
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

// Config is everything that a Controller stands on.
type Config struct {
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface
	Metadata  metadata.Interface
	Discovery discovery.DiscoveryInterface
	Recorder  record.EventRecorder
	Log       *zap.Logger
	// Clock that decisions and waits stand on; nil is the real one.
	Clock clock.WithTicker
	// Observe is told of each reconcile: queue, result, and how long it took.
	Observe func(queue, result string, took time.Duration)

	// Installation that the controller is one of the replicas of. What is another's is
	// left alone.
	Installation installation.Installation
	Keys         annotations.Keys
	Kinds        []target.Kind
	Namespaces   []string // that are watched; empty means all
	// Classes are the ingress classes that are served; empty means all.
	Classes []string
	// OwnNamespace is where the controller runs and its pages are.
	OwnNamespace string
	// NamespacePages lets pages in a target's own namespace count.
	NamespacePages bool
	BuiltIn        page.Page
	// Ending is the built-in page of a maintenance that ends by itself; nil for BuiltIn.
	Ending   func(until time.Time) page.Page
	Template pageset.Template
	// Grace is how long a page set stays after its last user has left; 0 is not at all.
	Grace    time.Duration
	Settings plan.Settings
	// Readiness tells whether Services can serve; nil if targets may not ask for it.
	Readiness Readiness
	// Checkers tell what ServiceCheckers say; nil if there are none.
	Checkers Checkers
	// AutoFor is how long none of a target's backends must have had a ready endpoint before
	// maintenance begins by itself; 0 is at once.
	AutoFor time.Duration
	// AutoRecovery is how long any of them must have had one before it ends; 0 is at once.
	AutoRecovery time.Duration
	// Debounce is how long changes of pages are gathered before targets follow; 0 is
	// not at all.
	Debounce time.Duration
	// LeasesOff says that Leases that targets name are not watched.
	LeasesOff bool
	// Discover is how often to check whether a CRD has come or gone; above 0.
	Discover time.Duration
	// Workers is how many targets, and how many page sets, are worked on at once; at
	// least 1, or nothing is.
	Workers int
	// DoorLimits bound page sets with doors.
	DoorLimits DoorLimits
	// AskPod asks a page Pod who was let through; nil asks it over HTTP.
	AskPod func(ctx context.Context, address string) (access.Summary, error)
}

// Controller brings targets to what their annotations ask for.
type Controller struct {
	config  Config
	kinds   map[string]target.Kind
	queues  queues
	watches watches
	manager *setmanager.Manager
	book    *pagebook.Book
	alarms  *queue.Alarms[target.Ref] // of when what is wanted changes by itself
	notices *notice.Board[target.Ref]
	lookout *lookout // nil if targets may not ask for what needs it
	doors   *doors
	visits  *visits.Watch

	mu     sync.Mutex
	memory map[target.Ref]plan.Memory
	others map[target.Ref]string         // targets that another installation has in maintenance, and its id
	told   map[pageset.ID]pageset.Status // what a set's users were last told of it
	synced chan struct{}
}

// queues of the keys that wait for a reconcile.
type queues struct {
	targets *queue.Queue[target.Ref]
	sets    *queue.Queue[pageset.ID]
}

// watches fill the queues, and are asked what they have seen.
type watches struct {
	own      *watch.Own
	policies *watch.Policies
	pages    *watch.Pages
	targets  *watch.Targets
	leases   *watch.Leases
}

// New gives a Controller; nothing is read or written before Run.
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
		memory: map[target.Ref]plan.Memory{}, others: map[target.Ref]string{}, told: map[pageset.ID]pageset.Status{}, synced: make(chan struct{}),
	}
	for _, k := range c.Kinds {
		ctl.kinds[k.Name] = k
	}
	ctl.watches = ctl.watch()
	ctl.lookout = newLookout(c.Readiness, c.Checkers, ctl.queues.targets.Add)
	ctl.alarms = queue.NewAlarms(c.Clock, ctl.queues.targets.Add)
	ctl.book = pagebook.New(pagebook.Config{
		Source: ctl.watches.pages, Recorder: c.Recorder, OwnNamespace: c.OwnNamespace, NamespacePages: c.NamespacePages,
		BuiltIn: c.BuiltIn, Ending: c.Ending, CustomPage: c.Keys.CustomPage, Installation: c.Installation,
	})
	ctl.manager = setmanager.New(setmanager.Config{
		Client: c.Client, Clock: c.Clock, Cache: seen{ctl.watches}, Template: c.Template, Installation: c.Installation, Grace: c.Grace,
		Confirm: ctl.confirm, Found: ctl.queueTargets,
	})
	ctl.visits = visits.New(visits.Config{Sets: ctl.asks, Ask: c.AskPod, Heard: ctl.heard, Log: c.Log, Clock: c.Clock})
	return ctl
}

// watch makes the watches, each of which is given the queues that it fills.
func (c *Controller) watch() watches {
	config, targets, sets := c.config, c.queues.targets.Add, c.queues.sets.Add
	return watches{
		own: watch.NewOwn(watch.OwnConfig{
			Client: config.Client, Log: config.Log, Namespaces: config.Namespaces, Begun: c.synced, Set: sets, Target: targets, Installation: config.Installation,
		}),
		policies: watch.NewPolicies(watch.PoliciesConfig{
			Client: config.Client, Log: config.Log, Namespaces: config.Namespaces,
			Mode: config.Template.NetworkPolicy, Changed: c.policyChanged,
		}),
		pages: watch.NewPages(watch.PagesConfig{
			Client: config.Client, Log: config.Log, Changed: c.pageChanged,
			Namespaces: pagebook.Config{OwnNamespace: config.OwnNamespace, NamespacePages: config.NamespacePages}.Namespaces(config.Namespaces),
		}),
		targets: watch.NewTargets(watch.TargetsConfig{
			Metadata: config.Metadata, Discovery: config.Discovery, Log: config.Log, Clock: config.Clock,
			Namespaces: config.Namespaces, Kinds: config.Kinds, Keys: config.Keys, Interval: config.Discover,
			Set: sets, Target: targets,
		}),
		leases: watch.NewLeases(watch.LeasesConfig{Client: config.Client, Log: config.Log, Clock: config.Clock, Off: config.LeasesOff, Target: targets}),
	}
}

// Run works until ctx ends, and returns when everything that it started has.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	c.watches.own.Start(ctx, &wg)
	c.watches.policies.Start(ctx, &wg)
	c.watches.pages.Start(ctx, &wg)
	wg.Go(func() { c.tellUnsynced(ctx) })
	// Pages and page sets first: a target that is decided on before its page is
	// known would be shown the default page.
	if !cache.WaitForCacheSync(ctx.Done(), c.watches.own.HasSynced, c.watches.policies.HasSynced, c.watches.pages.HasSynced) {
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

// tellUnsynced says what cannot be read, for as long as it cannot: a right that
// is missing shows as nothing but a watch that never catches up.
func (c *Controller) tellUnsynced(ctx context.Context) {
	tick := c.config.Clock.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.synced:
			return
		case <-tick.C():
			c.config.Log.Warn("still waiting to read what the controller needs: see the errors of the watches; are rights missing?",
				zap.Strings("waiting for", slices.Concat(c.watches.own.Unsynced(), c.watches.policies.Unsynced(), c.watches.pages.Unsynced(), c.watches.targets.Unsynced())))
		}
	}
}

// Synced is closed when the watches have caught up and reconciles begin.
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

// policyChanged queues the set whose NetworkPolicy it is, or else every set of the
// namespace.
func (c *Controller) policyChanged(namespace, set string) {
	if set != "" {
		c.queues.sets.Add(pageset.ID{Namespace: namespace, Name: set})
		return
	}
	for _, id := range c.watches.own.SetsIn(namespace) {
		c.queues.sets.Add(id)
	}
}

// pageChanged queues the targets that a change of the page concerns, after a while
// in which further changes are gathered.
func (c *Controller) pageChanged(namespace, name string) {
	c.book.Forget()
	c.watches.targets.Concerned(func(ref target.Ref, all map[string]string) {
		req, _ := c.parse(all)
		changed, asked := pagebook.Place{Namespace: namespace, Page: name}, pagebook.Place{Namespace: ref.Namespace, Page: req.Page}
		if c.claims(ref, all) && c.book.Concerns(changed, asked) {
			c.queues.targets.AddAfter(ref, c.config.Debounce)
		}
	})
}

// reconcileSet brings a page set to what its users need, and tells them when it
// has changed for them.
func (c *Controller) reconcileSet(ctx context.Context, id pageset.ID) (time.Duration, error) {
	after, err := c.manager.Reconcile(ctx, id)
	status := c.manager.Status(id)
	c.mu.Lock()
	changed := c.told[id] != status
	c.told[id] = status
	if status.Phase == pageset.Absent {
		delete(c.told, id)
	}
	c.mu.Unlock()
	if changed {
		c.config.Log.Debug("page set", zap.Stringer("set", id), zap.Int("phase", int(status.Phase)), zap.String("message", status.Message))
		c.queueTargets(c.manager.Users(id))
	}
	c.freed(id)
	return after, err
}

// watched says whether the namespace is one that the controller serves.
func (c *Controller) watched(namespace string) bool {
	return slices.Contains(c.config.Namespaces, "") || slices.Contains(c.config.Namespaces, namespace)
}

// seen is what the watches have seen, as the manager of page sets asks for it.
type seen struct{ watches watches }

func (s seen) Observe(id pageset.ID) pageset.Observed { return s.watches.own.Observe(id) }

func (s seen) Budget(id pageset.ID) *policyv1.PodDisruptionBudget { return s.watches.own.Budget(id) }

func (s seen) Policy(id pageset.ID) (own *networkingv1.NetworkPolicy, others bool) {
	return s.watches.policies.Policy(id)
}

func (s seen) Isolated(namespace string, pod map[string]string) bool {
	return s.watches.policies.Isolated(namespace, pod)
}

// Users gives the targets whose annotation, or whose backup, names the set.
func (s seen) Users(id pageset.ID) []target.Ref {
	return append(s.watches.targets.Users(id), s.watches.own.BackedUp(id)...)
}
