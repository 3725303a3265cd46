package target

import (
	"strconv"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
)

func namespaceOf(object map[string]any) string {
	namespace, _ := valueAt(object, []any{"metadata", "namespace"}).(string)
	return namespace
}

// backends gives those of a list of entries with their weights: Services, unless an entry
// says otherwise.
func (e entries) backends(value any) []swap.Backend {
	list, _ := value.([]any)
	var all []swap.Backend
	for _, entry := range list {
		b := swap.Backend{Namespace: e.namespace, Port: portText(valueAt(entry, []any{"port"})), Weight: 1}
		b.Name, _ = valueAt(entry, []any{"name"}).(string)
		if other, _ := valueAt(entry, []any{"namespace"}).(string); other != "" {
			b.Namespace = other
		}
		if weight, ok := valueAt(entry, []any{"weight"}).(int64); ok {
			b.Weight = weight
		}
		kind, _ := valueAt(entry, []any{"kind"}).(string)
		group, _ := valueAt(entry, []any{"group"}).(string)
		if kind != "" && kind != serviceKind || group != "" {
			b.Unjudged = notAService(kind)
		}
		all = append(all, b)
	}
	return all
}

// serviceKind is the kind of a backend that names none.
const serviceKind = "Service"

// notAService says why a backend of this kind cannot be judged.
func notAService(kind string) string {
	if kind == "" {
		return "it is not a Service"
	}
	return "it is of kind " + annotations.Clip(kind) + ", not a Service"
}

// portText is a port as a backend names it, by name or by number; empty for none.
func portText(port any) string {
	switch port := port.(type) {
	case string:
		return port
	case int64:
		return strconv.FormatInt(port, 10)
	}
	return ""
}
