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

// The restore command ends maintenance without a controller.

// restoreCommand runs the command as a person with a kubeconfig does.
func (env *testEnv) restoreCommand(args ...string) (code int, out string) {
	env.Helper()
	var text bytes.Buffer
	code = env.restoreTo(&text, args...)
	return code, text.String()
}

func (env *testEnv) restoreTo(out io.Writer, args ...string) (code int) {
	env.Helper()
	kubeconfig, err := plane.KubeconfigFor("somebody", "system:masters")
	require.NoError(env, err)
	return app.Main(env.Context(), app.Process{
		Args: append([]string{"restore", "--kubeconfig=" + kubeconfig, installationFlag, "--controller-namespace=" + env.controllerNamespace, "--page-set-grace-period=10ms"}, args...),
		Env:  func(string) (string, bool) { return "", false }, Stdout: out, Stderr: out,
	})
}

// leaveInMaintenance puts objects in maintenance and then stops the controller.
func (env *testEnv) leaveInMaintenance(manifests ...string) {
	env.Helper()
	env.apply(manifests...)
	c := env.startController()
	for _, m := range manifests {
		u := env.parse(m)
		env.enable(resourceOf(u), u.GetName())
	}
	for _, m := range manifests {
		u := env.parse(m)
		env.waitFor(resourceOf(u), u.GetName(), "active", state(annotations.Active))
	}
	c.stop()
}

func TestRestoreOneTarget(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.leaveInMaintenance(ingress("my-app"), ingressRoute("my-app"))
	before := env.get(ingresses, "my-app")

	code, out := env.restoreCommand("--dry-run", "ingress/my-app", "-n", env.namespace)
	require.Equal(t, 0, code, out)
	for _, want := range []string{"-            name: " + defaultSet() + "\n+            name: app\n", "-    maintenance/original: "} {
		assert.Contains(t, out, want)
	}
	assert.Equal(t, before, env.get(ingresses, "my-app"), "a dry run changes nothing")

	code, out = env.restoreCommand("ingresses.networking.k8s.io/my-app", "-n", env.namespace)
	require.Equal(t, 0, code, out)
	assert.Contains(t, out, "restored   Ingress "+env.namespace+"/my-app")
	assert.Contains(t, out, "still annotated with maintenance/enabled: Ingress "+env.namespace+"/my-app")
	u := env.get(ingresses, "my-app")
	assert.True(t, restoredTo(ingress("my-app"))(u), "byte by byte")
	assert.Equal(t, map[string]string{annotations.DefaultEnabled: "true"}, u.GetAnnotations())
	assert.NotContains(t, env.owners(u), "maintenance-controller", "it owns nothing any more")
	env.waitFor(configMaps, backup.Name(target.Ref{Kind: "Ingress", Namespace: env.namespace, Name: "my-app"}), "deletion", absent)
	assert.NotEmpty(t, pageSetsOf(env.get(ingressRoutes, "my-app")), "no other target is changed")

	code, out = env.restoreCommand("ingress/my-app", "-n", env.namespace, "--remove-annotations")
	require.Equal(t, 0, code, out)
	assert.Empty(t, env.get(ingresses, "my-app").GetAnnotations())
	code, out = env.restoreCommand("ingress/my-app", "-n", env.namespace)
	require.Equal(t, 0, code, out)
	assert.Contains(t, out, "unchanged  Ingress")
}

