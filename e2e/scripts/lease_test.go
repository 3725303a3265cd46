package scripts

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestLeaseWithKubectl runs the commands for a Lease in docs/until.md. Then it shortens the duration,
// which counts as a last renewal.
func TestLeaseWithKubectl(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("docs-lease")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	startController(t, plane.Kubeconfig(), watchOnly("docs-lease")...)
	before := p.run(fmt.Sprintf(specOf, "ingress/my-app"))
	p.run(blockOf(t, "docs/until.md", "lease"))
	p.untilState("ingress/my-app", "active")
	p.run(blockOf(t, "docs/until.md", "renew"))
	p.run(`kubectl patch lease my-app-migration --type=merge -p '{"spec":{"leaseDurationSeconds":3}}'`)
	p.untilState("ingress/my-app", "")
	assert.Equal(t, before, p.run(fmt.Sprintf(specOf, "ingress/my-app")))
	p.until("kubectl get ingress my-app -o jsonpath='{.metadata.annotations}'", func(out string) bool { return !strings.Contains(out, "maintenance/") })
}
