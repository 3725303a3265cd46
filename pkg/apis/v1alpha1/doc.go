// Package v1alpha1 holds the types of the project's own resources. The CRDs in the chart and the
// deep copies are generated from them (scripts/generate.sh).
//
// +kubebuilder:object:generate=true
// +groupName=maintenance-controller.io
package v1alpha1

import "k8s.io/apimachinery/pkg/runtime/schema"

// GroupVersion returns the group and version of the resources.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: "maintenance-controller.io", Version: "v1alpha1"}
}

// Kind of a ServiceChecker.
const Kind = "ServiceChecker"

// Resource returns the resource of ServiceCheckers.
func Resource() schema.GroupVersionResource { return GroupVersion().WithResource("servicecheckers") }
