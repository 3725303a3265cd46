// Package manual names the documents that messages send people to, so that a message
// cannot send anybody to a page that has moved.
package manual

// Address is put before the path of a document: where the project's documents can be
// read, with a slash at the end. It is empty until there is a release: a path then is
// one in the source tree.
const Address = ""

// Section is a section of a document. A test checks that each is there.
type Section struct {
	Title string // its heading
	Path  string // of the document, from the top of the source tree, with the anchor if it is not the first heading
}

// String is how a message refers to the section: "GitOps" (docs/gitops.md).
func (s Section) String() string { return `"` + s.Title + `" (` + s.URL() + `)` }

// URL is where to read it.
func (s Section) URL() string { return Address + s.Path }

// GitOps is about tools that write backends back.
func GitOps() Section { return Section{"GitOps", "docs/gitops.md"} }

// Kubectl is about kubectl during maintenance.
func Kubectl() Section { return Section{"kubectl", "docs/gitops.md#kubectl"} }

// Webhooks is about admission webhooks that change what the controller writes.
func Webhooks() Section {
	return Section{"Admission webhooks", "docs/gitops.md#admission-webhooks"}
}

// Helm is about Helm during maintenance.
func Helm() Section { return Section{"Helm", "docs/gitops.md#helm"} }

// ArgoCD is about Argo CD during maintenance.
func ArgoCD() Section { return Section{"Argo CD", "docs/gitops.md#argo-cd"} }

// Flux is about Flux during maintenance.
func Flux() Section { return Section{"Flux", "docs/gitops.md#flux"} }

// Terraform is about Terraform during maintenance.
func Terraform() Section { return Section{"Terraform", "docs/gitops.md#terraform"} }

// RestoreByHand is what to do where the controller cannot.
func RestoreByHand() Section {
	return Section{"Restore by hand", "docs/restore.md#restore-by-hand"}
}

// TwoInstallations is about installations that meet.
func TwoInstallations() Section {
	return Section{"Two installations in one cluster", "docs/operations.md#two-installations-in-one-cluster"}
}

// Checkers is about ServiceCheckers and the HTTP API.
func Checkers() Section {
	return Section{"Which services work, and what is in maintenance", "docs/checker.md"}
}

// Sections lists them all.
func Sections() []Section {
	return []Section{
		GitOps(), Kubectl(), Webhooks(), Helm(), ArgoCD(), Flux(), Terraform(), RestoreByHand(), TwoInstallations(), Checkers(),
	}
}
