package node

import (
	"context"
	"flag"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/image"
	"maintenance-controller.io/e2e/mutant"
)

// long asks for the long forms of the tests that have one; `make soak` does.
var long = flag.Bool("long", false, "run TestNoHoleUnderLoad at length: maintenance on and off 50 times, the page changed 20 times")

// result prints what a test has counted, as name=number, for `make soak` to add up.
func result(t *testing.T, name string, count int) {
	t.Helper()
	t.Logf("result: %s=%d", strings.ReplaceAll(name, " ", "-"), count)
}

// TestNoHoleUnderLoad switches an Ingress, an IngressRoute and a Service under a
// steady load, changes the page, and takes page Pods and controllers away. Nobody
// gets anything but the app and the page: the page and no app from half a second
// after state=active on, the app and no page from 2.5 s after the restore on. What
// began on the app, and lasts, is not cut.
func TestNoHoleUnderLoad(t *testing.T) {
	rounds, pageChanges := 6, 3
	if *long {
		rounds, pageChanges = 50, 20
	}
	s := openScene(newWorld(t))
	for i := range rounds {
		var with *trouble
		if n := i % (len(troubles) + 1); n > 0 {
			with = &troubles[n-1]
		}
		s.round((i+1)*pageChanges/rounds-i*pageChanges/rounds, with)
	}
	for subject, spec := range s.specs {
		assert.Equal(t, spec, s.spec(subject.object()), subject.object())
	}
	o := s.close()
	t.Logf("outcome: %s", o)
	result(t, "requests sent", o.Requests)
	result(t, "wrong answers", o.Wrong)
	result(t, "toggles", o.Switches)
	result(t, "page changes", o.PageChanges)
	result(t, "page Pods deleted", 2*o.Troubles["pods-deleted"])
	result(t, "kills", o.Troubles["leader-killed"]+2*o.Troubles["all-killed"])
	result(t, "p99 ms", int(math.Ceil(o.P99)))
	s.report("answers and visits that are wrong", o.wrong)
	assert.GreaterOrEqual(t, o.PerSecond, 200., "visitors a second")
	assert.Equal(t, [2]int{2 * rounds, pageChanges}, [2]int{o.Switches, o.PageChanges})
	assert.Len(t, o.Troubles, len(troubles))
	assert.Greater(t, o.Judged, o.Requests/10, "answers of which it was certain who had to give them")
	assert.Positive(t, o.Downloads, "downloads that lived through a switch")
	assert.Positive(t, o.WebSockets, "WebSockets that lived through a switch")
}

// TestTheLoadNoticesHoles runs controllers with a fault that makes holes. They are
// noticed, or the test above proves nothing.
func TestTheLoadNoticesHoles(t *testing.T) {
	w := newWorld(t)
	t.Cleanup(func() { require.NoError(t, install(context.WithoutCancel(w.Context()), site.image, nil)) })
	for _, name := range []string{"swap-before-serving", "delete-at-once"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			require.NoError(t, install(t.Context(), w.mutantImage(name), nil))
			s := openScene(w)
			s.round(0, nil)
			o := s.close()
			t.Log(o)
			holes := s.visitors.holes()
			require.NotEmpty(t, holes)
			t.Log(holes[0])
		})
	}
}

// mutantImage builds a controller with a fault, and gives the nodes its image.
func (w *world) mutantImage(name string) (reference string) {
	w.Helper()
	m, err := mutant.Named(name)
	require.NoError(w, err)
	dir := filepath.Join(site.dir, name)
	overlay, err := m.Overlay(w.Context(), dir)
	require.NoError(w, err)
	cache, err := binaries.NewCache(nil)
	require.NoError(w, err)
	controller := filepath.Join(dir, "maintenance-controller")
	require.NoError(w, cache.BuildOwn(w.Context(), "./cmd/maintenance-controller", controller, "-overlay="+overlay))
	reference, archive := "maintenance-controller:"+name, filepath.Join(dir, "image.tar")
	require.NoError(w, image.Write(archive, image.Spec{
		Reference: reference, Programs: []string{controller, filepath.Join(site.dir, "maintenance-page")}, Entrypoint: "maintenance-controller",
	}))
	require.NoError(w, site.LoadImage(w.Context(), archive))
	return reference
}
