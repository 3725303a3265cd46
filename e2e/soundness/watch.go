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

// Watcher writes a Book of all that happens in a namespace.
type Watcher struct {
	*Book
	config  revisions.Config
	streams []*revisions.Stream
}

// Watch begins to read the revisions of backups and of targets of these kinds. missed
// is called when some could not be read. It goes on until End.
func Watch(client dynamic.Interface, namespace string, missed func(error), kinds ...target.Kind) (*Watcher, error) {
	w := &Watcher{Book: NewBook(), config: revisions.Config{Client: client, Namespace: namespace, Missed: missed}}
	c := w.config
	c.Resource, c.Look = corev1.SchemeGroupVersion.WithResource("configmaps"), w.ConfigMap
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

// Follow reads the revisions of one more kind: for one that is not served when Watch
// is called.
func (w *Watcher) Follow(k target.Kind) error {
	c := w.config
	c.Resource = k.Resource
	c.Look = func(e watch.EventType, u *unstructured.Unstructured) {
		if e != watch.Deleted {
			w.Target(k, u)
		}
	}
	return w.follow(c)
}

func (w *Watcher) follow(c revisions.Config) error {
	s, err := revisions.Follow(context.Background(), c) // until stop
	if err != nil {
		w.stop()
		return err
	}
	w.streams = append(w.streams, s)
	return nil
}

// End returns once all has been read that was written before it was called: then it
// is to be judged. Its error says that not all could be read until ctx ended.
func (w *Watcher) End(ctx context.Context) error {
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
