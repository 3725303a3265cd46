package scripts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/controllerproc"
)

// watchOnly returns flags for a controller that only watches one namespace, so that it leaves the
// targets of other tests alone.
func watchOnly(namespace string) []string {
	return []string{"--leader-elect=false", "--watch-namespaces=" + namespace}
}

func TestWaitForStates(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-wait")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	startController(t, plane.Kubeconfig(), watchOnly("readme-wait")...)
	p.run(block(t, "wait"))
	assert.Contains(t, p.run(fmt.Sprintf(specOf, "ingress/my-app")), `"name":"my-app"`)
	p.run("kubectl annotate ingress my-app maintenance/enabled=true")
	p.untilState("ingress/my-app", "active")
	out := p.run(block(t, "one-liner"))
	assert.Regexp(t, `(?m)^Ingress readme-wait/my-app active since 20\d\d-`, out)
	assert.NotContains(t, out, "readme-wait/shop", "lists a target that is not in maintenance")
}

func TestCustomPage(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-page")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	p.runWith(block(t, "page"), "kubectl apply -f -")
	t.Cleanup(func() { _, _ = p.try("kubectl -n maintenance-system delete configmap page-spring") })
	startController(t, plane.Kubeconfig(), watchOnly("readme-page")...)
	p.run("kubectl annotate ingress my-app maintenance/enabled=true maintenance/custom-page=spring")
	p.untilState("ingress/my-app", "active")
	p.until("kubectl get events --field-selector reason=MaintenanceStarted -o custom-columns=M:.message", func(out string) bool {
		return strings.Contains(out, `page "spring"`)
	})
}

func TestRestoreByCommand(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-restore-command")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	before := p.run(fmt.Sprintf(specOf, "ingress/my-app"))
	stop := startController(t, plane.Kubeconfig(), watchOnly("readme-restore-command")...)
	p.run("kubectl annotate ingress/my-app maintenance/enabled=true")
	p.untilState("ingress/my-app", "active")
	stop()
	path, err := controllerproc.Path()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(path, filepath.Join(bin, "maintenance-controller")))
	out := p.run("PATH=" + bin + ":$PATH\n" + block(t, "restore-command"))
	assert.Contains(t, out, "+            name: my-app")
	assert.Contains(t, out, "restored   Ingress readme-restore-command/my-app")
	assert.Equal(t, before, p.run(fmt.Sprintf(specOf, "ingress/my-app")))
}

func TestRestoreByHand(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-restore")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	before := map[string]string{}
	for _, object := range []string{"ingress/my-app", "ingressroute/shop"} {
		before[object] = p.run(fmt.Sprintf(specOf, object))
	}
	stop := startController(t, plane.Kubeconfig(), watchOnly("readme-restore")...)
	for object := range before {
		p.run("kubectl annotate " + object + " maintenance/enabled=true")
		p.untilState(object, "active")
	}
	stop()

	for line := range strings.Lines(p.run(block(t, "restore-read"))) {
		assert.Contains(t, line, `"value":{"service":{"name":"my-app","port":{"number":80}}}`)
	}
	p.run(block(t, "restore-write"))
	p.run(block(t, "restore-finish"))
	for object, spec := range before {
		assert.Equal(t, spec, p.run(fmt.Sprintf(specOf, object)), object)
		assert.NotContains(t, p.run("kubectl get "+object+" -o jsonpath='{.metadata.annotations}'"), "maintenance/")
	}
	p.until("kubectl get configmaps,services,poddisruptionbudgets -l app.kubernetes.io/managed-by=maintenance-controller -o name",
		func(out string) bool { return out == "" })

	// A controller that starts again has nothing to do. It also cleans up after a restore that
	// stopped before step 5.
	p.run("kubectl annotate ingress my-app maintenance/state=active maintenance/page-set=maintenance-0123456789abcdef")
	startController(t, plane.Kubeconfig(), watchOnly("readme-restore")...)
	p.untilState("ingress/my-app", "")
	assert.Equal(t, before["ingress/my-app"], p.run(fmt.Sprintf(specOf, "ingress/my-app")))
}

