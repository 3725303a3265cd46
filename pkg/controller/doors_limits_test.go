package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// TestTooManyDoorsBlock: the app is served, because a page without the requested bypass would lock
// people out.
func TestTooManyDoorsBlock(t *testing.T) {
	inWorld(t, func(w *world) {
		var many []string
		for i := range 4 {
			many = append(many, fmt.Sprintf("app-%d", i))
			w.service(many[i])
		}
		w.setBackends(many...)
		w.annotate(annotations.OpenPaths, "/admin")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Minute)
		assert.Equal(w, annotations.Blocked, w.state())
		assert.Contains(w, w.get().GetAnnotations()[annotations.Message], "4 apps, and a page set may lead to 3 at most (--bypass-max-apps)")
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Warning PageNotReady")
		sets, err := w.Client.CoreV1().ConfigMaps(namespace).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		assert.Empty(w, sets.Items, "nothing is created")
		assert.Equal(w, "app-0:80", w.backends()[0])
		w.expectNoRequests(time.Hour)

		w.setBackends(many[:3]...)
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		assert.Equal(w, annotations.Active, w.state())

		// One more during maintenance: existing doors stay, the new app is behind the page, and
		// nobody who had access is locked out.
		set := w.get().GetAnnotations()[annotations.PageSet]
		w.setBackends(set+":8101", set+":8102", set+":8103", many[3])
		w.pass(time.Minute)
		assert.Equal(w, []string{set + ":8101", set + ":8102", set + ":8103", set + ":80"}, w.backends())
		w.expectNoRequests(time.Hour)
	})
}

// TestTooManySetsBlock: until one of them is unused.
func TestTooManySetsBlock(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		for i, name := range []string{"one", "two"} {
			u := ingress()
			u.SetName(name)
			u.SetAnnotations(map[string]string{annotations.DefaultEnabled: "true", annotations.OpenPaths: fmt.Sprintf("/%d", i)})
			require.NoError(w, unstructured.SetNestedField(u.Object, "a", "spec", "defaultBackend", "service", "name"))
			_, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Create(w.Context(), u, metav1.CreateOptions{})
			require.NoError(w, err)
		}
		w.pass(time.Second)
		w.setBackends("a")
		w.annotate(annotations.OpenPaths, "/3")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		assert.Equal(w, annotations.Blocked, w.state())
		assert.Contains(w, w.get().GetAnnotations()[annotations.Message], "2 other page sets of the namespace have a bypass")
		w.annotate(annotations.OpenPaths, "/1")
		w.pass(time.Second)
		assert.Equal(w, annotations.Pending, w.state(), "a shared page set does not count again")
		w.annotate(annotations.OpenPaths, "/3")
		w.pass(time.Second)
		assert.Equal(w, annotations.Blocked, w.state())

		client := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace)
		u, err := client.Get(w.Context(), "one", metav1.GetOptions{})
		require.NoError(w, err)
		u.SetAnnotations(nil)
		_, err = client.Update(w.Context(), u, metav1.UpdateOptions{})
		require.NoError(w, err)
		w.pass(time.Second)
		assert.Equal(w, annotations.Pending, w.state(), "there is room")
	})
}

// TestSetsAtTheLimitCanChange: a target can move from a shared page set at the limit to one with a
// narrower bypass.
func TestSetsAtTheLimitCanChange(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		ingresses := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace)
		for name, path := range map[string]string{"one": "/0", "two": "/1"} { // my-app shares two's
			u := ingress()
			u.SetName(name)
			u.SetAnnotations(map[string]string{annotations.DefaultEnabled: "true", annotations.OpenPaths: path})
			require.NoError(w, unstructured.SetNestedField(u.Object, "a", "spec", "defaultBackend", "service", "name"))
			_, err := ingresses.Create(w.Context(), u, metav1.CreateOptions{})
			require.NoError(w, err)
		}
		w.setBackends("a")
		w.annotate(annotations.OpenPaths, "/1")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		require.Equal(w, annotations.Active, w.state())
		before, _ := w.settings()

		w.annotate(annotations.OpenPaths, "/narrower")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		after, settings := w.settings()
		assert.NotEqual(w, before, after)
		assert.Equal(w, []string{"/narrower"}, settings.OpenPaths)
		assert.Equal(w, annotations.Active, w.state())
	})
}
