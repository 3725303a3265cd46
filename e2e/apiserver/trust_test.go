package apiserver

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/target"
)

// What is forged gains nothing that editing the object would not. That an app
// team cannot replace the default page is TestWhosePageWins; that nothing is
// written in another namespace is part of TestRightsAreThoseThatAreUsed.

// forged is a record of originals that nobody has written down in earnest.
func forged(value string) string {
	return `{"v":1,"slots":[{"host":"a.example","path":"/","type":"Prefix","at":0,"value":` + value + `},{"type":"defaultBackend","at":0,"value":` + value + `}]}`
}

const evil = `{"service":{"name":"evil","port":{"number":1}}}`

// TestForgedStatusOfATargetOutsideMaintenance: all that the controller writes is
// annotated, and none of it is true.
func TestForgedStatusOfATargetOutsideMaintenance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, k := range target.Kinds() {
		w.apply(manifests[k.Name]("my-app"))
		before := spec(t, w.get(k.Resource, "my-app"))
		w.annotate(k.Resource, "my-app", map[string]any{
			annotations.State: annotations.Active, annotations.Message: "forged", annotations.Since: "1970-01-01T00:00:00Z",
			annotations.PageSet: defaultSet(), annotations.Original: forged(evil),
		})
		c := w.start()
		assert.Equal(t, before, spec(t, w.until(k.Resource, "my-app", "rid of it", restored)))
		c.stop()
	}
	w.untilClean()
}

// TestForgedOriginals in the middle of maintenance: what may not be in a backend is
// not put there, and the second copy is used. What cannot be read is kept until then.
func TestForgedOriginals(t *testing.T) {
	t.Parallel()
	for name, forgery := range map[string]struct {
		original string
		kept     bool
	}{
		"a page set":         {original: forged(`{"service":{"name":"maintenance-0123456789abcdef","port":{"number":80}}}`)},
		"no name":            {original: forged(`{"evil":true}`)},
		"two backends":       {original: forged(`{"service":{"name":"evil","port":{"number":1}},"resource":{"kind":"Evil","name":"evil"}}`)},
		"not JSON":           {original: "$(evil)", kept: true},
		"another format":     {original: `{"v":2,"slots":[]}`, kept: true},
		"no slot of its":     {original: `{"v":1,"slots":[{"host":"evil.example","path":"/","type":"Prefix","at":0,"value":` + evil + `}]}`},
		"as large as it can": {original: `{"v":1,"slots":[]` + strings.Repeat(" ", 200<<10) + `}`},
	} {
		original := forgery.original
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sound.Forged(original)
			w.apply(ingress("my-app"))
			before := spec(t, w.get(ingresses, "my-app"))
			w.start()
			w.on(ingresses, "my-app")
			w.until(ingresses, "my-app", "active", state(annotations.Active))
			w.annotate(ingresses, "my-app", map[string]any{annotations.Original: original})
			if forgery.kept {
				u := w.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
				assert.Equal(t, original, u.GetAnnotations()[annotations.Original])
			} else {
				w.until(ingresses, "my-app", "its originals again", func(u *unstructured.Unstructured) bool {
					return strings.Contains(u.GetAnnotations()[annotations.Original], `"name":"app"`)
				})
			}
			w.annotate(ingresses, "my-app", map[string]any{annotations.Original: original, annotations.DefaultEnabled: nil})
			assert.Equal(t, before, spec(t, w.until(ingresses, "my-app", "restored", restored)))
			w.untilClean()
		})
	}
}

