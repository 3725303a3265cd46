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

// Forged annotations and objects achieve nothing that an edit of the target would not. See
// also TestPagePrecedence, for the default page, and TestRightsAreMinimal, for writes in
// other namespaces.

// forged is a record of originals that the controller has not written.
func forged(value string) string {
	return `{"v":1,"slots":[{"host":"a.example","path":"/","type":"Prefix","at":0,"value":` + value + `},{"type":"defaultBackend","at":0,"value":` + value + `}]}`
}

const evil = `{"service":{"name":"evil","port":{"number":1}}}`

// TestForgedStatusOutsideMaintenance: all annotations of the controller are there, and all
// are false.
func TestForgedStatusOutsideMaintenance(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	for _, k := range target.Kinds() {
		env.apply(manifests[k.Name]("my-app"))
		before := spec(t, env.get(k.Resource, "my-app"))
		env.annotate(k.Resource, "my-app", map[string]any{
			annotations.State: annotations.Active, annotations.Message: "forged", annotations.Since: "1970-01-01T00:00:00Z",
			annotations.PageSet: defaultSet(), annotations.Original: forged(evil),
		})
		c := env.startController()
		assert.Equal(t, before, spec(t, env.waitFor(k.Resource, "my-app", "removal of the forged status", restored)))
		c.stop()
	}
	env.waitForCleanup()
}

// TestForgedOriginals during maintenance: values that are not allowed in a backend are not
// used, and the backup is used instead. A record that cannot be read is kept until then.
func TestForgedOriginals(t *testing.T) {
	t.Parallel()
	for name, forgery := range map[string]struct {
		original string
		kept     bool
	}{
		"a page set":           {original: forged(`{"service":{"name":"maintenance-0123456789abcdef","port":{"number":80}}}`)},
		"no name":              {original: forged(`{"evil":true}`)},
		"two backends":         {original: forged(`{"service":{"name":"evil","port":{"number":1}},"resource":{"kind":"Evil","name":"evil"}}`)},
		"not JSON":             {original: "$(evil)", kept: true},
		"another format":       {original: `{"v":2,"slots":[]}`, kept: true},
		"a slot that it lacks": {original: `{"v":1,"slots":[{"host":"evil.example","path":"/","type":"Prefix","at":0,"value":` + evil + `}]}`},
		"as large as it can":   {original: `{"v":1,"slots":[]` + strings.Repeat(" ", 200<<10) + `}`},
	} {
		original := forgery.original
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.soundness.AllowForged(original)
			env.apply(ingress("my-app"))
			before := spec(t, env.get(ingresses, "my-app"))
			env.startController()
			env.enable(ingresses, "my-app")
			env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
			env.annotate(ingresses, "my-app", map[string]any{annotations.Original: original})
			if forgery.kept {
				u := env.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
				assert.Equal(t, original, u.GetAnnotations()[annotations.Original])
			} else {
				env.waitFor(ingresses, "my-app", "its originals again", func(u *unstructured.Unstructured) bool {
					return strings.Contains(u.GetAnnotations()[annotations.Original], `"name":"app"`)
				})
			}
			env.annotate(ingresses, "my-app", map[string]any{annotations.Original: original, annotations.DefaultEnabled: nil})
			assert.Equal(t, before, spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
			env.waitForCleanup()
		})
	}
}

