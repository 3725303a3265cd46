package apiserver

import (
	"context"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"maintenance-controller.io/e2e/revisions"
	"maintenance-controller.io/e2e/soundness"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/target"
)

func isConflict(err error) bool { return apierrors.IsConflict(err) }

// watchSoundness reads every revision of every target of the world until the test
// ends, and judges them then: none is on a page without its originals.
func (w *world) watchSoundness(kinds []target.Kind) {
	w.Helper()
	var err error
	w.sound, err = soundness.Watch(w.dynamic, w.namespace, w.missed, kinds...)
	require.NoError(w, err)
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(w, w.sound.End(ctx))
		judged, wrong := w.sound.Judge()
		for _, what := range wrong {
			w.Error(what)
		}
		assert.True(w, judged > 0 || !w.hasTargets, "there were targets, and no revision of any was seen")
		tally.Tell(w.T, "revisions judged", int64(judged))
		tally.Tell(w.T, "revisions not sound", int64(len(wrong)))
	})
}

// missed says that a stream of revisions has a gap: an error, but where the test
// takes the API server away.
func (w *world) missed(err error) {
	if w.restarts.Load() {
		w.Logf("begins anew: %v", err)
		return
	}
	w.Error(err)
}

// loses says that the test takes all copies of the originals of a target away by
// itself, from now on.
func (w *world) loses(ref target.Ref) {
	w.Helper()
	list, err := w.dynamic.Resource(configMaps).Namespace(w.namespace).List(w.Context(), metav1.ListOptions{Limit: 1})
	require.NoError(w, err)
	w.sound.Loses(ref, revisions.Version(list))
}

// everyRevision calls look, one at a time, for every revision of every object of a
// resource from now on, whatever happens to the connection, until ctx ends. Not to
// be able to is an error of the test.
func (w *world) everyRevision(ctx context.Context, gvr schemaGVR, look func(watch.EventType, *unstructured.Unstructured)) *revisions.Stream {
	w.Helper()
	s, err := revisions.Follow(ctx, revisions.Config{Client: w.dynamic, Resource: gvr, Namespace: w.namespace, Look: look, Missed: w.missed})
	require.NoError(w, err)
	return s
}
