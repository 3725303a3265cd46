package apiserver

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// TestAnEditInBetweenIsKept: somebody writes the target just before each of the
// controller's own writes, after it has read it. None of those edits is lost.
func TestAnEditInBetweenIsKept(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(manifests[k.Name]("my-app"))
			before := spec(t, w.get(k.Resource, "my-app"))
			b := &between{world: w, kind: k}
			w.start(func(_ *controllerConfig, config *restConfig) { config.Wrap(b.wrap) })
			w.on(k.Resource, "my-app")
			w.until(k.Resource, "my-app", "active", state(annotations.Active))
			w.off(k.Resource, "my-app")
			u := w.until(k.Resource, "my-app", "restored", restored)
			assert.Equal(t, before, spec(t, u))
			assert.GreaterOrEqual(t, b.edits, 4, "swap, active, restore, and the end of the annotations")
			for n := range b.edits {
				assert.Contains(t, u.GetLabels(), fmt.Sprintf("edit-%d", n))
			}
		})
	}
}

// between edits the target before each first try of a write.
type between struct {
	*world
	kind   target.Kind
	writes int // one at a time: a target is reconciled by one worker
	edits  int
}

func (b *between) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, b.kind.Resource.Resource+"/my-app") {
			// The second try finds nobody in its way, or there would be no end.
			if b.writes++; b.writes%2 == 1 {
				b.edit(b.kind.Resource, "my-app", func(u *unstructured.Unstructured) {
					u.SetLabels(merged(u.GetLabels(), map[string]string{fmt.Sprintf("edit-%d", b.edits): "kept"}))
				})
				b.edits++
			}
		}
		return next.RoundTrip(req)
	})
}
