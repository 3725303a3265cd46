package watch

import (
	"context"
	"hash/fnv"
	"maps"
	"strconv"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// Indexes of the targets' watches.
const (
	byPageSet = "page-set"  // namespace/name of the set that the annotation names
	concerned = "concerned" // targets that have any annotation of ours
)

// TargetsConfig is what the watch of targets stands on.
type TargetsConfig struct {
	Metadata   metadata.Interface
	Discovery  discovery.DiscoveryInterface
	Log        *zap.Logger
	Clock      clock.WithTicker
	Namespaces []string // "" is all of them
	Kinds      []target.Kind
	Keys       annotations.Keys
	Interval   time.Duration // between two checks whether kinds' CRDs have come or gone; above 0
	// Target and Set are told of each target and each page set that a change concerns.
	Target func(target.Ref)
	Set    func(pageset.ID)
}

// Targets watches the metadata of targets.
type Targets struct {
	config TargetsConfig
	served *Served
}

// NewTargets gives a watch that has not started.
func NewTargets(c TargetsConfig) *Targets {
	t := &Targets{config: c}
	var resources []Resource
	for _, k := range c.Kinds {
		resources = append(resources, Resource{
			Name: k.Name, Resource: k.Resource, Custom: k.Custom, Gone: t.handler(k).OnDelete,
			Informer: func(namespace string) cache.SharedIndexInformer { return t.informer(k, namespace) },
		})
	}
	t.served = NewServed(ServedConfig{Discovery: c.Discovery, Log: c.Log, Clock: c.Clock, Namespaces: c.Namespaces, Interval: c.Interval}, resources...)
	return t
}

func (t *Targets) informer(k target.Kind, namespace string) cache.SharedIndexInformer {
	one := informers{metadatainformer.NewFilteredMetadataInformer(t.config.Metadata, k.Resource, namespace, 0, t.indexers(), nil).Informer()}
	one.transform(t.config.Log, t.reduce)
	one.set(t.config.Log, nil, t.handler(k))
	return one[0]
}

// Run watches until ctx ends, and returns when the informers have.
func (t *Targets) Run(ctx context.Context) { t.served.Run(ctx) }

// Unsynced names the kinds that are there and have not been read yet.
func (t *Targets) Unsynced() []string { return t.served.Unsynced() }

// HasSynced says whether all kinds that are known to be there have been read once.
func (t *Targets) HasSynced() bool { return t.served.HasSynced() }

// Complete says whether of every kind it is known whether it is there, and all that
// is there has been read: only then is it known who uses a page set.
func (t *Targets) Complete() bool { return t.served.Complete() }

// reduce keeps of a target what the watch is for: with 50,000 targets this is
// most of the memory. Originals are only ever read from the API server.
func (t *Targets) reduce(object any) (any, error) {
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
		if own || !t.config.Keys.Keeps(key) { // an object of our own is never a target
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

func (t *Targets) indexers() cache.Indexers {
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
			if !ok || !t.config.Keys.Concerns(m.Annotations) {
				return nil, nil
			}
			return []string{concerned}, nil
		},
	}
}

// handler tells targets of which something changed that matters (load balancers
// write status all day: that is not such a thing), and the page set of a target
// that is seen to have left it: until then the set counted it.
func (t *Targets) handler(k target.Kind) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { t.tell(k, object) },
		UpdateFunc: func(old, now any) {
			before, ok1 := old.(*metav1.PartialObjectMetadata)
			after, ok2 := now.(*metav1.PartialObjectMetadata)
			if !ok1 || !ok2 || !changed(before, after) && !t.waits(after) {
				return
			}
			t.tell(k, before)
			t.tell(k, after)
			if before.Annotations[annotations.PageSet] != after.Annotations[annotations.PageSet] {
				t.tellSetOf(before)
			}
		},
		DeleteFunc: func(object any) {
			t.tell(k, object)
			t.tellSetOf(object)
		},
	}
}

func (t *Targets) tell(k target.Kind, object any) {
	if m, ok := seen[*metav1.PartialObjectMetadata](object); ok && t.config.Keys.Concerns(m.Annotations) {
		t.config.Target(refOf(k.Name, m))
	}
}

func (t *Targets) tellSetOf(object any) {
	if m, ok := seen[*metav1.PartialObjectMetadata](object); ok {
		if id, named := setNamed(m); named {
			t.config.Set(id)
		}
	}
}

func refOf(kind string, m *metav1.PartialObjectMetadata) target.Ref {
	return target.Ref{Kind: kind, Namespace: m.Namespace, Name: m.Name}
}

// waits says whether the target asks for something that it does not have: any
// change of it may be what it waits for.
func (t *Targets) waits(m *metav1.PartialObjectMetadata) bool {
	if m.Annotations[annotations.State] == annotations.Active {
		return false
	}
	req, _ := t.config.Keys.Parse(m.Annotations)
	auto := wanted.Automatic{Kept: wanted.ParseSpell(m.Annotations[annotations.Cause])}
	return wanted.Decide(req, wanted.Facts{Begun: wanted.Begun(m.Annotations, false), Auto: auto}, t.config.Clock.Now()).On
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

// Users gives the targets whose annotation names the set.
func (t *Targets) Users(id pageset.ID) []target.Ref {
	var users []target.Ref
	t.each(byPageSet, id.String(), func(ref target.Ref, _ map[string]string) { users = append(users, ref) })
	return users
}

// Concerned calls f for every target that has any annotation of ours, with those.
func (t *Targets) Concerned(f func(ref target.Ref, annotations map[string]string)) {
	t.each(concerned, concerned, f)
}

func (t *Targets) each(index, value string, f func(target.Ref, map[string]string)) {
	t.served.Each(index, value, func(kind string, object any) {
		if m, ok := object.(*metav1.PartialObjectMetadata); ok {
			f(refOf(kind, m), m.Annotations)
		}
	})
}