func TestRestoreAll(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	manifests := []string{ingress("a"), ingressRoute("a"), service("s"), ingress("stripped")}
	env.leaveInMaintenance(manifests...)
	env.annotate(ingresses, "stripped", map[string]any{annotations.Original: nil, annotations.State: nil, annotations.Since: nil, annotations.PageSet: nil, annotations.DefaultEnabled: nil})
	env.apply(ingress("bystander"))
	env.enable(ingresses, "bystander") // requested while no controller runs

	code, out := env.restoreCommand("--all", "--watch-namespaces="+env.namespace, "--remove-annotations")
	require.Equal(t, 0, code, out)
	for _, m := range append(manifests, ingress("bystander")) {
		want := env.parse(m)
		u := env.get(resourceOf(want), want.GetName())
		assert.Empty(t, u.GetAnnotations(), "%s %s", u.GetKind(), u.GetName())
		assert.True(t, restored(u), "%s %s", u.GetKind(), u.GetName())
		if u.GetKind() != "Service" { // the API server adds addresses to a Service's spec
			assert.True(t, restoredTo(m)(u), "%s %s", u.GetKind(), u.GetName())
		} else {
			assert.True(t, leadsToApp(m)(u))
		}
	}
	assert.Contains(t, out, "deleted    page set "+env.namespace+"/"+defaultSet())
	assert.Contains(t, out, "5 restored, 0 failed")
	env.waitForCleanup()
	code, out = env.restoreCommand("--all", "--watch-namespaces="+env.namespace)
	require.Equal(t, 0, code, out)
	assert.Contains(t, out, "0 restored, 0 failed", "a second run does nothing")
}

// TestRestoreReportsWhatItCannotRestore: other targets are restored. This one is named and
// keeps its page, and the exit code is 1.
func TestRestoreReportsWhatItCannotRestore(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.leaveInMaintenance(ingress("known"), ingress("lost"))
	ref := target.Ref{Kind: "Ingress", Namespace: env.namespace, Name: "lost"}
	env.allowLoss(ref)
	require.NoError(t, env.client.CoreV1().ConfigMaps(env.namespace).Delete(t.Context(), backup.Name(ref), metav1.DeleteOptions{}))
	env.annotate(ingresses, "lost", map[string]any{annotations.Original: nil})

	code, out := env.restoreCommand("--all", "--watch-namespaces="+env.namespace, "--remove-annotations", "--timeout=20s")
	assert.Equal(t, 1, code, out)
	assert.Contains(t, out, "FAILED     "+ref.String()+": not restored: no original backend is known")
	assert.Contains(t, out, "kept       page set "+env.namespace+"/"+defaultSet()+": "+ref.String()+" uses it")
	assert.True(t, restored(env.get(ingresses, "known")))
	env.waitFor(configMaps, defaultSet(), "still there", exists)
}

// TestRestoreSomeKinds: targets of other kinds stay in maintenance, with page set, backup
// and origin. A page set that only a backup names stays as well, because its target may be
// about to be swapped.
func TestRestoreSomeKinds(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(customPage("other", "page.html", "<h1>other</h1>"))
	other := setOfPage("<h1>other</h1>")
	env.apply(ingressRoute("c"))
	env.annotate(ingressRoutes, "c", map[string]any{annotations.DefaultCustomPage: "other"})
	c := env.startController()
	env.enable(ingressRoutes, "c")
	env.waitFor(ingressRoutes, "c", "active", state(annotations.Active))
	c.stop()
	env.leaveInMaintenance(ingress("a"), ingressRoute("b"), service("s"))
	before := map[string]*unstructured.Unstructured{}
	for _, k := range []target.Kind{target.IngressRoute(), target.Service()} {
		for _, u := range env.list(k.Resource, "") {
			before[u.GetKind()+u.GetName()] = u.DeepCopy()
		}
	}
	env.edit(ingressRoutes, "c", func(u *unstructured.Unstructured) {
		u.Object["spec"] = env.parse(ingressRoute("c")).Object["spec"]
	})

	code, out := env.restoreCommand("--all", "--watch-namespaces="+env.namespace, "--targets=Ingress,ingress")
	require.Equal(t, 0, code, out)
	assert.Contains(t, out, "1 restored, 0 failed")
	assert.True(t, restored(env.get(ingresses, "a")))
	for _, k := range []target.Kind{target.IngressRoute(), target.Service()} {
		for _, u := range env.list(k.Resource, "") {
			if u.GetName() != "c" {
				assert.Equal(t, before[u.GetKind()+u.GetName()], u.DeepCopy(), "%s %s is not changed", u.GetKind(), u.GetName())
			}
		}
	}
	for _, ref := range []target.Ref{{Kind: "IngressRoute", Name: "b"}, {Kind: "IngressRoute", Name: "c"}, {Kind: "Service", Name: "s"}} {
		env.waitFor(configMaps, backup.Name(ref), "still there", exists)
	}
	env.waitFor(services, origin.Name(target.Ref{Kind: "Service", Name: "s"}), "still there", exists)
	for _, set := range []string{defaultSet(), other} {
		assert.Contains(t, out, "kept       page set "+env.namespace+"/"+set+": ")
		assert.Nil(t, env.get(configMaps, set).GetDeletionTimestamp(), "%s stays", set)
	}
}

