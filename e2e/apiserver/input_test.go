package apiserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// Bad input gets a Warning that names the annotation, and changes nothing.

func TestBadInput(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		annotate map[string]any
		reason   string
		says     []string
		on       bool // maintenance begins all the same
	}{
		"neither on nor off": {map[string]any{annotations.DefaultEnabled: "ture"}, "InvalidAnnotation", []string{annotations.DefaultEnabled, `"ture"`, `use "true"`}, false},
		"a mistyped key":     {map[string]any{"maintenance/enable": "true"}, "UnknownAnnotation", []string{"maintenance/enable", "did you mean " + annotations.DefaultEnabled}, false},
		"an unknown page": {map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "sprnig"}, "PageNotFound",
			[]string{annotations.DefaultCustomPage, `"sprnig"`, "make a ConfigMap labelled", "default page"}, true},
		"a page of status 200": {map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "broken"}, "PageNotFound",
			[]string{`"broken"`, "page-broken", `"status"`, "400 to 599"}, true},
		"a page too large": {map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "large"}, "PageNotFound",
			[]string{`"large"`, "bytes"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(ingress("my-app"), customPage("broken", "status", "200"), customPage("large", "page.html", strings.Repeat("x", 985<<10)))
			before := w.get(ingresses, "my-app")
			w.start()
			w.annotate(ingresses, "my-app", tc.annotate)
			e := w.untilEvent("my-app", tc.reason)
			kind, _, _ := unstructured.NestedString(e.Object, "type")
			assert.Equal(t, "Warning", kind)
			for _, says := range tc.says {
				assert.Contains(t, message(e), says)
			}
			if tc.on {
				assert.Equal(t, defaultSet(), allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active))))
				return
			}
			after := w.get(ingresses, "my-app")
			assert.Equal(t, spec(t, before), spec(t, after))
			assert.False(t, annotations.HasWritten(after.GetAnnotations()))
		})
	}
}

// TestABrokenFormatOfAPage: visitors get the page in its other formats, and whoever
// asked for it reads which one is broken, and that there are two of it.
func TestABrokenFormatOfAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), `
apiVersion: v1
kind: ConfigMap
metadata: {name: page-spring-5k7f, labels: {maintenance/custom-page: spring}}
data: {page.html: <h1>spring</h1>, page.json: '{spring}'}
binaryData: {page.txt: RnL8aGxpbmc=}
`)
	w.start()
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	data, _, err := unstructured.NestedStringMap(w.get(configMaps, set).Object, "data")
	require.NoError(t, err)
	assert.Equal(t, "<h1>spring</h1>", data["page.html"])
	assert.NotContains(t, data, "page.json")
	assert.Contains(t, data, "page.en.json", "the default page's")
	assert.Contains(t, data, "page.en.txt", "the default page's")
	told := message(w.untilEvent("my-app", "PageNotFound"))
	assert.Contains(t, told, `is shown without its own json, txt: key "page.json" is not valid JSON`)
	assert.Contains(t, told, `key "page.txt" is not valid UTF-8`)

	w.apply(customPage("spring", "page.html", "a second one"))
	assert.Contains(t, message(w.untilEvent("my-app", "NameConflict")), "disableNameSuffixHash")
}

func TestTooFullForTheOriginals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.annotate(ingresses, "my-app", map[string]any{"big": strings.Repeat("x", annotations.MaxTotalSize-1600)})
	before := spec(t, w.get(ingresses, "my-app"))
	w.start()
	w.on(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, message(w.untilEvent("my-app", "InvalidAnnotation")), annotations.Original)
	assert.Equal(t, before, spec(t, u), "nothing changes")
	w.annotate(ingresses, "my-app", map[string]any{"big": nil})
	w.until(ingresses, "my-app", "active, now that there is room", state(annotations.Active))
}

