// Package revisions shows a test every revision of the objects that it judges.
package revisions

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Config says what to follow.
type Config struct {
	Client    dynamic.Interface
	Resource  schema.GroupVersionResource
	Namespace string
	// Look is called for each revision, one at a time and in their order. The last
	// revision of an object that was deleted has the version of the deletion.
	Look func(watch.EventType, *unstructured.Unstructured)
	// Missed is called when the API server has forgotten where the stream was: it
	// begins anew, and revisions that came in between are not seen.
	Missed func(error)
}

// Stream is the revisions of the objects of one resource in one namespace.
type Stream struct {
	Config
	resource dynamic.ResourceInterface
	cancel   context.CancelFunc
	ended    chan struct{}

	mu    sync.Mutex
	there map[string]*unstructured.Unstructured // by name
	seen  uint64                                // the newest version
	moved chan struct{}                         // closed and replaced at each revision
}

// Follow shows the objects that are there, and then each revision, whatever happens
// to the connection, until ctx ends or Stop is called.
func Follow(ctx context.Context, c Config) (*Stream, error) {
	s := &Stream{Config: c, resource: c.Client.Resource(c.Resource).Namespace(c.Namespace), ended: make(chan struct{}),
		there: map[string]*unstructured.Unstructured{}, moved: make(chan struct{})}
	ctx, s.cancel = context.WithCancel(ctx)
	version, err := s.list(ctx)
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("begin to follow %s: %w", c.Resource.Resource, err)
	}
	go func() {
		defer close(s.ended)
		for ctx.Err() == nil {
			if err := s.watch(ctx, version); err != nil {
				s.Missed(fmt.Errorf("not every revision of %s was seen: %w", c.Resource.Resource, err))
				version = s.again(ctx)
			}
		}
	}()
	return s, nil
}

// Stop ends the stream. When it returns, nothing is looked at any more.
func (s *Stream) Stop() {
	s.cancel()
	<-s.ended
}

// list shows what has come, changed or gone since the stream last looked.
func (s *Stream) list(ctx context.Context) (version string, err error) {
	list, err := s.resource.List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	here := map[string]bool{}
	for i := range list.Items {
		u := &list.Items[i]
		here[u.GetName()] = true
		if known := s.there[u.GetName()]; known == nil || Version(known) != Version(u) {
			s.see(watch.Added, u)
		}
	}
	for name, u := range s.there {
		if !here[name] {
			gone := u.DeepCopy()
			gone.SetResourceVersion(list.GetResourceVersion())
			s.see(watch.Deleted, gone)
		}
	}
	return list.GetResourceVersion(), nil
}

// again lists until that works.
func (s *Stream) again(ctx context.Context) (version string) {
	const pause = 100 * time.Millisecond
	for {
		version, err := s.list(ctx)
		if err == nil || ctx.Err() != nil {
			return version
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// watch shows what comes from a version on. Its error says why it cannot go on.
func (s *Stream) watch(ctx context.Context, version string) error {
	stream, err := watchtools.NewRetryWatcherWithContext(ctx, version, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return s.resource.Watch(ctx, o)
		},
	})
	if err != nil {
		return err
	}
	for e := range stream.ResultChan() {
		u, ok := e.Object.(*unstructured.Unstructured)
		if !ok {
			err = errors.Join(err, apierrors.FromObject(e.Object))
			continue
		}
		s.see(e.Type, u)
	}
	return err
}

func (s *Stream) see(e watch.EventType, u *unstructured.Unstructured) {
	s.Look(e, u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.there[u.GetName()] = u; e == watch.Deleted {
		delete(s.there, u.GetName())
	}
	s.seen = max(s.seen, Version(u))
	close(s.moved)
	s.moved = make(chan struct{})
}

// CatchUp returns when everything has been looked at that was written before it was
// called. It is judged by what is there: an object that came and went unseen in the
// moments before the call, with nothing written to others since, would be missed.
func (s *Stream) CatchUp(ctx context.Context) error {
	list, err := s.resource.List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) { // a kind that is served no more has no objects
		list, err = &unstructured.UnstructuredList{}, nil
		list.SetResourceVersion(strconv.FormatUint(math.MaxUint64, 10))
	}
	if err != nil {
		return fmt.Errorf("catch up with %s: %w", s.Resource.Resource, err)
	}
	for {
		s.mu.Lock()
		behind, moved := s.behind(list), s.moved
		s.mu.Unlock()
		if behind == "" {
			return nil
		}
		select {
		case <-moved:
		case <-s.ended:
			return fmt.Errorf("catch up with %s: the stream has ended before %s", s.Resource.Resource, behind)
		case <-ctx.Done():
			return fmt.Errorf("catch up with %s: %s: %w", s.Resource.Resource, behind, ctx.Err())
		}
	}
}

// behind says what of a list has not been seen yet; empty if all has.
func (s *Stream) behind(list *unstructured.UnstructuredList) string {
	listed := map[string]bool{}
	for i := range list.Items {
		u := &list.Items[i]
		listed[u.GetName()] = true
		if at := Version(u); at > s.seen {
			return fmt.Sprintf("%s at %d", u.GetName(), at)
		}
	}
	for name, u := range s.there {
		if !listed[name] && Version(u) <= Version(list) {
			return "the end of " + name
		}
	}
	return ""
}

// Version of an object, or of a list: those of one API server are in the order of its writes
// (KEP 5504).
func Version(of interface{ GetResourceVersion() string }) uint64 {
	n, err := strconv.ParseUint(of.GetResourceVersion(), 10, 64)
	if err != nil {
		panic(err) // the API server's own
	}
	return n
}
