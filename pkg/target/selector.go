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
		Page: selectorPage, Asked: func() any { return askedOf(svc) }, Check: checkSelector,
		// Whatever is selected is reached by the Service itself: its Pods have no name here.
		Backends: func(any) []swap.Backend {
			return []swap.Backend{{Namespace: svc.Namespace, Name: svc.Name, Weight: 1}}
		},
	}
	// Our label leads to no app, whatever it says.
	s.AnyPage = s.PageSet == "" && selectsPage(svc.Spec.Selector)
	// kubectl apply and Helm send merge patches: they add the app's labels, and
	// know nothing of ours that they would have to remove.
	if s.AnyPage || s.PageSet != "" && len(svc.Spec.Selector) > 1 {
		s.Merge = func(original, asked any) any { return mergedSelector(svc, original, asked) }
	}
	return s
}

// asked is what kubectl apply had asked for when a selector was remembered, as it has
// annotated it. Labels that were among it and are not any more have been taken away by
// their manifest; of all others it knows nothing. Helm keeps its last release where it
// is not read, so that nobody can tell what it takes away: nothing, then.
type asked struct {
	Applied []string `json:"applied"`
}

func readAsked(before any) (a asked) {
	raw, err := json.Marshal(before)
	if err == nil && json.Unmarshal(raw, &a) != nil {
		a = asked{}
	}
	return a
}

// askedOf is what has been asked for by now.
func askedOf(svc *corev1.Service) any {
	if applied := lastApplied(svc); len(applied) > 0 {
		return asked{Applied: slices.Sorted(maps.Keys(applied))}
	}
	return nil
}

// mergedSelector is what the merge patches would have made of the original: they
// add what they have, and remove what was asked for before and is not any more.
func mergedSelector(svc *corev1.Service, original, before any) any {
	all := map[string]any{}
	if labels, ok := original.(map[string]any); ok {
		maps.Copy(all, labels)
	}
	if applied := lastApplied(svc); applied != nil {
		drop(all, readAsked(before).Applied, applied)
	}
	for key, value := range svc.Spec.Selector {
		if key != annotations.PageSetLabel {
			all[key] = value
		}
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

// lastApplied is the selector of the manifest that kubectl applied last; nil if it
// is not known.
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
	if selectsPage(selector) {
		return errors.New("a page set is no original")
	}
	return nil
}
