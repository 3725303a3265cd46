package readiness

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
)

// byService indexes EndpointSlices by the Service that they are of.
const byService = "service"

// namespace is the watch of one.
type namespace struct {
	name                string
	config              Config
	notify              func(namespace, service string)
	holders             int                // guarded by the Watcher
	cancel              context.CancelFunc // likewise
	services, endpoints cache.SharedIndexInformer
	streams             [2]*stream // of these

	mu    sync.Mutex
	known bool
	asked map[string]map[intstr.IntOrString]*spell // by Service and port
	sweep int                                      // as many may be asked for until those that nobody asks for any more are dropped
}

// Spells that nobody has asked for so long are forgotten when there are many.
const (
	fewSpells = 256
	forgotten = time.Hour
)

// spell is how a Service has been since when.
type spell struct {
	known, exists, judgeable, ready bool
	since, asked                    time.Time
}

func newNamespace(name string, c Config, notify func(namespace, service string)) *namespace {
	n := &namespace{name: name, config: c, notify: notify, cancel: func() {}, asked: map[string]map[intstr.IntOrString]*spell{}}
	for i := range n.streams {
		n.streams[i] = &stream{clock: c.Clock, changed: n.mayBeKnown}
	}
	services, slices := c.Client.CoreV1().Services(name), c.Client.DiscoveryV1().EndpointSlices(name)
	n.services = n.informer(n.streams[0], &corev1.Service{}, cache.Indexers{}, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return services.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return services.Watch(ctx, o)
		},
	})
	n.endpoints = n.informer(n.streams[1], &discoveryv1.EndpointSlice{}, cache.Indexers{byService: indexByService}, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = discoveryv1.LabelServiceName
			return slices.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = discoveryv1.LabelServiceName
			return slices.Watch(ctx, o)
		},
	})
	return n
}

func indexByService(object any) ([]string, error) {
	if s, ok := object.(*slice); ok {
		return []string{s.service}, nil
	}
	return nil, nil
}

// informer that has not started. It refuses to be set up only once it has stopped.
func (n *namespace) informer(s *stream, of runtime.Object, indexers cache.Indexers, lw *cache.ListWatch) cache.SharedIndexInformer {
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(s.follow(lw), n.config.Client), of, 0, indexers)
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    n.changed,
		DeleteFunc: n.changed,
		UpdateFunc: func(before, now any) {
			if same(before, now) {
				return
			}
			n.changed(before) // it may have been of another Service
			n.changed(now)
		},
	})
	failed := func(_ context.Context, _ *cache.Reflector, err error) {
		n.config.Log.Error("watch failed: it will be tried again", zap.String("namespace", n.name), zap.Error(err))
	}
	if err = errors.Join(err, informer.SetTransform(reduce), informer.SetWatchErrorHandlerWithContext(failed)); err != nil {
		n.config.Log.Error("informer refused to be set up", zap.Error(err))
	}
	return informer
}

// start watches until ctx ends or stop is called.
func (n *namespace) start(ctx context.Context, all *sync.WaitGroup) {
	ctx, n.cancel = context.WithCancel(ctx)
	for _, informer := range []cache.SharedIndexInformer{n.services, n.endpoints} {
		all.Go(func() { informer.RunWithContext(ctx) })
	}
	all.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), n.services.HasSynced, n.endpoints.HasSynced) {
			n.mayBeKnown()
		}
	})
}

func (n *namespace) stop() { n.cancel() }

// changed tells the Service that an object is about, and the one in maintenance that it
// stands for.
func (n *namespace) changed(object any) {
	switch o := seen(object).(type) {
	case *service:
		n.tell(o.name)
		if o.originOf != "" {
			n.tell(o.originOf)
		}
	case *slice:
		n.tell(o.service)
		if svc := n.service(o.service); svc != nil && svc.originOf != "" {
			n.tell(svc.originOf)
		}
	}
}

func (n *namespace) tell(service string) {
	n.mu.Lock()
	if !n.known { // all are told once it is
		n.mu.Unlock()
		return
	}
	for port, spell := range n.asked[service] {
		spell.follow(n.judge(service, port), n.config.Clock.Now())
	}
	n.mu.Unlock()
	n.notify(n.name, service)
}

// mayBeKnown looks whether the namespace is known now and was not, or the other way round.
func (n *namespace) mayBeKnown() {
	n.mu.Lock()
	known := n.current()
	changed := known != n.known
	n.known = known
	if changed {
		for service, ports := range n.asked {
			for port, spell := range ports {
				spell.follow(n.judge(service, port), n.config.Clock.Now())
			}
		}
	}
	n.mu.Unlock()
	if changed {
		n.notify(n.name, "")
	}
}

// current says whether everything has been read and is being watched.
func (n *namespace) current() bool {
	known, _ := n.why()
	return known
}

func (n *namespace) why() (bool, error) {
	if !n.services.HasSynced() || !n.endpoints.HasSynced() {
		_, err1 := n.streams[0].current()
		_, err2 := n.streams[1].current()
		return false, errors.Join(err1, err2)
	}
	for _, s := range n.streams {
		if ok, err := s.current(); !ok {
			return false, err
		}
	}
	return true, nil
}

func (n *namespace) judge(service string, port intstr.IntOrString) State {
	known, err := n.why()
	switch {
	case known:
		return judge(n, service, port)
	case err != nil:
		return State{Message: "is not known, since its namespace cannot be watched: " + annotations.ClipTo(err.Error(), annotations.MaxMessage/2)}
	case !n.services.HasSynced() || !n.endpoints.HasSynced():
		return State{Message: "is not known yet: its namespace is being read"}
	}
	return State{Message: "is not known, since the watch of its namespace has ended: a new one is tried for"}
}

func (n *namespace) of(service string, port intstr.IntOrString) State {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, now := n.judge(service, port), n.config.Clock.Now()
	known := n.asked[service][port]
	if known == nil {
		n.forget(now)
		known = &spell{}
		if n.asked[service] == nil {
			n.asked[service] = map[intstr.IntOrString]*spell{}
		}
		n.asked[service][port] = known
	}
	known.follow(s, now)
	known.asked = now
	s.Since = known.since
	return s
}

// forget drops what nobody asks for any more, or a list of Services that is edited for
// months would fill the memory.
func (n *namespace) forget(now time.Time) {
	if len(n.asked) < max(n.sweep, fewSpells) {
		return
	}
	for service, ports := range n.asked {
		maps.DeleteFunc(ports, func(_ intstr.IntOrString, s *spell) bool { return now.Sub(s.asked) > forgotten })
		if len(ports) == 0 {
			delete(n.asked, service)
		}
	}
	n.sweep = 2 * len(n.asked)
}

func (s *spell) follow(now State, at time.Time) {
	next := spell{known: now.Known, exists: now.Exists, judgeable: now.Judgeable, ready: now.Ready > 0, since: s.since, asked: s.asked}
	if *s != next || s.since.IsZero() {
		next.since = at
	}
	*s = next
}

func (n *namespace) service(name string) *service {
	object, _, err := n.services.GetStore().GetByKey(n.name + "/" + name)
	if err != nil {
		return nil
	}
	svc, _ := object.(*service)
	return svc
}

func (n *namespace) slices(service string) []*slice {
	objects, err := n.endpoints.GetIndexer().ByIndex(byService, service)
	if err != nil {
		return nil // the index is there from the start
	}
	all := make([]*slice, 0, len(objects))
	for _, object := range objects {
		if s, ok := object.(*slice); ok {
			all = append(all, s)
		}
	}
	return all
}
