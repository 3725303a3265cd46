package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/manual"
)

func TestToolOf(t *testing.T) {
	for manager, want := range map[string]string{
		"argocd-controller": "Argo CD", "argocd-application-controller": "Argo CD",
		"kustomize-controller": "Flux", "helm-controller": "Flux",
		"helm": "Helm", "Terraform": "Terraform", "HashiCorp": "Terraform",
		"kubectl": "kubectl", "kubectl-client-side-apply": "kubectl", "kubectl-edit": "kubectl", "kubectl-patch": "kubectl", "kubectl-replace": "kubectl",
		"editor": "", "": "", "helmsman": "", "kubectlish": "", "my-argocd-controller": "",
	} {
		assert.Equal(t, want, ToolOf(manager).Name, manager)
	}
}

// TestAdvice: whoever writes the backends back, people are sent to the section about it.
func TestAdvice(t *testing.T) {
	for _, tool := range append(Tools(), ToolOf("a stranger")) {
		manager := "a stranger"
		if len(tool.managers) > 0 {
			manager = tool.managers[0]
		}
		assert.Contains(t, advice(manager), tool.Section.String())
		assert.Contains(t, manual.Sections(), tool.Section)
	}
}
