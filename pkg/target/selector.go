package target

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

func selectorSlot(object map[string]any, svc *corev1.Service) swap.Slot {
	path := []any{"spec", "selector"}
	s := swap.Slot{
		ID: swap.ID{Type: "selector"}, Path: path, Value: valueAt(object, path), PageSet: setOf(svc),
		Page: selectorPage, MergeContext: func() any { return appliedLabelsOf(svc) }, Check: checkSelector,
		// The selected Pods are reached by the Service itself: there is no other name for
		// them here.
		Backends: func(any) []swap.Backend {
			return []swap.Backend{{Namespace: svc.Namespace, Name: svc.Name, Weight: 1}}
		},
	}
	// Our label never leads to an app, whatever its value.
	s.AnyPage = s.PageSet == "" && selectsPage(svc.Spec.Selector)
	// kubectl apply and Helm send merge patches: they add the app's labels and do not know
	// that they would have to remove ours.
	if s.AnyPage || s.PageSet != "" && len(svc.Spec.Selector) > 1 {
		s.Merge = func(original, asked any) any { return mergedSelector(svc, original, asked) }
	}
	return s
}

// appliedLabels are the labels that kubectl apply had applied when a selector was recorded,
// according to its annotation. Labels that were among them and no longer are have been
// removed in the manifest; kubectl knows nothing of any others. Helm keeps its last release
// where the controller does not read it, so nobody can tell what it removes: nothing, then.
type appliedLabels struct {
	Applied []string `json:"applied"`
}

func readAppliedLabels(before any) (a appliedLabels) {
	raw, err := json.Marshal(before)
	if err == nil && json.Unmarshal(raw, &a) != nil {
		a = appliedLabels{}
	}
	return a
}

// appliedLabelsOf gives the labels that are applied now; nil for none.
func appliedLabelsOf(svc *corev1.Service) any {
	if applied := lastApplied(svc); len(applied) > 0 {
		return appliedLabels{Applied: slices.Sorted(maps.Keys(applied))}
	}
	return nil
}

// mergedSelector is what the merge patches would have made of the original: they add their
// labels, and remove those that were applied before and no longer are.
func mergedSelector(svc *corev1.Service, original, before any) any {
	all := map[string]any{}
	if labels, ok := original.(map[string]any); ok {
		maps.Copy(all, labels)
	}
	if applied := lastApplied(svc); applied != nil {
		dropRemoved(all, readAppliedLabels(before).Applied, applied)
	}
	for key, value := range svc.Spec.Selector {
		if key != annotations.PageSetLabel {
			all[key] = value
		}
	}
	return all
}

// dropRemoved removes labels that are no longer applied.
func dropRemoved(all map[string]any, before []string, now map[string]string) {
	for _, key := range before {
		if _, still := now[key]; !still {
			delete(all, key)
		}
	}
}

// lastApplied is the selector of the manifest that kubectl applied last; nil if it is not
// known.
func lastApplied(svc *corev1.Service) map[string]string {
	var manifest corev1.Service
	if err := json.Unmarshal([]byte(svc.Annotations[corev1.LastAppliedConfigAnnotation]), &manifest); err != nil {
		return nil
	}
	return manifest.Spec.Selector
}

func selectorPage(set string, _ any) any { return map[string]any{annotations.PageSetLabel: set} }

func selectsPage(selector map[string]string) bool {
	_, ours := selector[annotations.PageSetLabel]
	return ours
}

// setOf is the page set that the selector names, possibly among other labels; empty for
// none.
func setOf(svc *corev1.Service) string {
	if set := svc.Spec.Selector[annotations.PageSetLabel]; page.IsSetName(set) {
		return set
	}
	return ""
}

func checkSelector(value any) error {
	var selector map[string]string
	if err := decodeStrict(value, &selector); err != nil {
		return err
	}
	if len(selector) == 0 {
		return errors.New("a selector needs at least one label")
	}
	if selectsPage(selector) {
		return errors.New("a page set cannot be an original")
	}
	return nil
}
