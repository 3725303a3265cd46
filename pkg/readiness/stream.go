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
	// grace is how long a watch may be broken before what it has shown is not known any
	// more. The API server ends each watch after some minutes; the next begins at once.
	grace = 5 * time.Second
	// settled is how long a watch must have lasted that has shown nothing. One that begins
	// where the API server does not know any more what has happened since ends at once.
	settled = time.Second
)

// stream knows whether what an informer holds is current: client-go tells only of
// failures, and not of all of them.
type stream struct {
	clock clock.WithDelayedExecution
	// changed is told when current may have changed, now or by the time passed.
	changed func()

	mu     sync.Mutex
	open   bool
	opens  int       // counts the watches that were opened: who reads one begins the next before all of its end is known
	full   bool      // the open watch has shown all there is, or what followed on what was known
	begun  time.Time // of the open watch
	listed bool      // a list was read, on which the next watch follows
	asks   bool      // the open watch shows everything first, and says when it has
	last   time.Time // when the informer was last known to be current
	err    error     // why it is not, if the API server said so
}

// follow gives a ListerWatcher that tells s how it goes.
func (s *stream) follow(lw *cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContextFunc(ctx, o)
			s.list(err)
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

// pass hands events on, and sees when they end.
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
					s.heard(e)
				}
			}
		}
	}()
	return outer
}

func (s *stream) list(err error) {
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
	s.open, s.begun, s.asks = true, s.clock.Now(), asks
	s.full, s.listed = s.listed && !asks, false
	waits := !s.full && !asks
	s.mu.Unlock()
	s.changed()
	if waits {
		s.clock.AfterFunc(settled, s.changed)
	}
	return which
}

func (s *stream) heard(e watch.Event) {
	s.mu.Lock()
	before := s.full
	switch {
	case e.Type == watch.Error:
	case !s.asks || allShown(e):
		s.full, s.err = true, nil
	}
	now := s.full
	s.mu.Unlock()
	if now != before {
		s.changed()
	}
}

// allShown says whether the event is the one after all that there was.
func allShown(e watch.Event) bool {
	if e.Type != watch.Bookmark {
		return false
	}
	m, err := meta.Accessor(e.Object)
	return err == nil && m.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}

// closed is told of the end of a watch, which is that of the stream if it is the last one.
func (s *stream) closed(which int) {
	s.mu.Lock()
	if which != s.opens {
		s.mu.Unlock()
		return
	}
	now := s.clock.Now()
	if s.live(now) {
		s.last = now
	}
	s.open = false
	s.mu.Unlock()
	s.clock.AfterFunc(grace, s.changed)
}

func (s *stream) live(now time.Time) bool {
	return s.open && (s.full || !s.asks && now.Sub(s.begun) >= settled)
}

// current says whether what the informer holds can be relied on, and if not, why, if
// the API server has said it.
func (s *stream) current() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if s.live(now) || !s.last.IsZero() && now.Sub(s.last) < grace {
		return true, nil
	}
	return false, s.err
}
