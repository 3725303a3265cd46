package apiserver

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

func isConflict(err error) bool { return apierrors.IsConflict(err) }

// soundness reads every revision of every target of a world, and of the backups.
// A slot that points at a page set has its original in that same
// revision, or in a backup that was there before; no original is ever a page set.
type soundness struct {
	mu        sync.Mutex
	revisions int
	wrong     []string
	suspects  []suspect
	backups   map[target.Ref][]backupRevision // in their order
	caughtUp  chan struct{}
	tolerate  bool // see loses
}

// suspect is a revision that is sound only if a backup has what it has not.
type suspect struct {
	ref    target.Ref
	at     uint64
	slots  []swap.Slot
	record swap.Record
	what   string
}

type backupRevision struct {
	at     uint64
	record swap.Record // empty from its deletion on
}

// loses says that the test takes all copies of the originals away by itself: that
// a target is without them then is the test's doing.
func (s *soundness) loses() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tolerate = true
}

// caughtUpName is of a ConfigMap that comes after all backups of a test.
const caughtUpName = "all-backups-seen"

func watchSoundness(w *world) *soundness {
	s := &soundness{backups: map[target.Ref][]backupRevision{}, caughtUp: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, k := range target.Kinds() {
		w.everyRevision(ctx, &wg, k.Resource, func(e watch.EventType, u *unstructured.Unstructured) {
			if e != watch.Deleted {
				s.check(k, u)
			}
		})
	}
	w.everyRevision(ctx, &wg, configMaps, s.remember)
	w.Cleanup(func() {
		s.catchUp(w)
		cancel()
		wg.Wait()
		wrong := s.judge()
		for _, what := range wrong {
			w.Error(what)
		}
		result(w.T, "revisions judged", int64(s.revisions))
		result(w.T, "revisions not sound", int64(len(wrong)))
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

// catchUp waits until all backups that matter have been seen.
func (s *soundness) catchUp(w *world) {
	s.mu.Lock()
	suspects := len(s.suspects)
	s.mu.Unlock()
	if suspects == 0 {
		return
	}
	last := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: caughtUpName, Labels: map[string]string{annotations.ComponentLabel: annotations.ComponentBackup}}}
	if _, err := w.client.CoreV1().ConfigMaps(w.namespace).Create(context.Background(), last, metav1.CreateOptions{}); err != nil {
		w.Logf("the backups may not all have been seen: %v", err) // the namespace is gone
		return
	}
	select {
	case <-s.caughtUp:
	case <-after(patience):
		w.Error("the backups were not seen in time")
	}
}

func (s *soundness) remember(e watch.EventType, u *unstructured.Unstructured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.GetLabels()[annotations.ComponentLabel] != annotations.ComponentBackup {
		return
	}
	if u.GetName() == caughtUpName {
		if e == watch.Added {
			close(s.caughtUp)
		}
		return
	}
	cm := &corev1.ConfigMap{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, cm); err != nil {
		s.wrong = append(s.wrong, err.Error())
		return
	}
	ref, b, _ := backup.Parse(cm) // one that cannot be read is none
	if e == watch.Deleted {
		b.Record = swap.Record{}
	}
	s.backups[ref] = append(s.backups[ref], backupRevision{at: version(u), record: b.Record})
}

// version of an object: those of one API server are in order.
func version(u *unstructured.Unstructured) uint64 {
	n, err := strconv.ParseUint(u.GetResourceVersion(), 10, 64)
	if err != nil {
		panic(err) // the API server's own
	}
	return n
}

func (s *soundness) check(k target.Kind, u *unstructured.Unstructured) {
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
	if lost := swap.Back(slots, record).Lost; err != nil && swap.OnPage(slots) || len(lost) > 0 {
		s.suspects = append(s.suspects, suspect{
			ref: target.Ref{Kind: k.Name, Namespace: u.GetNamespace(), Name: u.GetName()}, at: version(u), slots: slots, record: record,
			what: fmt.Sprintf("%s %s at %s is on a page set without originals (%v)", k.Name, u.GetName(), u.GetResourceVersion(), err),
		})
	}
	for _, o := range record.Slots {
		if containsSet(string(o.Value)) {
			s.wrong = append(s.wrong, fmt.Sprintf("%s %s at %s: the original of %s is a page set", k.Name, u.GetName(), u.GetResourceVersion(), o.ID))
		}
	}
}

// judge gives what was wrong.
func (s *soundness) judge() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	wrong := s.wrong
	for _, x := range s.suspects {
		record := x.record
		for _, b := range s.backups[x.ref] {
			if b.at < x.at {
				record = x.record.FillGaps(b.record)
			}
		}
		if len(swap.Back(x.slots, record).Lost) > 0 && !s.tolerate {
			wrong = append(wrong, x.what)
		}
	}
	return wrong
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