// TestRestoreFromManifest: the command for whoever has the manifest restores the target and everything
// in it, where a client-side apply does not.
func TestRestoreFromManifest(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-restore-manifest")
	p.dir = t.TempDir()
	for object, manifest := range map[string]string{
		"ingress/my-app": `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: my-app}
spec:
  rules: [{host: my-app.localhost, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: my-app, port: {number: 80}}}}]}}]
`, "ingressroute/shop": `
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: shop}
spec: {routes: [{kind: Rule, match: Host("shop.localhost"), services: [{name: shop, port: 80}]}]}
`, "service/my-app": `
apiVersion: v1
kind: Service
metadata: {name: my-app}
spec: {selector: {app: my-app}, ports: [{port: 80}]}
`,
	} {
		t.Run(object, func(t *testing.T) {
			q := *p
			q.T = t
			require.NoError(t, os.WriteFile(filepath.Join(q.dir, "manifest.yaml"), []byte(strings.ReplaceAll(manifest, `("shop.localhost")`, "(`shop.localhost`)")), 0o600))
			q.run("kubectl apply -f manifest.yaml")
			before := q.run(fmt.Sprintf(specOf, object))
			stop := startController(t, plane.Kubeconfig(), append(watchOnly("readme-restore-manifest"), "--targets=Ingress,IngressRoute,Service")...)
			q.run("kubectl annotate " + object + " maintenance/enabled=true")
			q.untilState(object, "active")
			stop()
			q.run("kubectl apply -f manifest.yaml")
			if object == "service/my-app" {
				assert.NotEqual(t, before, q.run(fmt.Sprintf(specOf, object)), "a client-side apply is enough: docs/restore.md need not warn of it")
			}
			q.run(block(t, "restore-manifest"))
			assert.Equal(t, before, q.run(fmt.Sprintf(specOf, object)))
			assert.NotContains(t, q.run("kubectl get "+object+" -o jsonpath='{.metadata.annotations}'"), "maintenance/")
		})
	}
	// A controller that comes back cleans up.
	startController(t, plane.Kubeconfig(), append(watchOnly("readme-restore-manifest"), "--targets=Ingress,IngressRoute,Service")...)
	p.until("kubectl get configmaps -l app.kubernetes.io/component=backup -o name", func(out string) bool { return out == "" })
}

// installManifest applies the manifest with the command in docs/install.md. At the end it waits until
// all of it is gone: nothing can be created in a namespace that is being deleted.
func installManifest(p *person) {
	p.Helper()
	p.run(block(p.T, "install"))
	p.Cleanup(func() { p.run("kubectl delete -f deploy/manifests/install.yaml --ignore-not-found") })
}

func TestInstall(t *testing.T) {
	p := newPerson(t)
	installManifest(p)
	out := p.run("kubectl -n maintenance-system get deployment maintenance-controller -o jsonpath='{.spec.template.spec.containers[0]}'")
	assert.Equal(t, 2, strings.Count(out, "registry.example/maintenance-controller:v1"), out)
	assert.NotContains(t, out, ":dev")
}

// TestInstallWithHelm runs the helm command in docs/install.md, which reads a page from a file.
func TestInstallWithHelm(t *testing.T) {
	p := newPerson(t)
	p.dir = t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(root(t), "deploy"), filepath.Join(p.dir, "deploy")))
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "spring.html"), []byte("<h1>Spring, cleaning</h1>"), 0o600))
	p.run(block(t, "install-helm"))
	t.Cleanup(func() {
		p.run("helm --namespace maintenance-system uninstall maintenance-controller --no-hooks; kubectl delete namespace maintenance-system")
	})
	out := p.run("kubectl -n maintenance-system get deployment maintenance-controller -o jsonpath='{.spec.template.spec.containers[0]}'")
	assert.Equal(t, 2, strings.Count(out, "registry.example/maintenance-controller:v1"), out)
	page := p.run("kubectl -n maintenance-system get configmap -l maintenance/custom-page=spring -o jsonpath='{.items[*].data}'")
	assert.Equal(t, `{"page.html":"<h1>Spring, cleaning</h1>"}`, strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(page))
	out = p.run("helm template deploy/chart --set metrics.prometheusRule.enabled=true --show-only templates/metrics.yaml")
	assert.Contains(t, out, "alert: LongMaintenance")
}

