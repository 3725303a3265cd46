package plan

import (
	"slices"
	"strings"

	"maintenance-controller.io/pkg/manual"
)

// Tool is a program that keeps objects as they are written down elsewhere, and
// so may write the backends of a target back.
type Tool struct {
	Name string // as people know it; empty for an unknown tool
	// Section says how to make it leave the backends alone.
	Section manual.Section
	// managers are the field managers that it writes as; an entry that ends in a
	// hyphen is the beginning of several.
	managers []string
}

// Tools lists the programs of which the documentation says what to do, by the names
// that their own code gives as field manager:
//
//	Argo CD    argocd-controller, ArgoCDSSAManager in its package common; older ones by
//	           their program, argocd-application-controller
//	Flux       its controllers' own names
//	Helm       the program's name, ManagedFieldsManager in its package kube
//	Terraform  kubernetes_manifest writes as Terraform; the other resources give no
//	           name, and the API server takes it from the user agent: HashiCorp
//	kubectl    kubectl, or kubectl- and the subcommand
func Tools() []Tool {
	return []Tool{
		{Name: "Argo CD", Section: manual.ArgoCD(), managers: []string{"argocd-"}},
		{Name: "Flux", Section: manual.Flux(), managers: []string{"kustomize-controller", "helm-controller"}},
		{Name: "Helm", Section: manual.Helm(), managers: []string{"helm"}},
		{Name: "Terraform", Section: manual.Terraform(), managers: []string{"Terraform", "HashiCorp"}},
		{Name: "kubectl", Section: manual.Kubectl(), managers: []string{"kubectl", "kubectl-"}},
	}
}

// ToolOf gives the tool that writes as a field manager. One that is not known has
// no name, and the section about all tools.
func ToolOf(manager string) Tool {
	for _, tool := range Tools() {
		if slices.ContainsFunc(tool.managers, func(name string) bool {
			return name == manager || strings.HasSuffix(name, "-") && strings.HasPrefix(manager, name)
		}) {
			return tool
		}
	}
	return Tool{Section: manual.GitOps()}
}

// advice says where to read how to stop a field manager from writing the backends.
func advice(manager string) string {
	tool := ToolOf(manager)
	if tool.Name == "" {
		return "see " + tool.Section.String() + " for how to make it stop"
	}
	return "that is " + tool.Name + ": see " + tool.Section.String() + " for how to make it stop"
}
