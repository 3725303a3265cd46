package plan

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

// TestEveryToolHasItsSection: what people are told to read is there.
func TestEveryToolHasItsSection(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	sections := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^##+ (.*)$`).FindAllStringSubmatch(string(readme), -1) {
		sections[strings.ReplaceAll(strings.ToLower(heading[1]), " ", "-")] = true
	}
	for _, tool := range append(Tools(), ToolOf("a stranger")) {
		assert.True(t, sections[tool.Section], "README.md#%s", tool.Section)
		manager := "a stranger"
		if len(tool.managers) > 0 {
			manager = tool.managers[0]
		}
		assert.Contains(t, advice(manager), "README.md#"+tool.Section)
	}
}