// TestForgedBackups for a target outside maintenance, for one in maintenance, and under a
// name that no backup has. The last one is ignored and stays until its author deletes it.
func TestForgedBackups(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("outside"), ingress("inside"), ingress("other"))
	before := spec(t, env.get(ingresses, "outside"))
	forge := func(of, name string) {
		ref := target.Ref{Kind: "Ingress", Namespace: env.namespace, Name: of}
		env.apply(fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"labels":{%q:%q,%q:%q,%q:%q}},"data":{"kind":"Ingress","name":%q,"page-set":%q,"originals":%q}}`,
			cmp.Or(name, backup.Name(ref)), annotations.ManagedByLabel, annotations.ManagedBy, annotations.ComponentLabel, annotations.ComponentBackup,
			annotations.PageSetLabel, defaultSet(), of, defaultSet(), forged(evil)))
	}
	forge("outside", "")
	forge("other", "a-name-of-its-own")
	env.startController()
	env.waitFor(configMaps, backup.Name(target.Ref{Kind: "Ingress", Name: "outside"}), "deletion", absent)
	env.enable(ingresses, "inside")
	env.waitFor(ingresses, "inside", "active", state(annotations.Active))
	env.edit(configMaps, backup.Name(target.Ref{Kind: "Ingress", Name: "inside"}), func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, forged(evil), "data", "originals"))
	})
	env.disable(ingresses, "inside")
	assert.Equal(t, before, spec(t, env.waitFor(ingresses, "inside", "restored", restored)), "per slot the annotation wins")
	for _, name := range []string{"outside", "other"} {
		assert.Equal(t, before, spec(t, env.get(ingresses, name)))
	}
	require.NoError(t, env.client.CoreV1().ConfigMaps(env.namespace).Delete(t.Context(), "a-name-of-its-own", metav1.DeleteOptions{}))
	env.waitForCleanup()
}

// TestBackupNamingAnotherNamespaceIsIgnored: a backup is only used for the target in its
// own namespace. Whoever can write in one namespace cannot cause writes in another.
func TestBackupNamingAnotherNamespaceIsIgnored(t *testing.T) {
	t.Parallel()
	victim, forger := newTestEnv(t), newTestEnv(t)
	victim.apply(ingress("my-app"), ingress("here-alone"))
	forger.apply(ingress("my-app"))
	before := spec(t, victim.get(ingresses, "my-app"))
	for _, of := range []string{"my-app", "here-alone"} {
		ref := target.Ref{Kind: "Ingress", Namespace: forger.namespace, Name: of}
		forger.apply(fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"labels":{%q:%q,%q:%q,%q:%q}},"data":{"kind":"Ingress","namespace":%q,"name":%q,"page-set":%q,"originals":%q}}`,
			backup.Name(ref), annotations.ManagedByLabel, annotations.ManagedBy, annotations.ComponentLabel, annotations.ComponentBackup,
			annotations.PageSetLabel, defaultSet(), victim.namespace, of, defaultSet(), forged(evil)))
	}
	startProcess(t, plane.Kubeconfig(), "--watch-namespaces="+victim.namespace+","+forger.namespace, "--namespace="+victim.controllerNamespace, "--leader-elect=false").get(t, "/readyz")
	for _, of := range []string{"my-app", "here-alone"} {
		forger.waitFor(configMaps, backup.Name(target.Ref{Kind: "Ingress", Name: of}), "deletion", absent)
	}
	for _, env := range []*testEnv{victim, forger} {
		env.enable(ingresses, "my-app")
		env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
		env.disable(ingresses, "my-app")
		assert.Equal(t, before, spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
	}
	assert.Equal(t, before, spec(t, victim.get(ingresses, "here-alone")))
	victim.waitForCleanup()
	forger.waitForCleanup()
}

// TestForgedUsers of a page set, and a forged claim to a page set: neither changes a target
// or keeps the set.
func TestForgedUsers(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingress("other"))
	before := env.authoredState(env.get(ingresses, "other"))
	c := env.startController()
	env.enable(ingresses, "my-app")
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	users := "Ingress/other,Service/kubernetes,Secret/evil,../other,Ingress/,/," + strings.Repeat("Ingress/none,", 1000) + "+99"
	env.annotate(configMaps, set, map[string]any{annotations.UsedBy: users})
	env.waitFor(configMaps, set, "its real user in used-by", usedBy("Ingress/my-app"))
	c.stop()
	env.annotate(configMaps, set, map[string]any{annotations.UsedBy: users}) // a controller checks each of them when it starts
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: nil})
	env.startController()
	env.waitFor(ingresses, "my-app", "restored", restored)
	env.annotate(ingresses, "other", map[string]any{annotations.PageSet: set})
	env.waitForCleanup()
	u := env.waitFor(ingresses, "other", "removal of the claim", restored)
	assert.Equal(t, before, env.authoredState(u))
}

// TestTamperedPageSet: its content is immutable, and a page set that was replaced by
// another one of the same name is not shown to anybody.
func TestTamperedPageSet(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingress("other"))
	before := spec(t, env.get(ingresses, "other"))
	c := env.startController()
	env.enable(ingresses, "my-app")
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	tampered := env.get(configMaps, set)
	require.NoError(t, unstructured.SetNestedField(tampered.Object, "<h1>evil</h1>", "data", "page.html"))
	_, err := env.dynamic.Resource(configMaps).Namespace(env.namespace).Update(t.Context(), tampered, metav1.UpdateOptions{})
	require.True(t, apierrors.IsInvalid(err), "it is immutable: %v", err)

	c.stop()
	require.NoError(t, env.client.CoreV1().ConfigMaps(env.namespace).Delete(t.Context(), set, metav1.DeleteOptions{}))
	env.waitFor(configMaps, set, "deletion", absent)
	tampered.SetResourceVersion("")
	tampered.SetUID("")
	_, err = env.dynamic.Resource(configMaps).Namespace(env.namespace).Create(t.Context(), tampered, metav1.CreateOptions{})
	require.NoError(t, err)
	env.startController()
	env.enable(ingresses, "other")
	assert.Equal(t, before, spec(t, env.waitFor(ingresses, "other", "blocked", state(annotations.Blocked))), "nobody else is sent there")
	assert.Contains(t, message(env.waitForEvent("other", "NameConflict")), "its content does not match its name")
	require.NoError(t, env.client.CoreV1().ConfigMaps(env.namespace).Delete(t.Context(), set, metav1.DeleteOptions{}))
	env.waitFor(ingresses, "other", "active, now that it is gone", state(annotations.Active))
	data, _, _ := unstructured.NestedString(env.get(configMaps, set).Object, "data", "page.html")
	assert.NotContains(t, data, "evil")
	env.disable(ingresses, "other")
	env.disable(ingresses, "my-app")
	assert.Equal(t, before, spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
	env.waitForCleanup()
}

