package apiserver

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/app"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/target"
)

// The restore command, by which maintenance ends without a controller.

// restoreCommand runs the command as a person with a kubeconfig does.
func (w *world) restoreCommand(args ...string) (code int, out string) {
	w.Helper()
	var text bytes.Buffer
	code = w.restoreTo(&text, args...)
	return code, text.String()
}

func (w *world) restoreTo(out io.Writer, args ...string) (code int) {
	w.Helper()
	kubeconfig, err := plane.KubeconfigFor("somebody", "system:masters")
	require.NoError(w, err)
	return app.Main(w.Context(), app.Process{
		Args: append([]string{"restore", "--kubeconfig=" + kubeconfig, theInstallation, "--controller-namespace=" + w.own, "--page-set-grace-period=10ms"}, args...),
		Env:  func(string) (string, bool) { return "", false }, Stdout: out, Stderr: out,
	})
}

// inMaintenance puts objects in maintenance and stops the controller then.
func (w *world) inMaintenance(manifests ...string) {
	w.Helper()
	w.apply(manifests...)
	c := w.start()
	for _, m := range manifests {
		u := w.parse(m)
		w.on(resourceOf(u), u.GetName())
	}
	for _, m := range manifests {
		u := w.parse(m)
		w.until(resourceOf(u), u.GetName(), "active", state(annotations.Active))
	}
	c.stop()
}

func TestRestoreOfOneTarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.inMaintenance(ingress("my-app"), ingressRoute("my-app"))
	before := w.get(ingresses, "my-app")

	code, out := w.restoreCommand("--dry-run", "ingress/my-app", "-n", w.namespace)
	require.Equal(t, 0, code, out)
	for _, want := range []string{"-            name: " + defaultSet() + "\n+            name: app\n", "-    maintenance/original: "} {
		assert.Contains(t, out, want)
	}
	assert.Equal(t, before, w.get(ingresses, "my-app"), "a dry run changes nothing")

	code, out = w.restoreCommand("ingresses.networking.k8s.io/my-app", "-n", w.namespace)
	require.Equal(t, 0, code, out)
	assert.Contains(t, out, "restored   Ingress "+w.namespace+"/my-app")
	assert.Contains(t, out, "still annotated with maintenance/enabled: Ingress "+w.namespace+"/my-app")
	u := w.get(ingresses, "my-app")
	assert.True(t, specIs(ingress("my-app"))(u), "to the byte")
	assert.Equal(t, map[string]string{annotations.DefaultEnabled: "true"}, u.GetAnnotations())
	assert.NotContains(t, w.owners(u), "maintenance-controller", "as if it had never written")
	w.until(configMaps, backup.Name(target.Ref{Kind: "Ingress", Namespace: w.namespace, Name: "my-app"}), "its end", absent)
	assert.NotEmpty(t, setsOf(w.get(ingressRoutes, "my-app")), "no other target is touched")

	code, out = w.restoreCommand("ingress/my-app", "-n", w.namespace, "--remove-annotations")
	require.Equal(t, 0, code, out)
	assert.Empty(t, w.get(ingresses, "my-app").GetAnnotations())
	code, out = w.restoreCommand("ingress/my-app", "-n", w.namespace)
	require.Equal(t, 0, code, out)
	assert.Contains(t, out, "unchanged  Ingress")
}

func TestRestoreOfEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	manifests := []string{ingress("a"), ingressRoute("a"), service("s"), ingress("stripped")}
	w.inMaintenance(manifests...)
	w.annotate(ingresses, "stripped", map[string]any{annotations.Original: nil, annotations.State: nil, annotations.Since: nil, annotations.PageSet: nil, annotations.DefaultEnabled: nil})
	w.apply(ingress("bystander"))
	w.on(ingresses, "bystander") // asks, and nobody has heard

	code, out := w.restoreCommand("--all", "--watch-namespaces="+w.namespace, "--remove-annotations")
	require.Equal(t, 0, code, out)
	for _, m := range append(manifests, ingress("bystander")) {
		want := w.parse(m)
		u := w.get(resourceOf(want), want.GetName())
		assert.Empty(t, u.GetAnnotations(), "%s %s", u.GetKind(), u.GetName())
		assert.True(t, restored(u), "%s %s", u.GetKind(), u.GetName())
		if u.GetKind() != "Service" { // to a Service's spec the API server adds addresses
			assert.True(t, specIs(m)(u), "%s %s", u.GetKind(), u.GetName())
		} else {
			assert.True(t, leadsToApp(m)(u))
		}
	}
	assert.Contains(t, out, "deleted    page set "+w.namespace+"/"+defaultSet())
	assert.Contains(t, out, "5 restored, 0 failed")
	w.untilClean()
	code, out = w.restoreCommand("--all", "--watch-namespaces="+w.namespace)
	require.Equal(t, 0, code, out)
	assert.Contains(t, out, "0 restored, 0 failed", "again is no harm")
}

// TestRestoreSaysWhatItCannotDo: what is known is restored, what is not is named
// and keeps its page, and the exit code tells.
func TestRestoreSaysWhatItCannotDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.inMaintenance(ingress("known"), ingress("lost"))
	ref := target.Ref{Kind: "Ingress", Namespace: w.namespace, Name: "lost"}
	w.loses(ref)
	require.NoError(t, w.client.CoreV1().ConfigMaps(w.namespace).Delete(t.Context(), backup.Name(ref), metav1.DeleteOptions{}))
	w.annotate(ingresses, "lost", map[string]any{annotations.Original: nil})

	code, out := w.restoreCommand("--all", "--watch-namespaces="+w.namespace, "--remove-annotations", "--timeout=20s")
	assert.Equal(t, 1, code, out)
	assert.Contains(t, out, "FAILED     "+ref.String()+": not restored: no original backend is known")
	assert.Contains(t, out, "kept       page set "+w.namespace+"/"+defaultSet()+": "+ref.String()+" uses it")
	assert.True(t, restored(w.get(ingresses, "known")))
	w.until(configMaps, defaultSet(), "to stay", exists)
}

// TestRestoreOfSomeKinds: what is not named stays in maintenance, with its page set,
// its backup and its origin. So does a set that a backup alone names: its target may
// be about to be swapped.
func TestRestoreOfSomeKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(customPage("other", "page.html", "<h1>other</h1>"))
	other := setNamed("<h1>other</h1>")
	w.apply(ingressRoute("c"))
	w.annotate(ingressRoutes, "c", map[string]any{annotations.DefaultCustomPage: "other"})
	c := w.start()
	w.on(ingressRoutes, "c")
	w.until(ingressRoutes, "c", "active", state(annotations.Active))
	c.stop()
	w.inMaintenance(ingress("a"), ingressRoute("b"), service("s"))
	before := map[string]*unstructured.Unstructured{}
	for _, k := range []target.Kind{target.IngressRoute(), target.Service()} {
		for _, u := range w.list(k.Resource, "") {
			before[u.GetKind()+u.GetName()] = u.DeepCopy()
		}
	}
	w.edit(ingressRoutes, "c", func(u *unstructured.Unstructured) {
		u.Object["spec"] = w.parse(ingressRoute("c")).Object["spec"]
	})

	code, out := w.restoreCommand("--all", "--watch-namespaces="+w.namespace, "--targets=Ingress,ingress")
	require.Equal(t, 0, code, out)
	assert.Contains(t, out, "1 restored, 0 failed")
	assert.True(t, restored(w.get(ingresses, "a")))
	for _, k := range []target.Kind{target.IngressRoute(), target.Service()} {
		for _, u := range w.list(k.Resource, "") {
			if u.GetName() != "c" {
				assert.Equal(t, before[u.GetKind()+u.GetName()], u.DeepCopy(), "%s %s is not touched", u.GetKind(), u.GetName())
			}
		}
	}
	for _, ref := range []target.Ref{{Kind: "IngressRoute", Name: "b"}, {Kind: "IngressRoute", Name: "c"}, {Kind: "Service", Name: "s"}} {
		w.until(configMaps, backup.Name(ref), "to stay", exists)
	}
	w.until(services, origin.Name(target.Ref{Kind: "Service", Name: "s"}), "to stay", exists)
	for _, set := range []string{defaultSet(), other} {
		assert.Contains(t, out, "kept       page set "+w.namespace+"/"+set+": ")
		assert.Nil(t, w.get(configMaps, set).GetDeletionTimestamp(), "%s stays", set)
	}
}

