package apiserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
)

// Invalid input gets a Warning that names the annotation, and changes nothing.

func TestBadInput(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		annotate map[string]any
		reason   string
		says     []string
		on       bool // maintenance starts nevertheless
	}{
		"an invalid value": {map[string]any{annotations.DefaultEnabled: "ture"}, "InvalidAnnotation", []string{annotations.DefaultEnabled, `"ture"`, `use "true"`}, false},
		"a mistyped key":   {map[string]any{"maintenance/enable": "true"}, "UnknownAnnotation", []string{"maintenance/enable", "did you mean " + annotations.DefaultEnabled}, false},
		"an unknown page": {map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "sprnig"}, "PageNotFound",
			[]string{annotations.DefaultCustomPage, `"sprnig"`, "create a ConfigMap labelled", "default page"}, true},
		"a page of status 200": {map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "broken"}, "PageNotFound",
			[]string{`"broken"`, "page-broken", `"status"`, "400 to 599"}, true},
		"a page too large": {map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "large"}, "PageNotFound",
			[]string{`"large"`, "bytes"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.apply(ingress("my-app"), customPage("broken", "status", "200"), customPage("large", "page.html", strings.Repeat("x", 985<<10)))
			before := env.get(ingresses, "my-app")
			env.startController()
			env.annotate(ingresses, "my-app", tc.annotate)
			e := env.waitForEvent("my-app", tc.reason)
			kind, _, _ := unstructured.NestedString(e.Object, "type")
			assert.Equal(t, "Warning", kind)
			for _, says := range tc.says {
				assert.Contains(t, message(e), says)
			}
			if tc.on {
				assert.Equal(t, defaultSet(), requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active))))
				return
			}
			after := env.get(ingresses, "my-app")
			assert.Equal(t, spec(t, before), spec(t, after))
			assert.False(t, annotations.HasWritten(after.GetAnnotations()))
		})
	}
}

// TestPageWithABrokenFormat: visitors get the page in its other formats. The Events say
// which formats are broken, and that two ConfigMaps have the page.
func TestPageWithABrokenFormat(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), `
apiVersion: v1
kind: ConfigMap
metadata: {name: page-spring-5k7f, labels: {maintenance/custom-page: spring}}
data: {page.html: <h1>spring</h1>, page.json: '{spring}'}
binaryData: {page.txt: RnL8aGxpbmc=}
`)
	env.startController()
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	data, _, err := unstructured.NestedStringMap(env.get(configMaps, set).Object, "data")
	require.NoError(t, err)
	assert.Equal(t, "<h1>spring</h1>", data["page.html"])
	assert.NotContains(t, data, "page.json")
	assert.Contains(t, data, "page.en.json", "from the default page")
	assert.Contains(t, data, "page.en.txt", "from the default page")
	text := message(env.waitForEvent("my-app", "PageNotFound"))
	assert.Contains(t, text, `is shown without its own json, txt: key "page.json" is not valid JSON`)
	assert.Contains(t, text, `key "page.txt" is not valid UTF-8`)

	env.apply(customPage("spring", "page.html", "a second one"))
	assert.Contains(t, message(env.waitForEvent("my-app", "NameConflict")), "disableNameSuffixHash")
}

func TestNoRoomForTheOriginals(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.annotate(ingresses, "my-app", map[string]any{"big": strings.Repeat("x", annotations.MaxTotalSize-1600)})
	before := spec(t, env.get(ingresses, "my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, message(env.waitForEvent("my-app", "InvalidAnnotation")), annotations.Original)
	assert.Equal(t, before, spec(t, u), "nothing changes")
	env.annotate(ingresses, "my-app", map[string]any{"big": nil})
	env.waitFor(ingresses, "my-app", "active, now that there is room", state(annotations.Active))
}

// TestSlotWithoutRoomForItsOriginalStaysOnTheApp: hosts are added until the annotation is full.
func TestSlotWithoutRoomForItsOriginalStaysOnTheApp(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.annotate(ingresses, "my-app", map[string]any{"big": strings.Repeat("x", annotations.MaxTotalSize-6000)})
	env.startController()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		list := rules(u)
		for i := range 60 {
			more := rules(env.parse(strings.ReplaceAll(ingress("x"), "a.example", fmt.Sprintf("h%d.example", i))))[0]
			list = append(list, more)
		}
		require.NoError(t, unstructured.SetNestedSlice(u.Object, list, "spec", "rules"))
	})
	assert.Contains(t, message(env.waitForEvent("my-app", "InvalidAnnotation")), "no room for the originals of")
	want := spec(t, env.waitFor(ingresses, "my-app", "some of the new hosts on the page", func(u *unstructured.Unstructured) bool {
		return len(pageSetsOf(u)) > 4 && len(pageSetsOf(u)) < 124
	}))
	assert.Contains(t, want, `"app"`)
	env.disable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "restored", restored)
	assert.Len(t, rules(u), 62)
}