// TestForgedOrigin: a forged origin Service is overwritten and deleted like a real one.
func TestForgedOrigin(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(service("my-app"))
	u := env.parse(service(originOf("my-app")))
	u.SetLabels(map[string]string{annotations.ManagedByLabel: annotations.ManagedBy, annotations.ComponentLabel: annotations.ComponentOrigin})
	u.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: "my-app", UID: env.get(services, "my-app").GetUID()}})
	require.NoError(t, unstructured.SetNestedStringMap(u.Object, map[string]string{"app": "evil"}, "spec", "selector"))
	raw, err := json.Marshal(u)
	require.NoError(t, err)
	env.apply(string(raw))
	env.startController()
	env.waitFor(services, originOf("my-app"), "deletion, since nothing is in maintenance", absent)
	env.apply(string(raw))
	env.enable(services, "my-app")
	env.waitFor(services, "my-app", "active", state(annotations.Active))
	env.waitFor(services, originOf("my-app"), "route to the app", leadsToApp(service("my-app")))
	env.disable(services, "my-app")
	env.waitFor(services, "my-app", "restored", restored)
	env.waitForCleanup()
}

// unprintable: a terminal does not show it as it is, like control characters and characters
// that change the direction of text.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// TestQuotedTextStaysOnOneLine: Events, messages and logs quote texts of any length with
// any characters.
func TestQuotedTextStaysOnOneLine(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "console"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			newTestEnv(t).requireOneLineMessages(format)
		})
	}
}

func (env *testEnv) requireOneLineMessages(logFormat string) {
	t := env.T
	nasty := "two\nlines\r\t\x1b[31mred\u202e" + strings.Repeat("x", 60<<10)
	env.apply(ingress("page"), ingress("value"), ingress("original"), ingress("status"))
	p := startProcess(t, plane.Kubeconfig(), "--watch-namespaces="+env.namespace, "--namespace="+env.controllerNamespace, "--leader-elect=false", "--log-level=debug", "--log-format="+logFormat)
	p.get(t, "/readyz")
	env.annotate(ingresses, "page", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: nasty})
	env.annotate(ingresses, "value", map[string]any{annotations.DefaultEnabled: nasty, "maintenance/" + strings.Repeat("y", 60): nasty})
	env.annotate(ingresses, "original", map[string]any{annotations.DefaultEnabled: "true", annotations.Original: `{"v":1,"slots":[{"host":"` + nasty})
	env.annotate(ingresses, "status", map[string]any{annotations.DefaultEnabled: "true", annotations.Since: nasty, annotations.Message: nasty, annotations.PageSet: nasty})
	for name, reasons := range map[string][]string{
		"page": {"PageNotFound", "MaintenanceStarted"}, "value": {"UnknownAnnotation"}, "original": {"RestoreFailed", "MaintenanceStarted"}, "status": nil,
	} {
		if name != "value" {
			env.waitFor(ingresses, name, "active", state(annotations.Active))
		}
		for _, reason := range reasons {
			env.waitForEvent(name, reason)
		}
	}
	events := env.list(schemaGVR{Version: "v1", Resource: "events"}, "")
	require.Greater(t, len(events), 5)
	for _, e := range events {
		assert.LessOrEqual(t, len(message(&e)), annotations.MaxMessage)
		assert.False(t, strings.ContainsFunc(message(&e), unprintable), "%q", message(&e))
	}
	for _, name := range []string{"page", "value", "original", "status"} {
		text := env.get(ingresses, name).GetAnnotations()[annotations.Message]
		assert.LessOrEqual(t, len(text), annotations.MaxMessage)
		assert.False(t, strings.ContainsFunc(text, unprintable), "%q", text)
	}
	p.Stop()
	for line := range strings.Lines(p.log.String()) {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", " ")
		assert.Less(t, len(line), 32<<10)
		assert.False(t, strings.ContainsFunc(line, unprintable), "%q", line)
	}
}
