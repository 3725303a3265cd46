package soundness

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"maintenance-controller.io/e2e/revisions"
	"maintenance-controller.io/pkg/target"
)

// Watcher records everything that happens in a namespace.
type Watcher struct {
	*Recorder
	config  revisions.Config
	streams []*revisions.Stream
}

// Watch starts to record the revisions of backups and of targets of these kinds, until
// Finish. missed is called when revisions were missed.
func Watch(client dynamic.Interface, namespace string, missed func(error), kinds ...target.Kind) (*Watcher, error) {
	w := &Watcher{Recorder: NewRecorder(), config: revisions.Config{Client: client, Namespace: namespace, OnGap: missed}}
	c := w.config
	c.Resource, c.OnRevision = corev1.SchemeGroupVersion.WithResource("configmaps"), w.ConfigMap
	if err := w.follow(c); err != nil {
		return nil, err
	}
	for _, k := range kinds {
		if err := w.Follow(k); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Follow records one more kind: one that is not served yet when Watch is called.
func (w *Watcher) Follow(k target.Kind) error {
	c := w.config
	c.Resource = k.Resource
	c.OnRevision = func(e watch.EventType, u *unstructured.Unstructured) {
		if e != watch.Deleted {
			w.Target(k, u)
		}
	}
	return w.follow(c)
}

func (w *Watcher) follow(c revisions.Config) error {
	s, err := revisions.Follow(context.Background(), c) // stop ends it
	if err != nil {
		w.stop()
		return err
	}
	w.streams = append(w.streams, s)
	return nil
}

// Finish stops recording once everything that was written before the call has been read.
// Its error says that ctx ended before that.
func (w *Watcher) Finish(ctx context.Context) error {
	var all []error
	for _, s := range w.streams {
		all = append(all, s.CatchUp(ctx))
	}
	w.stop()
	return errors.Join(all...)
}

func (w *Watcher) stop() {
	for _, s := range w.streams {
		s.Stop()
	}
}
