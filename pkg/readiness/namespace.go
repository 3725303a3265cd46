package readiness

import (
	"context"
	"errors"
	"maps"
	"slices"
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

// byService indexes EndpointSlices by their Service.
const byService = "service"

// namespace is the watch of one namespace.
type namespace struct {
	name                string
	config              Config
	notify              func(namespace, service string)
	holders             int                // guarded by Watcher.mu
	cancel              context.CancelFunc // guarded by Watcher.mu
	services, endpoints cache.SharedIndexInformer
	streams             [2]*stream             // of services and endpoints
	read                []cache.InformerSynced // of each, whether changed has seen all that was there

	mu        sync.Mutex
	known     bool
	records   map[string]map[intstr.IntOrString]*record // by Service and port
	sweepSize int                                       // number of Services at which records are next swept
}

// Records that nobody has asked for during unaskedTTL are dropped when there are more than
// minSweepSize.
const (
	minSweepSize = 256
	unaskedTTL   = time.Hour
)

// lagGrace is for how long the state from before counts while EndpointSlices lag behind their
// Service. The two have watches of their own, and the API server's controller needs moments to
// follow a selector, so that every swap and every restore of a Service has such a gap.
const lagGrace = 5 * time.Second

// record is the last state of a Service through a port, and since when it holds.
type record struct {
	known, exists, judgeable, ready bool
	since, asked                    time.Time
	before                          State     // the last that did not lag; zero if there is none
	lagging                         time.Time // since when EndpointSlices have lagged; zero if they do not
}

func newNamespace(name string, c Config, notify func(namespace, service string)) *namespace {
	n := &namespace{name: name, config: c, notify: notify, cancel: func() {}, records: map[string]map[intstr.IntOrString]*record{}}
	for i := range n.streams {
		n.streams[i] = &stream{clock: c.Clock, changed: n.updateKnown}
	}
	services, endpointSlices := c.Client.CoreV1().Services(name), c.Client.DiscoveryV1().EndpointSlices(name)
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
			return endpointSlices.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = discoveryv1.LabelServiceName
			return endpointSlices.Watch(ctx, o)
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

// informer returns an informer that has not started. Setting it up fails only for one that has
// stopped.
func (n *namespace) informer(s *stream, of runtime.Object, indexers cache.Indexers, lw *cache.ListWatch) cache.SharedIndexInformer {
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(s.follow(lw), n.config.Client), of, 0, indexers)
	handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    n.changed,
		DeleteFunc: n.changed,
		UpdateFunc: func(before, now any) {
			if same(before, now) {
				return
			}
			n.changed(before) // it may have belonged to another Service
			n.changed(now)
		},
	})
	failed := func(_ context.Context, _ *cache.Reflector, err error) {
		n.config.Log.Error("watch failed: retrying", zap.String("namespace", n.name), zap.Error(err))
	}
	if err = errors.Join(err, informer.SetTransform(reduce), informer.SetWatchErrorHandlerWithContext(failed)); err != nil {
		n.config.Log.Error("cannot set up informer", zap.Error(err))
	}
	if handler != nil {
		n.read = append(n.read, handler.HasSynced)
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
		if cache.WaitForCacheSync(ctx.Done(), n.read...) {
			n.updateKnown()
		}
	})
}

func (n *namespace) stop() { n.cancel() }

// changed reports the Service that an object belongs to, and the Service in maintenance that it
// stands for.
func (n *namespace) changed(object any) {
	switch o := eventObject(object).(type) {
	case *service:
		n.notifyService(o.name)
		if o.originOf != "" {
			n.notifyService(o.originOf)
		}
	case *slice:
		n.notifyService(o.service)
		if svc := n.service(o.service); svc != nil && svc.originOf != "" {
			n.notifyService(svc.originOf)
		}
	}
}

func (n *namespace) notifyService(service string) {
	n.mu.Lock()
	if !n.known { // all are reported once it is
		n.mu.Unlock()
		return
	}
	for port, spell := range n.records[service] {
		n.observe(service, port, spell)
	}
	n.mu.Unlock()
	n.notify(n.name, service)
}

// updateKnown checks whether the namespace has become known or unknown.
func (n *namespace) updateKnown() {
	n.mu.Lock()
	known := n.current()
	changed := known != n.known
	n.known = known
	if changed {
		for service, ports := range n.records {
			for port, spell := range ports {
				n.observe(service, port, spell)
			}
		}
	}
	n.mu.Unlock()
	if changed {
		n.notify(n.name, "")
	}
}

func (n *namespace) allRead() bool {
	return !slices.ContainsFunc(n.read, func(read cache.InformerSynced) bool { return !read() })
}

// current reports whether everything has been read and is being watched.
func (n *namespace) current() bool {
	known, _ := n.currentOrWhy()
	return known
}

func (n *namespace) currentOrWhy() (bool, error) {
	if !n.allRead() {
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
	known, err := n.currentOrWhy()
	switch {
	case known:
		return judge(n, service, port)
	case err != nil:
		return State{Message: "is unknown because its namespace cannot be watched: " + annotations.ClipTo(err.Error(), annotations.MaxMessage/2)}
	case !n.allRead():
		return State{Message: "is not known yet: its namespace is still being read"}
	}
	return State{Message: "is unknown because the watch of its namespace has ended: a new one is being opened"}
}

func (n *namespace) state(service string, port intstr.IntOrString) State {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.config.Clock.Now()
	known := n.records[service][port]
	if known == nil {
		n.sweep(now)
		known = &record{}
		if n.records[service] == nil {
			n.records[service] = map[intstr.IntOrString]*record{}
		}
		n.records[service][port] = known
	}
	s := n.observe(service, port, known)
	known.asked = now
	s.Since = known.since
	return s
}

// observe judges a Service and updates its record.
func (n *namespace) observe(service string, port intstr.IntOrString, r *record) State {
	s, now := n.judge(service, port), n.config.Clock.Now()
	switch lags := s.Exists && s.Judgeable && !s.Known; {
	case !lags:
		r.before, r.lagging = s, time.Time{}
	case !r.before.Known || !r.before.Exists || !r.before.Judgeable: // nothing that could still hold
	default:
		if r.lagging.IsZero() {
			r.lagging = now
			n.config.Clock.AfterFunc(lagGrace, func() { n.notifyService(service) })
		}
		if now.Sub(r.lagging) < lagGrace {
			s = r.before
		}
	}
	r.update(s, now)
	return s
}

// sweep drops records that nobody asks for any more. Without it a list of Services that is edited
// for months would fill the memory.
func (n *namespace) sweep(now time.Time) {
	if len(n.records) < max(n.sweepSize, minSweepSize) {
		return
	}
	for service, ports := range n.records {
		maps.DeleteFunc(ports, func(_ intstr.IntOrString, s *record) bool { return now.Sub(s.asked) > unaskedTTL })
		if len(ports) == 0 {
			delete(n.records, service)
		}
	}
	n.sweepSize = 2 * len(n.records)
}

func (s *record) update(now State, at time.Time) {
	next := *s
	next.known, next.exists, next.judgeable, next.ready = now.Known, now.Exists, now.Judgeable, now.Ready > 0
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
		return nil // the index exists from the start
	}
	all := make([]*slice, 0, len(objects))
	for _, object := range objects {
		if s, ok := object.(*slice); ok {
			all = append(all, s)
		}
	}
	return all
}