// TestForgedBackups: for a target outside maintenance, for one in it, and under a name
// that no backup has. That one is nobody's: it stays until whoever made it deletes it.
func TestForgedBackups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("outside"), ingress("inside"), ingress("other"))
	before := spec(t, w.get(ingresses, "outside"))
	forge := func(of, name string) {
		ref := target.Ref{Kind: "Ingress", Namespace: w.namespace, Name: of}
		w.apply(fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"labels":{%q:%q,%q:%q,%q:%q}},"data":{"kind":"Ingress","name":%q,"page-set":%q,"originals":%q}}`,
			cmp.Or(name, backup.Name(ref)), annotations.ManagedByLabel, annotations.ManagedBy, annotations.ComponentLabel, annotations.ComponentBackup,
			annotations.PageSetLabel, defaultSet(), of, defaultSet(), forged(evil)))
	}
	forge("outside", "")
	forge("other", "a-name-of-its-own")
	w.start()
	w.until(configMaps, backup.Name(target.Ref{Kind: "Ingress", Name: "outside"}), "its end", absent)
	w.on(ingresses, "inside")
	w.until(ingresses, "inside", "active", state(annotations.Active))
	w.edit(configMaps, backup.Name(target.Ref{Kind: "Ingress", Name: "inside"}), func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, forged(evil), "data", "originals"))
	})
	w.off(ingresses, "inside")
	assert.Equal(t, before, spec(t, w.until(ingresses, "inside", "restored", restored)), "per slot the annotation wins")
	for _, name := range []string{"outside", "other"} {
		assert.Equal(t, before, spec(t, w.get(ingresses, name)))
	}
	require.NoError(t, w.client.CoreV1().ConfigMaps(w.namespace).Delete(t.Context(), "a-name-of-its-own", metav1.DeleteOptions{}))
	w.untilClean()
}

// TestABackupOfAnotherNamespaceIsNobodys: a backup counts for the target of its own
// namespace, whatever it says of others, and whoever may write in one namespace gets
// nothing written in another.
func TestABackupOfAnotherNamespaceIsNobodys(t *testing.T) {
	t.Parallel()
	victim, forger := newWorld(t), newWorld(t)
	victim.apply(ingress("my-app"), ingress("here-alone"))
	forger.apply(ingress("my-app"))
	before := spec(t, victim.get(ingresses, "my-app"))
	for _, of := range []string{"my-app", "here-alone"} {
		ref := target.Ref{Kind: "Ingress", Namespace: forger.namespace, Name: of}
		forger.apply(fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"labels":{%q:%q,%q:%q,%q:%q}},"data":{"kind":"Ingress","namespace":%q,"name":%q,"page-set":%q,"originals":%q}}`,
			backup.Name(ref), annotations.ManagedByLabel, annotations.ManagedBy, annotations.ComponentLabel, annotations.ComponentBackup,
			annotations.PageSetLabel, defaultSet(), victim.namespace, of, defaultSet(), forged(evil)))
	}
	runProgram(t, plane.Kubeconfig(), "--watch-namespaces="+victim.namespace+","+forger.namespace, "--namespace="+victim.own, "--leader-elect=false").get(t, "/readyz")
	for _, of := range []string{"my-app", "here-alone"} {
		forger.until(configMaps, backup.Name(target.Ref{Kind: "Ingress", Name: of}), "its end", absent)
	}
	for _, w := range []*world{victim, forger} {
		w.on(ingresses, "my-app")
		w.until(ingresses, "my-app", "active", state(annotations.Active))
		w.off(ingresses, "my-app")
		assert.Equal(t, before, spec(t, w.until(ingresses, "my-app", "restored", restored)))
	}
	assert.Equal(t, before, spec(t, victim.get(ingresses, "here-alone")))
	victim.untilClean()
	forger.untilClean()
}

// TestForgedUsers of a page set, and a forged claim to it: neither touches a target,
// nor keeps the set.
func TestForgedUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingress("other"))
	before := w.shape(w.get(ingresses, "other"))
	c := w.start()
	w.on(ingresses, "my-app")
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	users := "Ingress/other,Service/kubernetes,Secret/evil,../other,Ingress/,/," + strings.Repeat("Ingress/none,", 1000) + "+99"
	w.annotate(configMaps, set, map[string]any{annotations.UsedBy: users})
	w.until(configMaps, set, "its true user", usedBy("Ingress/my-app"))
	c.stop()
	w.annotate(configMaps, set, map[string]any{annotations.UsedBy: users}) // a controller that starts looks at each
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: nil})
	w.start()
	w.until(ingresses, "my-app", "restored", restored)
	w.annotate(ingresses, "other", map[string]any{annotations.PageSet: set})
	w.untilClean()
	u := w.until(ingresses, "other", "rid of the claim", restored)
	assert.Equal(t, before, w.shape(u))
}

// TestATamperedPageSet: its content cannot be changed, and what is made anew under
// its name is not served to anybody.
func TestATamperedPageSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingress("other"))
	before := spec(t, w.get(ingresses, "other"))
	c := w.start()
	w.on(ingresses, "my-app")
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	tampered := w.get(configMaps, set)
	require.NoError(t, unstructured.SetNestedField(tampered.Object, "<h1>evil</h1>", "data", "page.html"))
	_, err := w.dynamic.Resource(configMaps).Namespace(w.namespace).Update(t.Context(), tampered, metav1.UpdateOptions{})
	require.True(t, apierrors.IsInvalid(err), "it is immutable: %v", err)

	c.stop()
	require.NoError(t, w.client.CoreV1().ConfigMaps(w.namespace).Delete(t.Context(), set, metav1.DeleteOptions{}))
	w.until(configMaps, set, "its end", absent)
	tampered.SetResourceVersion("")
	tampered.SetUID("")
	_, err = w.dynamic.Resource(configMaps).Namespace(w.namespace).Create(t.Context(), tampered, metav1.CreateOptions{})
	require.NoError(t, err)
	w.start()
	w.on(ingresses, "other")
	assert.Equal(t, before, spec(t, w.until(ingresses, "other", "blocked", state(annotations.Blocked))), "nobody else is sent there")
	assert.Contains(t, message(w.untilEvent("other", "NameConflict")), "its content is not what its name says")
	require.NoError(t, w.client.CoreV1().ConfigMaps(w.namespace).Delete(t.Context(), set, metav1.DeleteOptions{}))
	w.until(ingresses, "other", "active, now that it is gone", state(annotations.Active))
	data, _, _ := unstructured.NestedString(w.get(configMaps, set).Object, "data", "page.html")
	assert.NotContains(t, data, "evil")
	w.off(ingresses, "other")
	w.off(ingresses, "my-app")
	assert.Equal(t, before, spec(t, w.until(ingresses, "my-app", "restored", restored)))
	w.untilClean()
}