// TestRestoreWithoutTheRightToLook: who may not list a kind cannot know whether it
// uses a page set, and deletes none.
func TestRestoreWithoutTheRightToLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.inMaintenance(ingress("a"), ingressRoute("b"))
	require.NoError(t, plane.Apply(t.Context(), []byte(strings.ReplaceAll(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: narrow, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: [configmaps, services], verbs: ["*"]}
- {apiGroups: [networking.k8s.io], resources: [ingresses], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: narrow, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: narrow}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: NAMESPACE}]
`, "NAMESPACE", w.namespace))))
	kubeconfig, err := plane.KubeconfigFor(w.namespace, "system:authenticated")
	require.NoError(t, err)
	code, out := w.restoreCommand("--kubeconfig="+kubeconfig, "--all", "--watch-namespaces="+w.namespace, "--targets=Ingress", "--remove-annotations")
	assert.Equal(t, 1, code, out)
	assert.Contains(t, out, "page sets are not deleted, since their users cannot be listed: list IngressRoute: ")
	assert.True(t, restored(w.get(ingresses, "a")))
	assert.NotEmpty(t, setsOf(w.get(ingressRoutes, "b")))
	assert.Nil(t, w.get(configMaps, defaultSet()).GetDeletionTimestamp(), "its page stays")
}

// TestRestoreTellsEachAsItFalls: one target that is tried again and again hides no
// other, and says why when the time is over; the rest is tidied all the same.
func TestRestoreTellsEachAsItFalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.inMaintenance(ingress("stuck"), ingressRoute("quick"))
	webhooks := w.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	nowhere, side, scope := "https://127.0.0.1:1/", admissionv1.SideEffectClassNone, admissionv1.NamespacedScope
	_, err := webhooks.Create(t.Context(), &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "nowhere.example.com", SideEffects: &side, AdmissionReviewVersions: []string{"v1"},
			ClientConfig:      admissionv1.WebhookClientConfig{URL: &nowhere},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{"networking.k8s.io"}, APIVersions: []string{"v1"}, Resources: []string{"ingresses"}, Scope: &scope},
			}},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := w.dynamic.Resource(ingresses).Namespace(w.namespace).Update(t.Context(), w.get(ingresses, "stuck"), metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsInternalError(err)
	}, patience, 50*time.Millisecond, "the API server knows of the webhook")

	code, out := w.restoreCommand("--all", "--watch-namespaces="+w.namespace, "--timeout=2s", "--scale-down=not-there")
	assert.Equal(t, 1, code, out)
	assert.Regexp(t, "FAILED     Ingress "+w.namespace+"/stuck: .*failed calling webhook", out)
	assert.Contains(t, out, "kept       page set "+w.namespace+"/"+defaultSet()+": Ingress "+w.namespace+"/stuck uses it")
	assert.NotContains(t, out, "context deadline exceeded", "what comes after the restore has time of its own")
	w.on(ingressRoutes, "quick") // once more

	said, says := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- w.restoreTo(says, "--all", "--watch-namespaces="+w.namespace, "--remove-annotations")
		_ = says.Close()
	}()
	lines := bufio.NewScanner(said)
	for lines.Scan() && !strings.Contains(lines.Text(), "IngressRoute "+w.namespace+"/quick") {
		continue // the lines before
	}
	assert.Contains(t, lines.Text(), "IngressRoute "+w.namespace+"/quick", "told while the other is still tried")
	require.NoError(t, webhooks.Delete(t.Context(), w.namespace, metav1.DeleteOptions{}))
	_, err = io.Copy(io.Discard, said)
	require.NoError(t, err)
	assert.Equal(t, 0, <-ended)
	assert.True(t, restored(w.get(ingresses, "stuck")))
}

// TestRestoreBesideAController: what asks for maintenance would be put in again.
func TestRestoreBesideAController(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kubeconfig, err := plane.KubeconfigFor("somebody", "system:masters")
	require.NoError(t, err)
	w.apply(ingress("my-app"))
	p := runProgram(t, kubeconfig, "--watch-namespaces="+w.namespace, "--namespace="+w.own)
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))

	code, out := w.restoreCommand("ingress/my-app", "-n", w.namespace)
	assert.Equal(t, 1, code, out)
	assert.Contains(t, out, "a controller works")
	assert.True(t, state(annotations.Active)(w.get(ingresses, "my-app")), "nothing is changed")

	code, out = w.restoreCommand("--all", "--watch-namespaces="+w.namespace, "--scale-down=the-controller", "--dry-run")
	assert.Equal(t, 0, code, out)
	assert.Contains(t, out, "would restore Ingress "+w.namespace+"/my-app", "by then none would work")
	assert.True(t, state(annotations.Active)(w.get(ingresses, "my-app")), "nothing is changed")

	code, out = w.restoreCommand("ingress/my-app", "-n", w.namespace, "--remove-annotations")
	assert.Equal(t, 0, code, out)
	assert.True(t, specIs(ingress("my-app"))(w.until(ingresses, "my-app", "restored", restored)))
	w.untilClean()
	assert.Equal(t, 0, p.Stop())
}

// TestRestoreScalesTheControllerDown: the Deployment is real, its Pods are played.
func TestRestoreScalesTheControllerDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.inMaintenance(ingress("my-app"))
	require.NoError(t, plane.Apply(t.Context(), []byte(strings.ReplaceAll(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: the-controller, namespace: OWN}
spec:
  replicas: 2
  selector: {matchLabels: {app: the-controller}}
  template:
    metadata: {labels: {app: the-controller}}
    spec: {containers: [{name: c, image: page}]}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: maintenance-controller, namespace: OWN}
spec: {holderIdentity: gone, leaseDurationSeconds: 1, renewTime: "2026-01-01T00:00:00.000000Z"}
`, "OWN", w.own))))
	deployments := schemaGVR{Group: "apps", Version: "v1", Resource: "deployments"}
	own := *w
	own.namespace = w.own
	own.until(deployments, "the-controller", "ready", func(u *unstructured.Unstructured) bool {
		n, _, _ := unstructured.NestedInt64(u.Object, "status", "readyReplicas")
		return n == 2
	})
	code, out := w.restoreCommand("--all", "--watch-namespaces="+w.namespace, "--scale-down=the-controller")
	require.Equal(t, 0, code, out)
	assert.True(t, specIs(ingress("my-app"))(w.get(ingresses, "my-app")))
	assert.Empty(t, own.list(corev1.SchemeGroupVersion.WithResource("pods"), "app=the-controller"))
	own.until(schemaGVR{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "maintenance-controller", "its end", absent)
	assert.Contains(t, out, "still annotated with maintenance/enabled: Ingress "+w.namespace+"/my-app")
	w.untilClean()
}

func TestRestoreRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	w := &world{T: t, own: "x"}
	for args, want := range map[string]string{
		"":                              "name a target, such as ingress/my-app, or say --all",
		"my-app":                        "is not KIND/NAME",
		"pod/my-app":                    "kind is not one of Ingress, IngressRoute, HTTPRoute, GRPCRoute, Service",
		"ingress/My_App":                "is no name",
		"--all ingress/my-app":          "not both",
		"--all -n shop":                 "use --watch-namespaces",
		"--scale-down=x ingress/my-app": "--scale-down is for --all",
		"--all --targets=Gateway":       "is not one of Ingress",
		"--all --timeout=0s":            "--timeout",
		"ingress.apps/my-app":           "kind is not one of",
	} {
		code, out := w.restoreCommand(strings.Fields(args)...)
		assert.Equal(t, 2, code, args)
		assert.Contains(t, out, want, args)
	}
	code, out := w.restoreCommand("--help")
	assert.Equal(t, 0, code)
	assert.Contains(t, out, "--dry-run")
}