// TestWatchedNamespacesOnly runs the controller with only the rights in docs/install.md.
func TestWatchedNamespacesOnly(t *testing.T) {
	p := newPerson(t)
	installManifest(p)
	p.traefik()
	p.inNamespace("shop")
	p.runWith(block(t, "namespaced"), "kubectl apply -f -")
	p.run(block(t, "namespaced-switch"))
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	p.runWith(strings.ReplaceAll(block(t, "page"), "page-spring", "page-x"), "kubectl apply -f -")
	kubeconfig, err := plane.KubeconfigFor("system:serviceaccount:maintenance-system:maintenance-controller", "system:serviceaccounts")
	require.NoError(t, err)
	startController(t, kubeconfig, "--watch-namespaces=shop")
	p.run("kubectl annotate ingress my-app maintenance/enabled=true maintenance/custom-page=spring; kubectl annotate ingressroute shop maintenance/enabled=true")
	p.untilState("ingress/my-app", "active")
	p.untilState("ingressroute/shop", "active")
	p.run("kubectl annotate ingress/my-app ingressroute/shop maintenance/enabled-")
	p.untilState("ingress/my-app", "")
	p.untilState("ingressroute/shop", "")
	p.until("kubectl get configmaps -l app.kubernetes.io/managed-by=maintenance-controller -o name", func(out string) bool { return out == "" })
	allowed, _ := p.try("kubectl auth can-i list configmaps -n default --kubeconfig " + kubeconfig)
	assert.Equal(t, "no\n", allowed)
}

// TestKubectlApplyDuringMaintenance tests what docs/gitops.md says about kubectl apply.
func TestKubectlApplyDuringMaintenance(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-gitops")
	const serverSide = "kubectl apply --server-side --field-manager=gitops -f e2e/demo/apps.yaml"
	p.run(serverSide)
	startController(t, plane.Kubeconfig(), watchOnly("readme-gitops")...)
	before := p.run(fmt.Sprintf(specOf, "ingress/my-app"))
	p.run("kubectl annotate ingress my-app maintenance/enabled=true")
	p.untilState("ingress/my-app", "active")

	out, err := p.try(serverSide)
	require.Error(t, err)
	assert.Contains(t, out, `conflict with "maintenance-controller"`)
	assert.Contains(t, out, ".spec.rules")

	p.run(serverSide + " --force-conflicts")
	p.until("kubectl get events --field-selector reason=BackendReverted -o custom-columns=M:.message", func(out string) bool {
		return strings.Contains(out, `"gitops"`)
	})
	p.until(fmt.Sprintf(specOf, "ingress/my-app"), func(out string) bool { return strings.Contains(out, `"maintenance-`) })

	p.run("kubectl annotate ingress my-app maintenance/enabled-")
	p.untilState("ingress/my-app", "")
	assert.Equal(t, before, p.run(fmt.Sprintf(specOf, "ingress/my-app")))
	p.run(serverSide)
}

// TestHelmSwitchesMaintenance runs the helm commands in docs/gitops.md on a chart with the annotation
// in its values.
func TestHelmSwitchesMaintenance(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("readme-helm")
	p.dir = t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(p.dir, "chart", "templates"), 0o700))
	for file, text := range map[string]string{
		"Chart.yaml":  "{apiVersion: v2, name: app, version: 1.0.0}",
		"values.yaml": "ingress: {annotations: {team: shop}}",
		"templates/ingress.yaml": `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .Release.Name }}
  annotations: {{- toYaml .Values.ingress.annotations | nindent 4 }}
spec:
  rules: [{host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}]
`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(p.dir, "chart", file), []byte(text), 0o600))
	}
	startController(t, plane.Kubeconfig(), watchOnly("readme-helm")...)
	p.run("helm install my-app ./chart")
	before := p.run(fmt.Sprintf(specOf, "ingress/my-app"))
	p.run(block(t, "helm-on"))
	assert.Contains(t, p.run(fmt.Sprintf(specOf, "ingress/my-app")), `"maintenance-`)
	p.run(block(t, "helm-off"))
	p.untilState("ingress/my-app", "")
	assert.Equal(t, before, p.run(fmt.Sprintf(specOf, "ingress/my-app")))
}
