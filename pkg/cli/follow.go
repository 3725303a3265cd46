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

// scope is what is followed: objects of a kind in a namespace, or in all if it is empty, one
// if it is named.
type scope struct {
	kind                      target.Kind
	namespace, name, selector string
}

// sighting is a target as it was just seen: its metadata, nil if it is gone. Where scope is
// set, all that was there at first has been seen, or err says why it cannot be.
type sighting struct {
	ref   target.Ref
	kind  target.Kind
	meta  *metav1.PartialObjectMetadata
	scope *scope
	err   error
}

// row of the target, from its metadata: its hosts are not in it.
func (g sighting) row(keys annotations.Keys) (view.Row, bool) {
	object := unstructured.Unstructured{Object: map[string]any{}}
	object.SetNamespace(g.meta.Namespace)
	object.SetName(g.meta.Name)
	object.SetAnnotations(g.meta.Annotations)
	object.SetLabels(g.meta.Labels)
	return view.Of(g.kind, keys, object.Object)
}

// follow tells what there is, and what changes, until ctx ends; then the channel is closed.
func (s *session) follow(ctx context.Context, scopes []scope) <-chan sighting {
	out := make(chan sighting)
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

func (s *session) followOne(ctx context.Context, of *scope, out chan<- sighting) {
	send := func(g sighting) {
		select {
		case out <- g:
		case <-ctx.Done():
		}
	}
	see := func(object any, gone bool) {
		if late, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = late.Obj
		}
		if meta, ok := object.(*metav1.PartialObjectMetadata); ok {
			g := sighting{ref: target.Ref{Kind: of.kind.Name, Namespace: meta.Namespace, Name: meta.Name}, kind: of.kind, meta: meta}
			if gone {
				g.meta = nil
			}
			send(g)
		}
	}
	informer := metadatainformer.NewFilteredMetadataInformer(s.metadata, of.kind.Resource, of.namespace, 0, cache.Indexers{}, of.options).Informer()
	handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { see(object, false) },
		UpdateFunc: func(_, object any) { see(object, false) },
		DeleteFunc: func(object any) { see(object, true) },
	})
	if err == nil {
		err = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			send(sighting{kind: of.kind, scope: of, err: s.asServed(of.kind, err)})
		})
	}
	if err != nil {
		send(sighting{kind: of.kind, scope: of, err: err})
		return
	}
	var telling sync.WaitGroup
	telling.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
			send(sighting{kind: of.kind, scope: of})
		}
	})
	informer.RunWithContext(ctx)
	telling.Wait() // the channel is closed after this
}

// options of its requests. What is asked first is not answered from a cache of the API
// server's, which may be of before a change that was just made.
func (c *scope) options(o *metav1.ListOptions) {
	if o.ResourceVersion == "0" {
		o.ResourceVersion = ""
	}
	o.LabelSelector = c.selector
	if c.name != "" {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", c.name).String()
	}
}

// lost says whether following cannot go on: what else fails is tried again.
func lost(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || notServed(err)
}

// scopesOf gives what to follow for these targets: each by its name, or the kind in the
// namespace where there are several.
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

// after gives a channel that tells when a time has passed, never for none.
func after(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}
