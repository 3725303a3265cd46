package controller

import (
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// Indexes of the targets' watches.
const (
	byPageSet = "page-set"  // namespace/name of the set that the annotation names
	concerned = "concerned" // targets that have any annotation of ours
)

// targetWatches watch the metadata of targets. A kind that comes with a CRD is
// watched while that is there.
type targetWatches struct {
	*Controller
	mu      sync.RWMutex
	running map[string]*kindWatch
	looked  map[string]bool // kinds of which it has been known once whether they are there
	first   bool            // every kind has been looked for once
}

// kindWatch is the watch of one kind, an informer for each namespace.
type kindWatch struct {
	kind      target.Kind
	informers []cache.SharedIndexInformer
	cancel    context.CancelFunc
	done      sync.WaitGroup
}

func newTargetWatches(c *Controller) *targetWatches {
	return &targetWatches{Controller: c, running: map[string]*kindWatch{}, looked: map[string]bool{}}
}

// run keeps the watches until ctx ends.
func (t *targetWatches) run(ctx context.Context) {
	tick := time.NewTicker(t.Discover)
	defer tick.Stop()
	for {
		for _, k := range t.Kinds {
			t.follow(ctx, k)
		}
		t.mu.Lock()
		t.first = true
		t.mu.Unlock()
		select {
		case <-ctx.Done():
			for _, k := range t.Kinds {
				t.stop(k)
			}
			return
		case <-tick.C:
		}
	}
}

// follow starts or stops the watch of a kind as it comes and goes. A discovery
// that fails says nothing about the kind.
func (t *targetWatches) follow(ctx context.Context, k target.Kind) {
	there := true
	if k.Custom {
		list, err := t.Discovery.ServerResourcesForGroupVersion(k.APIVersion())
		switch {
		case apierrors.IsNotFound(err):
			there = false
		case err != nil:
			t.Log.Error("discovery failed: it will be tried again", zap.String("kind", k.Name), zap.Error(err))
			return
		default:
			there = slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == k.Resource.Resource })
		}
	}
	t.mu.Lock()
	t.looked[k.Name] = true
	_, running := t.running[k.Name]
	t.mu.Unlock()
	switch {
	case there && !running:
		t.start(ctx, k)
	case !there && running:
		t.Log.Info("kind is not served any more", zap.String("kind", k.Name))
		t.stop(k)
	}
}

func (t *targetWatches) start(ctx context.Context, k target.Kind) {
	ctx, cancel := context.WithCancel(ctx)
	w := &kindWatch{kind: k, cancel: cancel}
	for _, namespace := range t.Namespaces {
		informer := metadatainformer.NewFilteredMetadataInformer(t.Metadata, k.Resource, namespace, 0, t.indexers(), nil).Informer()
		if err := informer.SetTransform(t.reduce); err != nil {
			t.Log.Error("informer refused to be set up", zap.Error(err))
		}
		handle := t.handler(k)
		if _, err := informer.AddEventHandler(handle); err != nil {
			t.Log.Error("informer refused to be set up", zap.Error(err))
		}
		w.informers = append(w.informers, informer)
		w.done.Go(func() { informer.RunWithContext(ctx) })
	}
	t.mu.Lock()
	t.running[k.Name] = w
	t.mu.Unlock()
	t.Log.Info("watching kind", zap.String("kind", k.Name))
}

func (t *targetWatches) stop(k target.Kind) {
	t.mu.Lock()
	w := t.running[k.Name]
	delete(t.running, k.Name)
	t.mu.Unlock()
	if w == nil {
		return
	}
	w.cancel()
	w.done.Wait()
	for _, informer := range w.informers { // each is seen to be gone, and forgotten
		for _, object := range informer.GetStore().List() {
			t.handler(k).OnDelete(object)
		}
	}
}

// unsynced names the kinds that have not been read yet.
func (t *targetWatches) unsynced() []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var names []string
	for name, w := range t.running {
		for _, informer := range w.informers {
			if !informer.HasSynced() && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// complete says whether of every kind it has been known whether it is there, and
// all that is there has been read.
func (t *targetWatches) complete() bool {
	t.mu.RLock()
	looked := len(t.looked)
	t.mu.RUnlock()
	return looked == len(t.Kinds) && t.hasSynced()
}

// hasSynced says whether every kind has been looked for, and all that was found
// has been read. A discovery that fails holds up nothing but the kind itself.
func (t *targetWatches) hasSynced() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !t.first {
		return false
	}
	for _, w := range t.running {
		for _, informer := range w.informers {
			if !informer.HasSynced() {
				return false
			}
		}
	}
	return true
}

// reduce keeps of a target what the watch is for: with 50,000 targets this is
// most of the memory. Originals are only ever read from the API server.
func (t *targetWatches) reduce(object any) (any, error) {
	m, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	out := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, Generation: m.Generation,
		ResourceVersion: m.ResourceVersion, DeletionTimestamp: m.DeletionTimestamp,
	}}
	own := pageset.Ours(m)
	for key, value := range m.Annotations {
		if own || !t.Keys.Keeps(key) { // an object of our own is never a target
			continue
		}
		if out.Annotations == nil {
			out.Annotations = map[string]string{}
		}
		if key == annotations.Original {
			value = digest(value) // enough to see that somebody wrote over it
		}
		out.Annotations[key] = value
	}
	return out, nil
}

