package watch

import (
	"context"
	"hash/fnv"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// Indexes of the targets' watches.
const (
	byPageSet = "page-set"  // namespace/name of the page set that the annotation names
	annotated = "annotated" // targets that carry any annotation of ours
)

// TargetsConfig configures Targets. All fields are required.
type TargetsConfig struct {
	KindsConfig
	// OnTarget and OnSet are called with each target and each page set that a change concerns. They
	// must only enqueue.
	OnTarget func(target.Ref)
	OnSet    func(pageset.ID)
}

// Targets watches the metadata of targets.
type Targets struct {
	config TargetsConfig
	served *Served
}

// NewTargets returns a watch that has not started.
func NewTargets(c TargetsConfig) *Targets {
	t := &Targets{config: c}
	t.served = c.watch(rules{indexers: t.indexers(), reduce: t.reduce, handler: t.handler})
	return t
}

// Run watches until ctx ends, and returns when its informers have stopped.
func (t *Targets) Run(ctx context.Context) { t.served.Run(ctx) }

// Unsynced names the served kinds that have not been read yet, sorted.
func (t *Targets) Unsynced() []string { return t.served.Unsynced() }

// HasSynced reports whether all kinds that are known to be served have been read once.
func (t *Targets) HasSynced() bool { return t.served.HasSynced() }

// Complete reports whether it is known of every kind whether it is served, and all served kinds have
// been read: only then are all users of a page set known.
func (t *Targets) Complete() bool { return t.served.Complete() }

// reduce keeps only the fields that the controller needs: with 50,000 targets they are most of its
// memory. Originals are only ever read from the API server.
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
		if own || !t.config.Keys.Relevant(key) { // our own objects are never targets
			continue
		}
		if out.Annotations == nil {
			out.Annotations = map[string]string{}
		}
		if key == annotations.Original {
			value = digest(value) // enough to notice that somebody overwrote it
		}
		out.Annotations[key] = value
	}
	return out, nil
}

func digest(text string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // Write never fails
	return strconv.FormatUint(h.Sum64(), 36)
}

// setNamed returns the page set that a target's annotation names; false if the value does not have
// the shape of a page set's name.
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
		annotated: func(object any) ([]string, error) {
			m, ok := object.(*metav1.PartialObjectMetadata)
			if !ok || !t.config.Keys.AnyRelevant(m.Annotations) {
				return nil, nil
			}
			return []string{annotated}, nil
		},
	}
}

// handler notifies targets of relevant changes (load balancers update status all day, which is not
// relevant), and the page set of a target that has left it: until then the set counted the target as
// a user.
func (t *Targets) handler(k target.Kind) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { t.queueTarget(k, object) },
		UpdateFunc: func(old, now any) {
			before, ok1 := old.(*metav1.PartialObjectMetadata)
			after, ok2 := now.(*metav1.PartialObjectMetadata)
			if !ok1 || !ok2 || !changed(before, after) && !t.isWaiting(after) {
				return
			}
			t.queueTarget(k, before)
			t.queueTarget(k, after)
			if before.Annotations[annotations.PageSet] != after.Annotations[annotations.PageSet] {
				t.queueSetOf(before)
			}
		},
		DeleteFunc: func(object any) {
			t.queueTarget(k, object)
			t.queueSetOf(object)
		},
	}
}

func (t *Targets) queueTarget(k target.Kind, object any) {
	if m, ok := eventObject[*metav1.PartialObjectMetadata](object); ok && t.config.Keys.AnyRelevant(m.Annotations) {
		t.config.OnTarget(refOf(k.Name, m))
	}
}

func (t *Targets) queueSetOf(object any) {
	if m, ok := eventObject[*metav1.PartialObjectMetadata](object); ok {
		if id, named := setNamed(m); named {
			t.config.OnSet(id)
		}
	}
}

// isWaiting reports whether the target wants maintenance but is not active yet: any change of it may
// be what it waits for.
func (t *Targets) isWaiting(m *metav1.PartialObjectMetadata) bool {
	if m.Annotations[annotations.State] == annotations.Active {
		return false
	}
	req, _ := t.config.Keys.Parse(m.Annotations)
	auto := wanted.Automatic{Kept: wanted.ParseEpisode(m.Annotations[annotations.Cause])}
	return wanted.Decide(req, wanted.Facts{Begun: wanted.Begun(m.Annotations, false), Auto: auto}, t.config.Clock.Now()).On
}

// Users lists the targets whose annotation names the page set.
func (t *Targets) Users(id pageset.ID) []target.Ref {
	var users []target.Ref
	t.each(byPageSet, id.String(), func(ref target.Ref, _ map[string]string) { users = append(users, ref) })
	return users
}

// EachAnnotated calls f for every target that carries any annotation of ours, with those
// annotations.
func (t *Targets) EachAnnotated(f func(ref target.Ref, annotations map[string]string)) {
	t.each(annotated, annotated, f)
}

func (t *Targets) each(index, value string, f func(target.Ref, map[string]string)) {
	t.served.Each(index, value, func(kind string, object any) {
		if m, ok := object.(*metav1.PartialObjectMetadata); ok {
			f(refOf(kind, m), m.Annotations)
		}
	})
}