// TestAForgedOrigin is made to lead to the app as any is, and goes as any does.
func TestAForgedOrigin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(service("my-app"))
	u := w.parse(service(originOf("my-app")))
	u.SetLabels(map[string]string{annotations.ManagedByLabel: annotations.ManagedBy, annotations.ComponentLabel: annotations.ComponentOrigin})
	u.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: "my-app", UID: w.get(services, "my-app").GetUID()}})
	require.NoError(t, unstructured.SetNestedStringMap(u.Object, map[string]string{"app": "evil"}, "spec", "selector"))
	raw, err := json.Marshal(u)
	require.NoError(t, err)
	w.apply(string(raw))
	w.start()
	w.until(services, originOf("my-app"), "its end: nobody is in maintenance", absent)
	w.apply(string(raw))
	w.on(services, "my-app")
	w.until(services, "my-app", "active", state(annotations.Active))
	w.until(services, originOf("my-app"), "the way to the app", leadsToApp(service("my-app")))
	w.off(services, "my-app")
	w.until(services, "my-app", "restored", restored)
	w.untilClean()
}

// unprintable is what a terminal does not show as it is: control characters, and
// those that change the direction or the shape of others.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// TestWhatPeopleWriteIsToldOnOneLine: texts of any length and any characters, in
// all places that are quoted.
func TestWhatPeopleWriteIsToldOnOneLine(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "console"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			newWorld(t).tellsOnOneLine(format)
		})
	}
}

func (w *world) tellsOnOneLine(logFormat string) {
	t := w.T
	nasty := "two\nlines\r\t\x1b[31mred\u202e" + strings.Repeat("x", 60<<10)
	w.apply(ingress("page"), ingress("value"), ingress("original"), ingress("status"))
	p := runProgram(t, plane.Kubeconfig(), "--watch-namespaces="+w.namespace, "--namespace="+w.own, "--leader-elect=false", "--log-level=debug", "--log-format="+logFormat)
	p.get(t, "/readyz")
	w.annotate(ingresses, "page", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: nasty})
	w.annotate(ingresses, "value", map[string]any{annotations.DefaultEnabled: nasty, "maintenance/" + strings.Repeat("y", 60): nasty})
	w.annotate(ingresses, "original", map[string]any{annotations.DefaultEnabled: "true", annotations.Original: `{"v":1,"slots":[{"host":"` + nasty})
	w.annotate(ingresses, "status", map[string]any{annotations.DefaultEnabled: "true", annotations.Since: nasty, annotations.Message: nasty, annotations.PageSet: nasty})
	for name, reason := range map[string]string{"page": "PageNotFound", "value": "UnknownAnnotation", "original": "RestoreFailed", "status": "MaintenanceStarted"} {
		if name != "value" {
			w.until(ingresses, name, "active", state(annotations.Active))
		}
		if name != "status" {
			w.untilEvent(name, reason)
		}
	}
	events := w.list(schemaGVR{Version: "v1", Resource: "events"}, "")
	require.Greater(t, len(events), 5)
	for _, e := range events {
		assert.LessOrEqual(t, len(message(&e)), annotations.MaxMessage)
		assert.False(t, strings.ContainsFunc(message(&e), unprintable), "%q", message(&e))
	}
	for _, name := range []string{"page", "value", "original", "status"} {
		told := w.get(ingresses, name).GetAnnotations()[annotations.Message]
		assert.LessOrEqual(t, len(told), annotations.MaxMessage)
		assert.False(t, strings.ContainsFunc(told, unprintable), "%q", told)
	}
	p.Stop()
	for line := range strings.Lines(p.log.String()) {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", " ")
		assert.Less(t, len(line), 32<<10)
		assert.False(t, strings.ContainsFunc(line, unprintable), "%q", line)
	}
}
