// Package roster keeps the list of targets in maintenance, for the HTTP API of any replica. It
// watches metadata, and reads the hosts of each target in maintenance once.
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

// Config configures a Roster. All fields but Clock, Namespaces and Observe are required.
type Config struct {
	Metadata   metadata.Interface           // to watch targets
	Discovery  discovery.DiscoveryInterface // to learn which CRDs are installed
	Dynamic    dynamic.Interface            // to read hosts
	Log        *zap.Logger
	Clock      clock.WithTicker // nil is the real one
	Namespaces []string         // to watch; empty means all
	Kinds      []target.Kind    // kinds of targets to list
	Keys       annotations.Keys // names of the annotations that people write
	// DiscoveryInterval is how often to check whether a kind's CRD exists; above 0.
	DiscoveryInterval time.Duration
	// Observe is called after each read, see queue.Config; nil observes nothing.
	Observe func(queue, result string, took time.Duration)
}

// Roster keeps the list of targets in maintenance.
type Roster struct {
	config Config
	kinds  map[string]target.Kind
	watch  *watch.InMaintenance
	reads  *queue.Queue[target.Ref]

	mu      sync.Mutex
	hosts   map[target.Ref]hosts
	rows    []api.Row // cached until something changes
	changed bool      // rows are out of date
}

// hosts of a target at a generation.
type hosts struct {
	uid        types.UID
	generation int64
	names      []string
}

// New returns a Roster that reads nothing before Run.
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
	r.watch = watch.NewInMaintenance(watch.InMaintenanceConfig{OnChange: r.onChange, KindsConfig: watch.KindsConfig{
		Metadata: c.Metadata, Discovery: c.Discovery, Log: c.Log, Clock: c.Clock,
		Namespaces: c.Namespaces, Kinds: c.Kinds, Keys: c.Keys, DiscoveryInterval: c.DiscoveryInterval,
	}})
	return r
}

// Run keeps the list up to date until ctx ends.
func (r *Roster) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { r.watch.Run(ctx) })
	r.reads.Run(ctx, workers, r.read)
	wg.Wait()
}

// Rows implements api.Maintenance. While nothing changes it returns the same slice, which the caller
// must not change.
func (r *Roster) Rows() ([]api.Row, bool) {
	known := r.watch.Complete()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changed {
		return r.rows, known
	}
	r.changed = false // a change from here on invalidates the rows again
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

// onChange is called with a target that is, or was, in maintenance.
func (r *Roster) onChange(ref target.Ref) {
	r.mu.Lock()
	r.changed = true
	r.mu.Unlock()
	r.reads.Add(ref)
}

// read reads the hosts of a target in maintenance, unless they are current: annotations can change
// without them.
func (r *Roster) read(ctx context.Context, ref target.Ref) (time.Duration, error) {
	m, in := r.watch.Get(ref)
	if !in {
		r.setHosts(ref, nil)
		return 0, nil
	}
	if r.hostsCurrent(ref, m) {
		return 0, nil
	}
	kind := r.kinds[ref.Kind]
	if kind.Name == target.Service().Name { // its hosts are those of the objects in front of it
		r.setHosts(ref, &hosts{uid: m.UID, names: []string{}})
		return 0, nil
	}
	object, err := r.config.Dynamic.Resource(kind.Resource).Namespace(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return 0, nil // the watch reports it
	}
	if err != nil {
		return 0, fmt.Errorf("read hosts of %s: %w", ref, err)
	}
	r.setHosts(ref, &hosts{uid: object.GetUID(), generation: object.GetGeneration(), names: hostNames(kind.Hosts(object.Object))})
	return 0, nil
}

// hostsCurrent reports whether the known hosts are those of the object as the watch shows it, or of
// a later generation.
func (r *Roster) hostsCurrent(ref target.Ref, m *metav1.PartialObjectMetadata) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, read := r.hosts[ref]
	return read && h.uid == m.UID && h.generation >= m.Generation
}

// setHosts stores the hosts of a target; nil forgets them.
func (r *Roster) setHosts(ref target.Ref, h *hosts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = true
	if h == nil {
		delete(r.hosts, ref)
		return
	}
	r.hosts[ref] = *h
}

// hostNames returns hosts in the notation of the API.
func hostNames(all []target.Host) []string {
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
