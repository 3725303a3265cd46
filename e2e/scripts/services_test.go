package scripts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const serviceBackend = "kubectl get service my-app -o jsonpath='{.spec.selector} {.spec.ports[*].targetPort}'"

// TestServices runs the documented commands for Services, with the rights and the setting that
// they give, and kubectl apply, which sends merge patches.
func TestServices(t *testing.T) {
	p := newPerson(t)
	installManifest(p)
	p.traefik()
	p.inNamespace("readme-services")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	before := p.run(serviceBackend)
	p.run(block(t, "service-targets"))
	t.Cleanup(func() { _, _ = p.try("kubectl delete -f deploy/manifests/service-targets.yaml") })
	targets := p.run("kubectl -n maintenance-system get deployment maintenance-controller -o jsonpath='{.spec.template.spec.containers[0].env[?(@.name==\"MAINTENANCE_TARGETS\")].value}'")
	require.Contains(t, targets, "Service")
	kubeconfig, err := plane.KubeconfigFor("system:serviceaccount:maintenance-system:maintenance-controller", "system:serviceaccounts")
	require.NoError(t, err)
	startController(t, kubeconfig, append(watchOnly("readme-services"), "--targets="+targets)...)
	p.untilState("service/my-app", "active")
	assert.Contains(t, p.run("scripts/status.sh"), "Service")

	p.run("kubectl apply -f e2e/demo/apps.yaml")
	p.until("kubectl get events --field-selector reason=BackendReverted -o custom-columns=M:.message", func(out string) bool {
		return strings.Contains(out, `"kubectl-client-side-apply"`)
	})
	onPage := func(out string) bool {
		return strings.HasPrefix(out, `{"maintenance/page-set":"maintenance-`) && strings.Contains(out, "maintenancepage")
	}
	p.until(serviceBackend, onPage)
	p.run(`kubectl patch service my-app -p '{"spec":{"selector":{"version":"v2"}}}'`)
	p.until(serviceBackend, onPage)
	origin := strings.Replace(serviceBackend, "service my-app", "service maintenance-origin-my-app", 1)
	p.until(origin, func(out string) bool { return strings.Contains(out, `"version":"v2"`) })

	p.run("kubectl annotate service my-app maintenance/enabled-")
	p.untilState("service/my-app", "")
	assert.Contains(t, p.run(serviceBackend), `"version":"v2"`)
	p.run(`kubectl patch service my-app -p '{"spec":{"selector":{"version":null}}}'`)
	assert.Equal(t, before, p.run(serviceBackend))
	p.until("kubectl get configmaps,services -l app.kubernetes.io/managed-by=maintenance-controller -o name", func(out string) bool { return out == "" })
}