// TestASlotThatDoesNotFitStaysOnTheApp: hosts are added until the annotation is full.
func TestASlotThatDoesNotFitStaysOnTheApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.annotate(ingresses, "my-app", map[string]any{"big": strings.Repeat("x", annotations.MaxTotalSize-6000)})
	w.start()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		list := rules(u)
		for i := range 60 {
			more := rules(w.parse(strings.ReplaceAll(ingress("x"), "a.example", fmt.Sprintf("h%d.example", i))))[0]
			list = append(list, more)
		}
		require.NoError(t, unstructured.SetNestedSlice(u.Object, list, "spec", "rules"))
	})
	assert.Contains(t, message(w.untilEvent("my-app", "InvalidAnnotation")), "no room for the originals of")
	want := spec(t, w.until(ingresses, "my-app", "some of the new hosts on the page", func(u *unstructured.Unstructured) bool {
		return len(setsOf(u)) > 4 && len(setsOf(u)) < 124
	}))
	assert.Contains(t, want, `"app"`)
	w.off(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "restored", restored)
	assert.Len(t, rules(u), 62)
}

func TestOwnObjectsAreNoTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("maintenance-0123456789abcdef"), strings.Replace(ingress("ours"), "app: shop", annotations.ManagedByLabel+": "+annotations.ManagedBy, 1), ingress("my-app"))
	w.start()
	for _, name := range []string{"maintenance-0123456789abcdef", "ours", "my-app"} {
		w.on(ingresses, name)
	}
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	for _, name := range []string{"maintenance-0123456789abcdef", "ours"} {
		assert.True(t, restored(w.get(ingresses, name)), name)
	}
}

func TestIngressClass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("mine"), strings.Replace(ingress("other"), "ingressClassName: traefik", "ingressClassName: nginx", 1),
		strings.Replace(ingress("none"), "ingressClassName: traefik", "", 1), ingressRoute("my-route"))
	w.start(func(c *controllerConfig, _ *restConfig) { c.Classes = []string{"traefik"} })
	for _, name := range []string{"other", "none", "mine"} {
		w.on(ingresses, name)
	}
	w.on(ingressRoutes, "my-route")
	w.until(ingresses, "mine", "active", state(annotations.Active))
	w.until(ingressRoutes, "my-route", "active", state(annotations.Active))
	for _, name := range []string{"other", "none"} {
		assert.True(t, restored(w.get(ingresses, name)), name)
	}
}

func TestOnlyTheKindsThatAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingressRoute("my-route"))
	w.start(func(c *controllerConfig, _ *restConfig) { c.Kinds = []target.Kind{target.Ingress()} })
	w.on(ingressRoutes, "my-route")
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	assert.True(t, restored(w.get(ingressRoutes, "my-route")))
}

func TestKeysOfThePredecessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start(func(c *controllerConfig, _ *restConfig) {
		c.Keys = annotations.Keys{Enabled: "maintenance-operator/on", EnabledValue: "yes", CustomPage: "maintenance-operator/page"}
	})
	w.annotate(ingresses, "my-app", map[string]any{"maintenance-operator/on": "yes"})
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.annotate(ingresses, "my-app", map[string]any{"maintenance-operator/on": nil})
	w.until(ingresses, "my-app", "restored", restored)
}

// TestADeletedNamespaceIsNoError: what is in maintenance there goes with it, nothing
// is tried for ever, and the work in other namespaces goes on.
func TestADeletedNamespaceIsNoError(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	w.apply(ingress("my-app"))
	other.apply(ingress("my-app"), ingress("later"))
	logged, errors := observer.New(zap.ErrorLevel)
	c := w.start(func(c *controllerConfig, _ *restConfig) {
		c.Namespaces = append(c.Namespaces, other.namespace)
		c.Log = zap.New(logged)
	})
	for _, in := range []*world{w, other} {
		in.on(ingresses, "my-app")
		in.until(ingresses, "my-app", "active", state(annotations.Active))
	}
	require.NoError(t, w.client.CoreV1().Namespaces().Delete(t.Context(), w.namespace, metav1.DeleteOptions{}))
	cluster := *w
	cluster.namespace = ""
	cluster.until(schemaGVR{Version: "v1", Resource: "namespaces"}, w.namespace, "its end", absent)

	other.on(ingresses, "later")
	other.until(ingresses, "later", "active", state(annotations.Active))
	for _, name := range []string{"my-app", "later"} {
		other.off(ingresses, name)
		assert.Equal(t, spec(t, w.parse(ingress("x"))), spec(t, other.until(ingresses, name, "restored", restored)))
	}
	other.untilClean()
	require.Eventually(t, func() bool {
		for _, n := range c.Snapshot().Queued {
			if n > 0 {
				return false
			}
		}
		return true
	}, patience, 10*time.Millisecond, "nothing is left to do")
	assert.Empty(t, errors.All(), "logged as errors")
}
