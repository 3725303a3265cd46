package app

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/pmezard/go-difflib/difflib"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/restore"
	"maintenance-controller.io/pkg/target"
)

// restoreReport prints a line for each target, and a summary.
type restoreReport struct {
	out      io.Writer
	dryRun   bool
	key      string // annotation that asks for maintenance
	changed  bool   // whether anything was written, or would have been
	restored int
	failed   int
	asking   []target.Ref // targets that still ask for maintenance
}

func (r *restoreReport) say(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

func (r *restoreReport) outcome(o restore.Outcome) {
	r.changed = r.changed || o.Changed
	if o.Enabled {
		r.asking = append(r.asking, o.Ref)
	}
	if o.OtherInstallation != "" && !o.LeftAlone {
		r.say("note       %s: installation %q has it in maintenance, and will again if it runs and the target still asks for it", o.Ref, o.OtherInstallation)
	}
	switch {
	case o.LeftAlone:
		r.say("left alone %s: installation %q has it in maintenance (--all-installations ends that too)", o.Ref, o.OtherInstallation)
	case o.Err != nil:
		r.failed++
		r.say("FAILED     %s: %v", o.Ref, o.Err)
	case o.Changed && r.dryRun:
		r.restored++
		r.say("would restore %s:\n%s", o.Ref, difference(o.Before, o.After))
	case o.Changed:
		r.restored++
		r.say("restored   %s", o.Ref)
	case o.After == nil:
		r.say("gone       %s: it no longer exists, only its backup was left", o.Ref)
	default:
		r.say("unchanged  %s: it is not in maintenance", o.Ref)
	}
}

func (r *restoreReport) collected(deleted []pageset.ID, used map[pageset.ID]target.Ref) {
	for _, id := range deleted {
		r.say("deleted    page set %s", id)
	}
	for id, ref := range used {
		r.say("kept       page set %s: %s uses it", id, ref)
	}
}

// end prints the summary. It returns an error if targets could not be restored.
func (r *restoreReport) end() error {
	if !r.dryRun {
		r.say("%d restored, %d failed", r.restored, r.failed)
	}
	slices.SortFunc(r.asking, func(a, b target.Ref) int { return cmp.Compare(a.String(), b.String()) })
	for _, ref := range r.asking {
		r.say("still annotated with %s: %s; a controller that starts would put it in maintenance again (--remove-annotations removes the annotation)", r.key, ref)
	}
	if r.failed > 0 {
		return fmt.Errorf("%d targets could not be restored: see above", r.failed)
	}
	return nil
}

// difference shows two states of an object as a unified diff of their YAML.
func difference(before, after *unstructured.Unstructured) string {
	diff, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: difflib.SplitLines(shown(before)), FromFile: "now", B: difflib.SplitLines(shown(after)), ToFile: "restored", Context: 3,
	})
	if err != nil {
		return err.Error()
	}
	return diff
}

// shown is an object as YAML, without the fields that change with every write.
func shown(u *unstructured.Unstructured) string {
	u = u.DeepCopy()
	for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(u.Object, "status")
	raw, err := yaml.Marshal(u.Object)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
