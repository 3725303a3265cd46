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

// Without nodes no Job runs: in these tests the program restores. TestScriptsOnNodes tests the
// hook and the Job.

// restoreProgram returns the path of a wrapper of maintenance-controller with a short grace period.
func (p *person) restoreProgram() string {
	p.Helper()
	path, err := controllerproc.Path()
	require.NoError(p, err)
	wrapper := filepath.Join(p.TempDir(), "maintenance-controller")
	text := "#!/bin/sh\nexec " + path + ` "$@" --page-set-grace-period=100ms` + "\n"
	require.NoError(p, os.WriteFile(wrapper, []byte(text), 0o700))
	return wrapper
}

// putInMaintenance puts the demo's Ingress and IngressRoute in a new namespace in maintenance, with
// a controller of the installation id that only watches this namespace, and stops the controller.
func (p *person) putInMaintenance(namespace, id string) (spec string) {
	p.Helper()
	p.traefik()
	p.inNamespace(namespace)
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	spec = p.run(fmt.Sprintf(specOf, "ingress/my-app"))
	stop := startController(p.T, plane.Kubeconfig(), append(watchOnly(namespace), "--installation-id="+id)...)
	p.run("kubectl annotate ingress my-app maintenance/enabled=true; kubectl annotate ingressroute shop maintenance/enabled=true")
	p.untilState("ingress/my-app", "active")
	p.untilState("ingressroute/shop", "active")
	stop()
	return spec
}

// checkerCRD stays after an uninstall, so that people's ServiceCheckers are not deleted.
const checkerCRD = "customresourcedefinition.apiextensions.k8s.io/servicecheckers.maintenance-controller.io\n"

// refuseUpdates makes the API server refuse updates of the namespace's Ingresses. The function that
// it returns allows them again.
func (p *person) refuseUpdates(namespace string) (allow func()) {
	p.Helper()
	const probe = "kubectl label ingress my-app probe=x --overwrite --dry-run=server"
	p.runWith(strings.ReplaceAll(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAME}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [networking.k8s.io], apiVersions: [v1], operations: [UPDATE], resources: [ingresses]}]
  validations: [{expression: "object.metadata.namespace != 'NAME'", message: nobody may}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAME}
