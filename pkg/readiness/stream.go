package readiness

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

const (
	// brokenGrace is how long a watch may be broken before its state counts as unknown. The API
	// server ends each watch after some minutes; the next one normally starts at once.
	brokenGrace = 5 * time.Second
	// minQuietAge is how long a watch that has shown nothing must have lasted to count. A watch from
	// a version that the API server no longer knows ends at once.
	minQuietAge = time.Second
)

// stream tracks whether the content of an informer is current: client-go reports only failures, and
// not all of them.
type stream struct {
	clock clock.WithDelayedExecution
	// changed is called when the result of current may have changed, now or because time has passed.
	changed func()

	mu           sync.Mutex
	open         bool
	opens        int       // number of watches opened so far: the next one may begin before the end of the last is noticed
	complete     bool      // the open watch has shown all objects, or continues a known state
	begun        time.Time // start of the open watch
	listed       bool      // a list was read, and the next watch continues from it
	sendsInitial bool      // the open watch shows all objects first, and marks when it has
	lastCurrent  time.Time // when the informer was last known to be current
	err          error     // why it is not, if the API server gave a reason
}

// follow returns a ListWatch that reports to s.
func (s *stream) follow(lw *cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContextFunc(ctx, o)
			s.listRead(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			inner, err := lw.WatchFuncWithContext(ctx, o)
			if err != nil {
				s.failed(err)
				return nil, err
			}
			return s.pass(inner, s.opened(o.SendInitialEvents != nil && *o.SendInitialEvents)), nil
		},
	}
}

// pass forwards events, and notices when they end.
func (s *stream) pass(inner watch.Interface, which int) watch.Interface {
	out := make(chan watch.Event)
	outer := watch.NewProxyWatcher(out)
	go func() {
		defer s.closed(which)
		defer close(out)
		defer inner.Stop()
		for {
			select {
			case <-outer.StopChan():
				return
			case e, ok := <-inner.ResultChan():
				if !ok {
					return
				}
				select {
				case <-outer.StopChan():
					return
				case out <- e:
					s.received(e)
				}
			}
		}
	}()
	return outer
}

func (s *stream) listRead(err error) {
	if err != nil {
		s.failed(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = true
}

func (s *stream) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *stream) opened(asks bool) (which int) {
	s.mu.Lock()
	s.opens++
	which = s.opens
	s.open, s.begun, s.sendsInitial = true, s.clock.Now(), asks
	s.complete, s.listed = s.listed && !asks, false
	waits := !s.complete && !asks
	s.mu.Unlock()
	s.changed()
	if waits {
		s.clock.AfterFunc(minQuietAge, s.changed)
	}
	return which
}

func (s *stream) received(e watch.Event) {
	s.mu.Lock()
	before := s.complete
	switch {
	case e.Type == watch.Error:
	case !s.sendsInitial || allShown(e):
		s.complete, s.err = true, nil
	}
	now := s.complete
	s.mu.Unlock()
	if now != before {
		s.changed()
	}
}

// allShown reports whether the event marks the end of the initial objects.
func allShown(e watch.Event) bool {
	if e.Type != watch.Bookmark {
		return false
	}
	m, err := meta.Accessor(e.Object)
	return err == nil && m.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}

// closed is called at the end of a watch. Only the end of the latest one ends the stream.
func (s *stream) closed(which int) {
	s.mu.Lock()
	if which != s.opens {
		s.mu.Unlock()
		return
	}
	now := s.clock.Now()
	if s.live(now) {
		s.lastCurrent = now
	}
	s.open = false
	s.mu.Unlock()
	s.clock.AfterFunc(brokenGrace, s.changed)
}

func (s *stream) live(now time.Time) bool {
	return s.open && (s.complete || !s.sendsInitial && now.Sub(s.begun) >= minQuietAge)
}

// current reports whether the content of the informer is current, and if not, why, as far as the API
// server gave a reason.
func (s *stream) current() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if s.live(now) || !s.lastCurrent.IsZero() && now.Sub(s.lastCurrent) < brokenGrace {
		return true, nil
	}
	return false, s.err
}
