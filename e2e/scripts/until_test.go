package scripts

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestALeaseByHand: what docs/until.md says of Leases, with kubectl alone and a shorter
// duration.
func TestALeaseByHand(t *testing.T) {
	p := newPerson(t)
	p.ownNamespace()
	p.traefik()
	p.inNamespace("docs-lease")
	p.run("kubectl apply -f e2e/demo/apps.yaml")
	startController(t, plane.Kubeconfig(), onlyIn("docs-lease")...)
	before := p.run(fmt.Sprintf(specOf, "ingress/my-app"))
	lease := blockOf(t, "docs/until.md", "lease")
	short := strings.Replace(lease, "leaseDurationSeconds: 60", "leaseDurationSeconds: 3", 1)
	assert.NotEqual(t, lease, short)
	p.run(short)
	p.untilState("ingress/my-app", "active")
	p.run(blockOf(t, "docs/until.md", "renew"))
	p.untilState("ingress/my-app", "")
	assert.Equal(t, before, p.run(fmt.Sprintf(specOf, "ingress/my-app")))
	p.until("kubectl get ingress my-app -o jsonpath='{.metadata.annotations}'", func(out string) bool { return !strings.Contains(out, "maintenance/") })
}