spec: {policyName: NAME, validationActions: [Deny]}
`, "NAME", namespace), "kubectl apply -f -")
	p.until(probe+" 2>&1 || true", func(out string) bool { return strings.Contains(out, "nobody may") })
	return func() {
		p.Helper()
		p.run("kubectl delete validatingadmissionpolicybinding,validatingadmissionpolicy " + namespace)
		p.until(probe, func(string) bool { return true })
	}
}

func TestUninstallManifests(t *testing.T) {
	p := newPerson(t)
	p.removeAtEnd("from-manifests")
	p.run("IMAGE=" + testImage + " NAMESPACE=from-manifests scripts/quick-install.sh --manifests")
	p.run("sed s/maintenance-system/from-manifests/ deploy/manifests/service-targets.yaml | kubectl apply -f -")
	p.run("kubectl -n from-manifests set env deployment/maintenance-controller MAINTENANCE_WATCH_NAMESPACES=in-maintenance")
	p.runWith(strings.ReplaceAll(block(t, "page"), "maintenance-system", "from-manifests"), "kubectl apply -f -")
	before := p.putInMaintenance("in-maintenance", "from-manifests/maintenance-controller")
	path := p.restoreProgram()
	uninstall := "scripts/uninstall.sh from-manifests --program " + path

	// It does not end maintenance without confirmation.
	out := p.mustFail(1, uninstall+" </dev/null")
	assert.Contains(t, out, "Found Deployment maintenance-controller in namespace from-manifests, from manifests.")
	assert.Contains(t, out, "  Ingress in-maintenance/my-app (active)\n")
	assert.Contains(t, out, "use --yes")
	out = p.mustFail(1, `script -qec "`+uninstall+`" /dev/null <<<n`)
	assert.Contains(t, out, "nothing was done", "answered n on a terminal")
	out = p.run(uninstall + " --remove-annotations --remove-namespace --dry-run")
	for _, want := range []string{
		"would scale Deployment from-manifests/maintenance-controller to 0", "+            name: my-app", "delete deployments,",
		"annotate ingressroutes.traefik.io shop maintenance/enabled- maintenance/custom-page-", "delete namespace from-manifests", "Nothing was changed.",
	} {
		assert.Contains(t, out, want)
	}
	assert.Equal(t, "2", p.deployed("from-manifests", ".spec.replicas"))
	p.untilState("ingress/my-app", "active")

	// A target that cannot be restored is named, and only the controller's Pods are removed.
	allow := p.refuseUpdates("in-maintenance")
	out = p.mustFail(1, uninstall+" --yes")
	assert.Regexp(t, `FAILED +Ingress in-maintenance/my-app: .*nobody may`, out)
	assert.Contains(t, out, "Still in maintenance:\n  Ingress in-maintenance/my-app (active)\n")
	assert.Contains(t, out, "kubectl -n from-manifests scale deployment maintenance-controller --replicas=2")
	assert.Equal(t, "0", p.deployed("from-manifests", ".spec.replicas"))
	p.untilState("ingressroute/shop", "")

	allow()
	out = p.run(uninstall + " --yes")
	assert.Contains(t, out, "Still annotated with maintenance/enabled")
	assert.Contains(t, out, "  Ingress in-maintenance/my-app\n  IngressRoute in-maintenance/shop\n")
	assert.Contains(t, out, "Namespace from-manifests stays, with the pages page-spring")
	assert.Equal(t, before, p.run(fmt.Sprintf(specOf, "ingress/my-app")))
	left := "for file in install service-targets; do sed s/maintenance-system/from-manifests/ deploy/manifests/$file.yaml; echo ---; done | kubectl get -f - --ignore-not-found -o name"
	assert.Equal(t, "namespace/from-manifests\n"+checkerCRD, p.run(left))

	// Run it again to remove more. No program is needed, since nothing is in maintenance.
	out = p.run("scripts/uninstall.sh from-manifests --remove-annotations --remove-namespace")
	assert.Contains(t, out, "not installed in namespace from-manifests")
	assert.NotContains(t, p.run("kubectl get ingress/my-app ingressroute/shop -o jsonpath='{.items[*].metadata.annotations}'"), "maintenance/")
	p.mustFail(1, "kubectl get namespace from-manifests")
	p.run("scripts/uninstall.sh from-manifests --remove-annotations --remove-namespace")
}

// TestUninstallHelmRelease uninstalls a release with another name and other settings.
func TestUninstallHelmRelease(t *testing.T) {
	p := newPerson(t)
	p.removeAtEnd("from-helm")
	before := p.putInMaintenance("helms-shop", "from-helm/mine-maintenance-controller")
	p.run("kubectl annotate ingress/my-app ingressroute/shop maintenance/enabled- example.com/down=yes")
	p.run("helm install mine deploy/chart -n from-helm --create-namespace --wait --set image.repository=registry.example/mc,image.tag=v1," +
		"controller.watchNamespaces={helms-shop},controller.annotations.enabled=example.com/down,controller.annotations.enabledValue=yes")
	path := p.restoreProgram()

	out := p.run("scripts/uninstall.sh from-helm --dry-run")
	assert.Contains(t, out, "Found Helm release mine in namespace from-helm.")
	assert.Contains(t, out, "would run: helm uninstall mine --namespace from-helm --wait --timeout 300s\n", "the hook restores")
	assert.Contains(t, p.mustFail(1, "scripts/uninstall.sh wrong --yes"), "is not in namespace wrong, but in:\n  from-helm\n")

	out = p.run("scripts/uninstall.sh from-helm --yes --program " + path)
	assert.Contains(t, out, "Still annotated with example.com/down")
	assert.Equal(t, before, p.run(fmt.Sprintf(specOf, "ingress/my-app")))
	assert.Empty(t, p.run("helm list -n from-helm --all --short"))
	assert.Empty(t, p.run("kubectl get clusterroles,clusterrolebindings -l app.kubernetes.io/instance=mine -o name"))
	p.run("scripts/uninstall.sh from-helm")
}

// TestUninstallRenderedChart uninstalls the chart as rendered by `helm template`, which is what
// Argo CD applies: with another name and with all optional objects. Only its labels mention Helm.
func TestUninstallRenderedChart(t *testing.T) {
	p := newPerson(t)
	p.run("kubectl create namespace rendered; kubectl create namespace served")
	p.Cleanup(func() { _, _ = p.try("kubectl delete namespace --wait=false rendered served") })
	const render = "helm template x deploy/chart --namespace rendered --set image.repository=registry.example/mc,image.tag=v1,maintenance.customPages.spring.text=spring,metrics.grafanaDashboard.enabled=true"
	for _, settings := range []string{"", ",controller.watchNamespaces={served}"} {
		p.run(render + settings + " | kubectl apply -f -")
		p.runWith(strings.ReplaceAll(block(t, "page"), "maintenance-system", "rendered"), "kubectl apply -f -")
		// Objects that must stay: of another chart with the same instance label, and of a Helm release.
		p.run("kubectl -n rendered create serviceaccount other; kubectl -n rendered label serviceaccount other app.kubernetes.io/instance=x app.kubernetes.io/name=other")
		p.run("kubectl create clusterrole helms --verb=get --resource=pods; kubectl label clusterrole helms app.kubernetes.io/instance=x app.kubernetes.io/name=maintenance-controller; " +
			"kubectl annotate clusterrole helms meta.helm.sh/release-name=x")
		p.Cleanup(func() { _, _ = p.try("kubectl delete clusterrole helms") })

		out := p.run("scripts/uninstall.sh rendered --program " + p.restoreProgram())
		assert.Contains(t, out, "Found Deployment x-maintenance-controller in namespace rendered, from manifests.")
		assert.Contains(t, out, "Namespace rendered stays, with the pages page-spring (")
		assert.Equal(t, checkerCRD, p.run(render+settings+" | kubectl get -f - --ignore-not-found -o name"))
		p.run("kubectl -n rendered delete serviceaccount other")
		p.run("kubectl delete clusterrole helms")
	}
}

func TestUninstallUsageErrors(t *testing.T) {
	p := newPerson(t)
	const script = "scripts/uninstall.sh"
	assert.Contains(t, p.run(script+" --help"), "Usage:")
	for flags, say := range map[string]string{
		"a b":                            `unknown argument "b"`,
		"--nonsense":                     "unknown argument",
		"--release":                      "--release needs a value",
		"a_b":                            "is not a valid namespace",
		"--timeout 0s":                   "is not a number of seconds",
		"kube-system --remove-namespace": "does not delete namespace kube-system",
	} {
		assert.Contains(t, p.mustFail(2, script+" "+flags), say, flags)
	}
	assert.Contains(t, p.mustFail(1, script+" --kubeconfig /nonexistent"), "no cluster answers")
	assert.Contains(t, p.mustFail(1, script+" --program /nonexistent"), "does not run on this machine")

	// Targets are in maintenance, but there is no controller.
	p.putInMaintenance("left-alone", "nothing-here/maintenance-controller")
	assert.Contains(t, p.run(script+" another --yes"), "Nothing is in maintenance.", "the targets belong to another installation")
	p.untilState("ingress/my-app", "active")
	assert.Contains(t, p.mustFail(1, script+" nothing-here --yes"), "use --program")
	path := p.restoreProgram()
	p.run(script + " nothing-here --yes --remove-annotations --program " + path)
	p.untilState("ingress/my-app", "")

	p.removeAtEnd("helmless")
	p.run("IMAGE=" + testImage + " NAMESPACE=helmless scripts/quick-install.sh")
	p.onlyPrograms("kubectl", "sort", "cut", "date")
	assert.Contains(t, p.mustFail(1, script+" helmless"), "Helm installed release maintenance-controller, but helm is not installed here")
	p.onlyPrograms()
	assert.Contains(t, p.mustFail(1, script), "kubectl is not installed")
	p.environment = append(p.environment, "PATH="+os.Getenv("PATH"))
}
