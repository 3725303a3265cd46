// Package roster keeps who is in maintenance, for the HTTP API of any replica. It watches
// metadata, and reads of each target in maintenance once which hosts it serves.
package roster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/api"
	"maintenance-controller.io/pkg/queue"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
	"maintenance-controller.io/pkg/watch"
)

// workers is how many targets are read at once.
const workers = 8

// Config is what a Roster stands on.
type Config struct {
	Metadata   metadata.Interface
	Discovery  discovery.DiscoveryInterface
	Dynamic    dynamic.Interface
	Log        *zap.Logger
	Clock      clock.WithTicker // nil is the real one
	Namespaces []string         // that are looked at; empty means all
	Kinds      []target.Kind
	Keys       annotations.Keys
	// Discover is how often to check whether a CRD has come or gone; above 0.
	Discover time.Duration
	// Observe is told of each read, see queue.Config; nil tells nobody.
	Observe func(queue, result string, took time.Duration)
}

// Roster keeps who is in maintenance.
type Roster struct {
	config Config
	kinds  map[string]target.Kind
	watch  *watch.Marked
	reads  *queue.Queue[target.Ref]

	mu      sync.Mutex
	hosts   map[target.Ref]hosts
	rows    []api.Row // as they were when somebody asked
	changed bool      // since then
}

// hosts of a target, as of a generation of it.
type hosts struct {
	uid        types.UID
	generation int64
	names      []string
}

// New gives a Roster that reads nothing before Run.
func New(c Config) *Roster {
	if len(c.Namespaces) == 0 {
		c.Namespaces = []string{""}
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	c.Log = c.Log.Named("api")
	r := &Roster{config: c, kinds: map[string]target.Kind{}, hosts: map[target.Ref]hosts{}, changed: true,
		reads: queue.New[target.Ref](queue.Config{Name: "api-target", Log: c.Log, Observe: c.Observe, Clock: c.Clock})}
	for _, k := range c.Kinds {
		r.kinds[k.Name] = k
	}
	r.watch = watch.NewMarked(watch.MarkedConfig{
		Metadata: c.Metadata, Discovery: c.Discovery, Log: c.Log, Clock: c.Clock,
		Namespaces: c.Namespaces, Kinds: c.Kinds, Keys: c.Keys, Interval: c.Discover, Changed: r.told,
	})
	return r
}

// Run keeps the roster until ctx ends.
func (r *Roster) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { r.watch.Run(ctx) })
	r.reads.Run(ctx, workers, r.read)
	wg.Wait()
}

// Rows implements api.Maintenance. While nothing changes it gives the same slice.
func (r *Roster) Rows() ([]api.Row, bool) {
	known := r.watch.Complete()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changed {
		return r.rows, known
	}
	r.changed = false // what comes from here on is another change
	r.rows = nil
	r.watch.Each(func(ref target.Ref, m *metav1.PartialObjectMetadata) { r.rows = append(r.rows, r.row(ref, m)) })
	return r.rows, known
}

func (r *Roster) row(ref target.Ref, m *metav1.PartialObjectMetadata) api.Row {
	pairs := map[string]any{}
	for key, value := range m.Annotations {
		pairs[key] = value
	}
	seen, _ := view.Of(r.kinds[ref.Kind], r.config.Keys, map[string]any{"metadata": map[string]any{
		"namespace": m.Namespace, "name": m.Name, "annotations": pairs,
	}})
	row := api.Row{
		Kind: seen.Kind, Namespace: seen.Namespace, Name: seen.Name, State: seen.State,
		Since: seen.Since, Until: seen.Until, Reason: seen.Reason, Page: seen.Page,
	}
	if h, read := r.hosts[ref]; read && h.uid == m.UID {
		row.Hosts = h.names
	}
	return row
}

// told hears of a target that is in maintenance, or was.
func (r *Roster) told(ref target.Ref) {
	r.mu.Lock()
	r.changed = true
	r.mu.Unlock()
	r.reads.Add(ref)
}

// read reads the hosts of a target in maintenance, unless they are known: annotations
// change without them.
func (r *Roster) read(ctx context.Context, ref target.Ref) (time.Duration, error) {
	m, in := r.watch.Get(ref)
	if !in {
		r.know(ref, nil)
		return 0, nil
	}
	if r.knows(ref, m) {
		return 0, nil
	}
	kind := r.kinds[ref.Kind]
	if kind.Name == target.Service().Name { // asked for by whatever is in front of it
		r.know(ref, &hosts{uid: m.UID, names: []string{}})
		return 0, nil
	}
	object, err := r.config.Dynamic.Resource(kind.Resource).Namespace(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return 0, nil // the watch tells
	}
	if err != nil {
		return 0, fmt.Errorf("read the hosts of %s: %w", ref, err)
	}
	r.know(ref, &hosts{uid: object.GetUID(), generation: object.GetGeneration(), names: named(kind.Hosts(object.Object))})
	return 0, nil
}

// knows says whether the hosts are those of the object as it was seen, or of a later one.
func (r *Roster) knows(ref target.Ref, m *metav1.PartialObjectMetadata) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, read := r.hosts[ref]
	return read && h.uid == m.UID && h.generation >= m.Generation
}

// know remembers the hosts of a target; nil forgets them.
func (r *Roster) know(ref target.Ref, h *hosts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = true
	if h == nil {
		delete(r.hosts, ref)
		return
	}
	r.hosts[ref] = *h
}

// named writes hosts as the API does.
func named(all []target.Host) []string {
	names := []string{}
	for _, h := range all {
		name := h.String()
		if h.Form == target.RegexpHost {
			name = "~" + name
		}
		names = append(names, name)
	}
	return slices.Compact(names)
}
