package target

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

func selectorSlot(object map[string]any, svc *corev1.Service) swap.Slot {
	path := []any{"spec", "selector"}
	s := swap.Slot{
		ID: swap.ID{Type: "selector"}, Path: path, Value: valueAt(object, path), PageSet: setOf(svc),
		Page: selectorPage, Asked: func(before any) any { return askedOf(svc, before) }, Check: checkSelector,
	}
	// kubectl apply and Helm send merge patches: they add the app's labels, and
	// know nothing of ours that they would have to remove.
	if s.PageSet != "" && len(svc.Spec.Selector) > 1 {
		s.Merge = func(original, asked any) any { return mergedSelector(svc, original, asked) }
	}
	return s
}

// asked are the labels that tools asked for which state all that they want. Those
// that were among them and are not asked for any more have been taken away by the
// tool; all others it knows nothing of.
type asked struct {
	// Applied is by kubectl apply, as it has annotated it.
	Applied []string `json:"applied,omitempty"`
	// Helm keeps its last release where it is not read; what it wrote last is taken for it.
	Helm []string `json:"helm,omitempty"`
}

func readAsked(before any) (a asked) {
	raw, err := json.Marshal(before)
	if err == nil && json.Unmarshal(raw, &a) != nil {
		a = asked{}
	}
	return a
}

// askedOf is what tools have asked for by now.
func askedOf(svc *corev1.Service, before any) any {
	a := asked{Applied: keys(lastApplied(svc)), Helm: readAsked(before).Helm}
	if byHelm(svc) {
		a.Helm = keys(written(svc))
	}
	if len(a.Applied) == 0 && len(a.Helm) == 0 {
		return nil
	}
	return a
}

// mergedSelector is what the merge patches would have made of the original: they
// add what they have, and remove what their tool asked for before and does not any more.
func mergedSelector(svc *corev1.Service, original, before any) any {
	was, now := readAsked(before), written(svc)
	all := map[string]any{}
	if labels, ok := original.(map[string]any); ok {
		maps.Copy(all, labels)
	}
	if applied := lastApplied(svc); applied != nil {
		drop(all, was.Applied, applied)
	}
	if byHelm(svc) {
		drop(all, was.Helm, now)
	}
	for key, value := range now {
		all[key] = value
	}
	return all
}

// drop takes labels out that are not there any more.
func drop(all map[string]any, before []string, now map[string]string) {
	for _, key := range before {
		if _, still := now[key]; !still {
			delete(all, key)
		}
	}
}

// written is the selector without the page's label.
func written(svc *corev1.Service) map[string]string {
	labels := maps.Clone(svc.Spec.Selector)
	delete(labels, annotations.PageSetLabel)
	return labels
}

// byHelm says whether Helm wrote the selector last: it is owned as a whole.
func byHelm(svc *corev1.Service) bool {
	return ownership.LastWriter(svc.ManagedFields, []ownership.Path{{"spec", "selector"}}) == "helm"
}

// lastApplied is the selector of the manifest that kubectl applied last; nil if it
// is not known.
func lastApplied(svc *corev1.Service) map[string]string {
	var manifest corev1.Service
	if err := json.Unmarshal([]byte(svc.Annotations[corev1.LastAppliedConfigAnnotation]), &manifest); err != nil {
		return nil
	}
	return manifest.Spec.Selector
}

func keys(labels map[string]string) []string { return slices.Sorted(maps.Keys(labels)) }

func selectorPage(set string, _ any) any { return map[string]any{annotations.PageSetLabel: set} }

// setOf is the page set that the selector names, be it among other labels.
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
		return errors.New("a selector has at least one label")
	}
	if page.IsSetName(selector[annotations.PageSetLabel]) {
		return errors.New("a page set is no original")
	}
	return nil
}