func digest(text string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // it never fails
	return strconv.FormatUint(h.Sum64(), 36)
}

// setNamed gives the page set that a target's annotation names. What has not the
// shape of a name is nobody's.
func setNamed(m *metav1.PartialObjectMetadata) (pageset.ID, bool) {
	name := m.Annotations[annotations.PageSet]
	return pageset.ID{Namespace: m.Namespace, Name: name}, page.IsSetName(name)
}

func (t *targetWatches) indexers() cache.Indexers {
	return cache.Indexers{
		byPageSet: func(object any) ([]string, error) {
			if m, ok := object.(*metav1.PartialObjectMetadata); ok {
				if id, named := setNamed(m); named {
					return []string{id.String()}, nil
				}
			}
			return nil, nil
		},
		concerned: func(object any) ([]string, error) {
			m, ok := object.(*metav1.PartialObjectMetadata)
			if !ok || !t.Keys.Concerns(m.Annotations) {
				return nil, nil
			}
			return []string{concerned}, nil
		},
	}
}

// handler queues targets of which something changed that matters (load
// balancers write status all day: that is not such a thing), and the page set
// of a target that is seen to have left it: until then the set counted it.
func (t *targetWatches) handler(k target.Kind) cache.ResourceEventHandlerFuncs {
	queue := func(object any) {
		if d, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = d.Obj
		}
		if m, ok := object.(*metav1.PartialObjectMetadata); ok && t.Keys.Concerns(m.Annotations) {
			t.targets.Add(target.Ref{Kind: k.Name, Namespace: m.Namespace, Name: m.Name})
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: queue,
		UpdateFunc: func(old, now any) {
			before, ok1 := old.(*metav1.PartialObjectMetadata)
			after, ok2 := now.(*metav1.PartialObjectMetadata)
			if !ok1 || !ok2 || !changed(before, after) && !t.waits(after) {
				return
			}
			queue(before)
			queue(after)
			if before.Annotations[annotations.PageSet] != after.Annotations[annotations.PageSet] {
				t.queueSetOf(before)
			}
		},
		DeleteFunc: func(object any) {
			queue(object)
			if d, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = d.Obj
			}
			if m, ok := object.(*metav1.PartialObjectMetadata); ok {
				t.queueSetOf(m)
			}
		},
	}
}

func (t *targetWatches) queueSetOf(m *metav1.PartialObjectMetadata) {
	if id, named := setNamed(m); named {
		t.sets.Add(id)
	}
}

// waits says whether the target asks for something that it does not have: any
// change of it may be what it waits for.
func (t *targetWatches) waits(m *metav1.PartialObjectMetadata) bool {
	req, _ := t.Keys.Parse(m.Annotations)
	return req.On && m.Annotations[annotations.State] != annotations.Active
}

func changed(before, after *metav1.PartialObjectMetadata) bool {
	if before.ResourceVersion == after.ResourceVersion {
		return false
	}
	return before.UID != after.UID ||
		before.Generation != after.Generation ||
		after.Generation == 0 || // a kind without generations: any change may be one of the spec
		before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		!maps.Equal(before.Annotations, after.Annotations)
}

// users gives the targets whose annotation names the set.
func (t *targetWatches) users(id pageset.ID) []target.Ref {
	var users []target.Ref
	t.each(byPageSet, id.String(), func(k target.Kind, m *metav1.PartialObjectMetadata) {
		users = append(users, target.Ref{Kind: k.Name, Namespace: m.Namespace, Name: m.Name})
	})
	return users
}

// each calls f for every target that an index holds under a value.
func (t *targetWatches) each(index, value string, f func(target.Kind, *metav1.PartialObjectMetadata)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, w := range t.running {
		for _, informer := range w.informers {
			objects, err := informer.GetIndexer().ByIndex(index, value)
			if err != nil {
				continue // the index is there from the start
			}
			for _, object := range objects {
				if m, ok := object.(*metav1.PartialObjectMetadata); ok {
					f(w.kind, m)
				}
			}
		}
	}
}
