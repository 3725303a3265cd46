// Package controller watches targets, pages and page sets, and brings each
// target to what its annotations ask for: gather, decide, execute one step.
package controller

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/setmanager"
	"maintenance-controller.io/pkg/target"
)

// Config is everything that a Controller stands on.
type Config struct {
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface
	Metadata  metadata.Interface
	Discovery discovery.DiscoveryInterface
	Recorder  record.EventRecorder
	Log       *zap.Logger
	// Observe is told of each reconcile: queue, result, and how long it took.
	Observe func(queue, result string, took time.Duration)

	Keys       annotations.Keys
	Kinds      []target.Kind
	Namespaces []string // that are watched; empty means all
	// Classes are the ingress classes that are served; empty means all.
	Classes []string
	// OwnNamespace is where the controller runs and its pages are.
	OwnNamespace string
	// NamespacePages lets pages in a target's own namespace count.
	NamespacePages bool
	BuiltIn        page.Page
	Template       pageset.Template
	Grace          time.Duration
	Settings       plan.Settings
	// Debounce is how long changes of pages are gathered before targets follow.
	Debounce time.Duration
	// Discover is how often it is looked whether a CRD has come or gone.
	Discover time.Duration
	Workers  int
}

// Controller brings targets to what their annotations ask for.
type Controller struct {
	Config
	kinds    map[string]target.Kind
	targets  *queue[target.Ref]
	sets     *queue[pageset.ID]
	manager  *setmanager.Manager
	ours     *ownCache
	policies *policyWatch
	pages    *pageBook
	watches  *targetWatches
	notices  notices

	mu     sync.Mutex
	memory map[target.Ref]plan.Memory
	told   map[pageset.ID]pageset.Status // what a set's users were last told of it
	synced chan struct{}
}

// New gives a Controller; nothing is read or written before Run.
func New(c Config) *Controller {
	if len(c.Namespaces) == 0 {
		c.Namespaces = []string{""}
	}
	ctl := &Controller{
		Config: c, kinds: map[string]target.Kind{},
		memory: map[target.Ref]plan.Memory{}, told: map[pageset.ID]pageset.Status{}, synced: make(chan struct{}),
	}
	for _, k := range c.Kinds {
		ctl.kinds[k.Name] = k
	}
	ctl.notices = notices{recorder: c.Recorder, told: map[target.Ref]map[plan.Event]bool{}}
	ctl.targets = newQueue[target.Ref]("target", c.Log, c.Observe)
	ctl.sets = newQueue[pageset.ID]("page-set", c.Log, c.Observe)
	ctl.ours = newOwnCache(ctl)
	ctl.policies = newPolicyWatch(ctl)
	ctl.pages = newPageBook(ctl)
	ctl.watches = newTargetWatches(ctl)
	ctl.manager = setmanager.New(setmanager.Config{
		Client: c.Client, Cache: ctl.ours, Template: c.Template, Grace: c.Grace,
		Confirm: ctl.confirm, Found: ctl.queueTargets,
	})
	return ctl
}

// Run works until ctx ends, and returns when everything that it started has.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	c.ours.start(ctx, &wg)
	c.policies.start(ctx, &wg)
	c.pages.start(ctx, &wg)
	wg.Go(func() { c.tellUnsynced(ctx) })
	// Pages and page sets first: a target that is decided on before its page is
	// known would be shown the default page.
	if !cache.WaitForCacheSync(ctx.Done(), slices.Concat(c.ours.hasSynced(), c.policies.hasSynced(), c.pages.hasSynced())...) {
		return ctx.Err()
	}
	wg.Go(func() { c.watches.run(ctx) })
	if !cache.WaitForCacheSync(ctx.Done(), c.watches.hasSynced) {
		return ctx.Err()
	}
	close(c.synced)
	c.Log.Info("watching", zap.Strings("kinds", c.kindNames()), zap.Strings("namespaces", c.Config.Namespaces))
	wg.Go(func() { c.sets.run(ctx, c.Workers, c.reconcileSet) })
	c.targets.run(ctx, c.Workers, c.reconcileTarget)
	return nil
}

// tellUnsynced says what cannot be read, for as long as it cannot: a right that
// is missing shows as nothing but a watch that never catches up.
func (c *Controller) tellUnsynced(ctx context.Context) {
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.synced:
			return
		case <-tick.C:
			c.Log.Warn("still waiting to read what the controller needs: see the errors of the watches; are rights missing?",
				zap.Strings("waiting for", append(c.ours.unsynced(), c.watches.unsynced()...)))
		}
	}
}

// Synced is closed when the watches have caught up and reconciles begin.
func (c *Controller) Synced() <-chan struct{} { return c.synced }

func (c *Controller) kindNames() []string {
	var names []string
	for _, k := range c.Kinds {
		names = append(names, k.Name)
	}
	return names
}

func (c *Controller) queueTargets(refs []target.Ref) {
	for _, ref := range refs {
		c.targets.Add(ref)
	}
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
		c.Log.Debug("page set", zap.Stringer("set", id), zap.Int("phase", int(status.Phase)), zap.String("message", status.Message))
		c.queueTargets(c.manager.Users(id))
	}
	return after, err
}

// serves says whether objects of this ingress class are the controller's.
func (c *Controller) serves(class string, known bool) bool {
	return len(c.Classes) == 0 || !known || slices.Contains(c.Classes, class)
}

// watched says whether the namespace is one that the controller serves.
func (c *Controller) watched(namespace string) bool {
	return slices.Contains(c.Namespaces, "") || slices.Contains(c.Namespaces, namespace)
}
