// Package revisions shows a test every revision of the objects that it checks.
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
	// OnRevision is called for each revision, one at a time and in order. The last
	// revision of a deleted object has the version of the deletion.
	OnRevision func(watch.EventType, *unstructured.Unstructured)
	// OnGap is called when the API server no longer has the version at which the stream
	// was: the stream starts again, and misses the revisions in between.
	OnGap func(error)
}

// Stream shows the revisions of the objects of one resource in one namespace.
type Stream struct {
	Config
	resource dynamic.ResourceInterface
	cancel   context.CancelFunc
	ended    chan struct{}

	mu      sync.Mutex
	current map[string]*unstructured.Unstructured // by name
	newest  uint64                                // version that was seen
	moved   chan struct{}                         // closed and replaced at each revision
}

// Follow shows the existing objects and then each revision, until ctx ends or Stop is
// called. It reconnects when the connection breaks.
func Follow(ctx context.Context, c Config) (*Stream, error) {
	s := &Stream{Config: c, resource: c.Client.Resource(c.Resource).Namespace(c.Namespace), ended: make(chan struct{}),
		current: map[string]*unstructured.Unstructured{}, moved: make(chan struct{})}
	ctx, s.cancel = context.WithCancel(ctx)
	version, err := s.list(ctx)
	if err != nil {
		s.cancel()
		return nil, fmt.Errorf("follow %s: %w", c.Resource.Resource, err)
	}
	go func() {
		defer close(s.ended)
		for ctx.Err() == nil {
			if err := s.watch(ctx, version); err != nil {
				s.OnGap(fmt.Errorf("revisions of %s were missed: %w", c.Resource.Resource, err))
				version = s.listUntilItWorks(ctx)
			}
		}
	}()
	return s, nil
}

// Stop ends the stream. OnRevision is not called after it has returned.
func (s *Stream) Stop() {
	s.cancel()
	<-s.ended
}

// list shows what was created, changed or deleted since the last revision.
func (s *Stream) list(ctx context.Context) (version string, err error) {
	list, err := s.resource.List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	here := map[string]bool{}
	for i := range list.Items {
		u := &list.Items[i]
		here[u.GetName()] = true
		if known := s.current[u.GetName()]; known == nil || Version(known) != Version(u) {
			s.handle(watch.Added, u)
		}
	}
	for name, u := range s.current {
		if !here[name] {
			gone := u.DeepCopy()
			gone.SetResourceVersion(list.GetResourceVersion())
			s.handle(watch.Deleted, gone)
		}
	}
	return list.GetResourceVersion(), nil
}

// listUntilItWorks retries list until it works or ctx ends.
func (s *Stream) listUntilItWorks(ctx context.Context) (version string) {
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

// watch shows the revisions after a version. Its error says why it cannot go on.
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
		s.handle(e.Type, u)
	}
	return err
}

func (s *Stream) handle(e watch.EventType, u *unstructured.Unstructured) {
	s.OnRevision(e, u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current[u.GetName()] = u; e == watch.Deleted {
		delete(s.current, u.GetName())
	}
	s.newest = max(s.newest, Version(u))
	close(s.moved)
	s.moved = make(chan struct{})
}

// CatchUp returns when everything that was written before the call has been shown. It
// compares with the objects that exist: it does not wait for an object that was created
// and deleted just before the call, if no other object was written since.
func (s *Stream) CatchUp(ctx context.Context) error {
	list, err := s.resource.List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) { // a kind that is no longer served has no objects
		list, err = &unstructured.UnstructuredList{}, nil
		list.SetResourceVersion(strconv.FormatUint(math.MaxUint64, 10))
	}
	if err != nil {
		return fmt.Errorf("catch up with %s: %w", s.Resource.Resource, err)
	}
	for {
		s.mu.Lock()
		behind, moved := s.notSeenYet(list), s.moved
		s.mu.Unlock()
		if behind == "" {
			return nil
		}
		select {
		case <-moved:
		case <-s.ended:
			return fmt.Errorf("catch up with %s: the stream ended before %s", s.Resource.Resource, behind)
		case <-ctx.Done():
			return fmt.Errorf("catch up with %s: %s: %w", s.Resource.Resource, behind, ctx.Err())
		}
	}
}

// notSeenYet names something in a list that was not shown yet; empty if everything was.
func (s *Stream) notSeenYet(list *unstructured.UnstructuredList) string {
	listed := map[string]bool{}
	for i := range list.Items {
		u := &list.Items[i]
		listed[u.GetName()] = true
		if at := Version(u); at > s.newest {
			return fmt.Sprintf("%s at %d", u.GetName(), at)
		}
	}
	for name, u := range s.current {
		if !listed[name] && Version(u) <= Version(list) {
			return "the deletion of " + name
		}
	}
	return ""
}

// Version is the resourceVersion of an object or a list as a number. Those of one API
// server are in the order of its writes (KEP 5504).
func Version(of interface{ GetResourceVersion() string }) uint64 {
	n, err := strconv.ParseUint(of.GetResourceVersion(), 10, 64)
	if err != nil {
		panic(err) // the API server sets it
	}
	return n
}
