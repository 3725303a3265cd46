package apiserver

import (
	"context"
	"fmt"
	"sync"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

func isConflict(err error) bool { return apierrors.IsConflict(err) }

// soundness reads every revision of every target of a world: invariant 2. A
// slot that points at a page set has its original in that same revision, or in
// a backup that was there before; no original is ever a page set.
type soundness struct {
	mu        sync.Mutex
	revisions int
	wrong     []string
	tolerate  bool // see strips
}

// strips says that the test takes annotations away by itself: that a target is
// without originals then is the test's doing.
func (s *soundness) strips() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tolerate = true
}

func watchSoundness(w *world) *soundness {
	s := &soundness{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, k := range target.Kinds() {
		w.everyRevision(ctx, &wg, k.Resource, func(e watch.EventType, u *unstructured.Unstructured) {
			if e != watch.Deleted {
				s.check(w, k, u)
			}
		})
	}
	w.Cleanup(func() {
		cancel()
		wg.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, wrong := range s.wrong {
			w.Error(wrong)
		}
	})
	return s
}

// everyRevision calls look, one at a time, for every revision of every object of a
// resource from now on, whatever happens to the connection, until ctx ends. Not to
// be able to is an error of the test.
func (w *world) everyRevision(ctx context.Context, wg *sync.WaitGroup, gvr schemaGVR, look func(watch.EventType, *unstructured.Unstructured)) {
	w.Helper()
	resource := w.dynamic.Resource(gvr).Namespace(w.namespace)
	list, err := resource.List(ctx, metav1.ListOptions{})
	require.NoError(w, err)
	for i := range list.Items {
		look(watch.Added, &list.Items[i])
	}
	stream, err := watchtools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	})
	require.NoError(w, err)
	wg.Go(func() {
		for e := range stream.ResultChan() {
			if u, ok := e.Object.(*unstructured.Unstructured); ok {
				look(e.Type, u)
			} else {
				w.Errorf("not every revision of %s was seen: %v", gvr.Resource, e.Object)
			}
		}
	})
}

func (s *soundness) check(w *world, k target.Kind, u *unstructured.Unstructured) {
	if u.GetLabels()[annotations.ManagedByLabel] == annotations.ManagedBy {
		return // our own Services are no targets
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revisions++
	slots, err := k.Slots(u.Object)
	if err != nil {
		s.wrong = append(s.wrong, err.Error())
		return
	}
	record, err := swap.ParseRecord(u.GetAnnotations()[annotations.Original])
	if err != nil && swap.OnPage(slots) && !s.tolerate {
		s.wrong = append(s.wrong, fmt.Sprintf("%s %s at %s is on a page set without originals: %v", k.Name, u.GetName(), u.GetResourceVersion(), err))
		return
	}
	if lost := swap.Back(slots, record).Lost; len(lost) > 0 && !s.tolerate {
		s.wrong = append(s.wrong, fmt.Sprintf("%s %s at %s: no original of %s", k.Name, u.GetName(), u.GetResourceVersion(), lost[0].ID))
	}
	for _, o := range record.Slots {
		if containsSet(string(o.Value)) {
			s.wrong = append(s.wrong, fmt.Sprintf("%s %s at %s: the original of %s is a page set", k.Name, u.GetName(), u.GetResourceVersion(), o.ID))
		}
	}
}

// containsSet looks for any word with the shape of a page set's name.
func containsSet(text string) bool {
	const length = len("maintenance-0123456789abcdef")
	for i := 0; i+length <= len(text); i++ {
		if page.IsSetName(text[i : i+length]) {
			return true
		}
	}
	return false
}
