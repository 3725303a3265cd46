package cli

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// scope is what is watched: the objects of a kind in a namespace, or in all namespaces if it
// is empty, and only one of them if a name is given.
type scope struct {
	kind                      target.Kind
	namespace, name, selector string
}

// update is a target as it was just seen: its metadata, or nil if it was deleted. If scope is
// set, it says instead that all existing targets of the scope have been seen, or with err
// that they cannot be watched.
type update struct {
	ref   target.Ref
	kind  target.Kind
	meta  *metav1.PartialObjectMetadata
	scope *scope
	err   error
}

// row of the target, from its metadata. It has no hosts, since these are not in metadata.
func (u update) row(keys annotations.Keys) (view.Row, bool) {
	object := unstructured.Unstructured{Object: map[string]any{}}
	object.SetNamespace(u.meta.Namespace)
	object.SetName(u.meta.Name)
	object.SetAnnotations(u.meta.Annotations)
	object.SetLabels(u.meta.Labels)
	return view.Of(u.kind, keys, object.Object)
}

// follow sends what exists in the scopes, and what changes, until ctx ends. Then it closes
// the channel.
func (s *session) follow(ctx context.Context, scopes []scope) <-chan update {
	out := make(chan update)
	var all sync.WaitGroup
	for i := range scopes {
		all.Go(func() { s.followOne(ctx, &scopes[i], out) })
	}
	go func() {
		all.Wait()
		close(out)
	}()
	return out
}

func (s *session) followOne(ctx context.Context, of *scope, out chan<- update) {
	send := func(u update) {
		select {
		case out <- u:
		case <-ctx.Done():
		}
	}
	observe := func(object any, deleted bool) {
		if late, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = late.Obj
		}
		if meta, ok := object.(*metav1.PartialObjectMetadata); ok {
			u := update{ref: target.Ref{Kind: of.kind.Name, Namespace: meta.Namespace, Name: meta.Name}, kind: of.kind, meta: meta}
			if deleted {
				u.meta = nil
			}
			send(u)
		}
	}
	informer := metadatainformer.NewFilteredMetadataInformer(s.metadata, of.kind.Resource, of.namespace, 0, cache.Indexers{}, of.options).Informer()
	handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { observe(object, false) },
		UpdateFunc: func(_, object any) { observe(object, false) },
		DeleteFunc: func(object any) { observe(object, true) },
	})
	if err == nil {
		err = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			send(update{kind: of.kind, scope: of, err: s.asServed(of.kind, err)})
		})
	}
	if err != nil {
		send(update{kind: of.kind, scope: of, err: err})
		return
	}
	var syncing sync.WaitGroup
	syncing.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
			send(update{kind: of.kind, scope: of})
		}
	})
	informer.RunWithContext(ctx)
	syncing.Wait() // the channel is closed after this
}

// options of the scope's requests. The first list must not come from the API server's cache,
// which may be older than a change that was just made.
func (c *scope) options(o *metav1.ListOptions) {
	if o.ResourceVersion == "0" {
		o.ResourceVersion = ""
	}
	o.LabelSelector = c.selector
	if c.name != "" {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", c.name).String()
	}
}

// isPermanent says whether a watch cannot succeed after this error. All other errors are
// retried.
func isPermanent(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || notServed(err)
}

// scopesOf returns the scopes for these targets: a single target by its name, and the whole
// kind in a namespace if there are several.
func scopesOf(all []found) (scopes []scope) {
	type place struct{ kind, namespace string }
	at := map[place]int{}
	for _, f := range all {
		ref := f.ref()
		p := place{ref.Kind, ref.Namespace}
		if i, ok := at[p]; ok {
			scopes[i].name = ""
			continue
		}
		at[p] = len(scopes)
		scopes = append(scopes, scope{kind: f.kind, namespace: ref.Namespace, name: ref.Name})
	}
	return scopes
}

// after is like time.After, but it never fires if d is not positive.
func after(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}
