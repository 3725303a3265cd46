package ownership

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Applier names a manager other than the controller that has applied the field at this path
// itself, by server-side apply: each of its applies writes the field again until it is
// removed from what is applied. Empty if there is none.
func Applier(entries []metav1.ManagedFieldsEntry, path Path) string {
	for _, e := range entries {
		if e.Manager == Manager || e.Operation != metav1.ManagedFieldsOperationApply || e.Subresource != "" || e.FieldsV1 == nil {
			continue
		}
		set, err := decode(e.FieldsV1.Raw)
		if err != nil {
			continue
		}
		owns := false
		set.Leaves().Iterate(func(p fieldpath.Path) { owns = owns || len(p) >= len(path) && related(p, path) })
		if owns {
			return e.Manager
		}
	}
	return ""
}