// TestRestoreWithoutListRights: page sets are not deleted if their users cannot be listed.
func TestRestoreWithoutListRights(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.leaveInMaintenance(ingress("a"), ingressRoute("b"))
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
`, "NAMESPACE", env.namespace))))
	kubeconfig, err := plane.KubeconfigFor(env.namespace, "system:authenticated")
	require.NoError(t, err)
	env.waitForRole(kubeconfig)
	code, out := env.restoreCommand("--kubeconfig="+kubeconfig, "--all", "--watch-namespaces="+env.namespace, "--targets=Ingress", "--remove-annotations")
	assert.Equal(t, 1, code, out)
	assert.Contains(t, out, "page sets are not deleted because their users cannot be listed: list IngressRoute: ")
	assert.True(t, restored(env.get(ingresses, "a")))
	assert.NotEmpty(t, pageSetsOf(env.get(ingressRoutes, "b")))
	assert.Nil(t, env.get(configMaps, defaultSet()).GetDeletionTimestamp(), "its page stays")
}

// TestRestoreReportsEachTargetAtOnce: a target that is retried does not delay the report of
// others, and its error is reported at the timeout. Everything else is cleaned up.
func TestRestoreReportsEachTargetAtOnce(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.leaveInMaintenance(ingress("stuck"), ingressRoute("quick"))
	webhooks := env.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	nowhere, side, scope := "https://127.0.0.1:1/", admissionv1.SideEffectClassNone, admissionv1.NamespacedScope
	_, err := webhooks.Create(t.Context(), &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: env.namespace},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "nowhere.example.com", SideEffects: &side, AdmissionReviewVersions: []string{"v1"},
			ClientConfig:      admissionv1.WebhookClientConfig{URL: &nowhere},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: env.namespace}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{"networking.k8s.io"}, APIVersions: []string{"v1"}, Resources: []string{"ingresses"}, Scope: &scope},
			}},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := env.dynamic.Resource(ingresses).Namespace(env.namespace).Update(t.Context(), env.get(ingresses, "stuck"), metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsInternalError(err)
	}, waitTimeout, 50*time.Millisecond, "the API server knows of the webhook")

	code, out := env.restoreCommand("--all", "--watch-namespaces="+env.namespace, "--timeout=20s", "--scale-down=not-there")
	assert.Equal(t, 1, code, out)
	assert.Regexp(t, "FAILED     Ingress "+env.namespace+"/stuck: .*failed calling webhook", out)
	assert.Contains(t, out, "kept       page set "+env.namespace+"/"+defaultSet()+": Ingress "+env.namespace+"/stuck uses it")
	assert.NotContains(t, out, "context deadline exceeded", "the cleanup has its own timeout")
	env.enable(ingressRoutes, "quick") // again

	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- env.restoreTo(writer, "--all", "--watch-namespaces="+env.namespace, "--remove-annotations")
		_ = writer.Close()
	}()
	lines := bufio.NewScanner(reader)
	for lines.Scan() && !strings.Contains(lines.Text(), "IngressRoute "+env.namespace+"/quick") {
		continue // skip earlier lines
	}
	assert.Contains(t, lines.Text(), "IngressRoute "+env.namespace+"/quick", "reported while the other one is retried")
	require.NoError(t, webhooks.Delete(t.Context(), env.namespace, metav1.DeleteOptions{}))
	_, err = io.Copy(io.Discard, reader)
	require.NoError(t, err)
	assert.Equal(t, 0, <-ended)
	assert.True(t, restored(env.get(ingresses, "stuck")))
}

// TestRestoreWhileAControllerRuns: it would put annotated targets in maintenance again.
func TestRestoreWhileAControllerRuns(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	kubeconfig, err := plane.KubeconfigFor("somebody", "system:masters")
	require.NoError(t, err)
	env.apply(ingress("my-app"))
	p := startProcess(t, kubeconfig, "--watch-namespaces="+env.namespace, "--namespace="+env.controllerNamespace)
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))

	code, out := env.restoreCommand("ingress/my-app", "-n", env.namespace)
	assert.Equal(t, 1, code, out)
	assert.Contains(t, out, "a running controller")
	assert.True(t, state(annotations.Active)(env.get(ingresses, "my-app")), "nothing changed")

	code, out = env.restoreCommand("--all", "--watch-namespaces="+env.namespace, "--scale-down=the-controller", "--dry-run")
	assert.Equal(t, 0, code, out)
	assert.Contains(t, out, "would restore Ingress "+env.namespace+"/my-app", "it would be scaled down by then")
	assert.True(t, state(annotations.Active)(env.get(ingresses, "my-app")), "nothing changed")

	code, out = env.restoreCommand("ingress/my-app", "-n", env.namespace, "--remove-annotations")
	assert.Equal(t, 0, code, out)
	assert.True(t, restoredTo(ingress("my-app"))(env.waitFor(ingresses, "my-app", "restored", restored)))
	env.waitForCleanup()
	assert.Equal(t, 0, p.Stop())
}

// TestRestoreScalesTheControllerDown with a real Deployment, whose Pods are fakes.
func TestRestoreScalesTheControllerDown(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.leaveInMaintenance(ingress("my-app"))
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
`, "OWN", env.controllerNamespace))))
	deployments := schemaGVR{Group: "apps", Version: "v1", Resource: "deployments"}
	own := *env
	own.namespace = env.controllerNamespace
	own.waitFor(deployments, "the-controller", "ready", func(u *unstructured.Unstructured) bool {
		n, _, _ := unstructured.NestedInt64(u.Object, "status", "readyReplicas")
		return n == 2
	})
	code, out := env.restoreCommand("--all", "--watch-namespaces="+env.namespace, "--scale-down=the-controller")
	require.Equal(t, 0, code, out)
	assert.True(t, restoredTo(ingress("my-app"))(env.get(ingresses, "my-app")))
	assert.Empty(t, own.list(corev1.SchemeGroupVersion.WithResource("pods"), "app=the-controller"))
	own.waitFor(schemaGVR{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "maintenance-controller", "deletion", absent)
	assert.Contains(t, out, "still annotated with maintenance/enabled: Ingress "+env.namespace+"/my-app")
	env.waitForCleanup()
}

func TestRestoreRejectsBadArguments(t *testing.T) {
	t.Parallel()
	env := &testEnv{T: t, controllerNamespace: "x"}
	for args, want := range map[string]string{
		"":                              "name a target, such as ingress/my-app, or give --all",
		"my-app":                        "is not KIND/NAME",
		"pod/my-app":                    "kind is not one of Ingress, IngressRoute, HTTPRoute, GRPCRoute, Service",
		"ingress/My_App":                "is not a name",
		"--all ingress/my-app":          "not both",
		"--all -n shop":                 "use --watch-namespaces",
		"--scale-down=x ingress/my-app": "--scale-down needs --all",
		"--all --targets=Gateway":       "is not one of Ingress",
		"--all --timeout=0s":            "--timeout",
		"ingress.apps/my-app":           "kind is not one of",
	} {
		code, out := env.restoreCommand(strings.Fields(args)...)
		assert.Equal(t, 2, code, args)
		assert.Contains(t, out, want, args)
	}
	code, out := env.restoreCommand("--help")
	assert.Equal(t, 0, code)
	assert.Contains(t, out, "--dry-run")
}
