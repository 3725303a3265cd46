package target

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// HostForm says how a host is written.
type HostForm string

// The forms. Only an exact host can be compared with the host of a request.
const (
	ExactHost    HostForm = "exact"    // a.example
	WildcardHost HostForm = "wildcard" // *.example: one or more labels in place of the star
	RegexpHost   HostForm = "regexp"   // a regular expression, or a rule whose hosts cannot be listed
	NoHost       HostForm = "none"     // any host that reaches the entry point or the listener of a Gateway
)

// Host is one that an object serves. Name is in lower case and without a trailing dot if it
// is exact or a wildcard, empty for any host, and otherwise the text of the rule.
type Host struct {
	Form HostForm `json:"form"` // how to read Name
	Name string   `json:"name,omitempty"`
}

// String is the name, or * for any host.
func (h Host) String() string { return cmp.Or(h.Name, "*") }

// ParseHost reads a host of an object: empty or * is any host, and *. begins a wildcard.
func ParseHost(name string) Host {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case name == "" || name == "*":
		return Host{Form: NoHost}
	case strings.HasPrefix(name, "*."):
		return Host{WildcardHost, name}
	}
	return Host{ExactHost, name}
}

// hostSet sorts hosts and removes duplicates: exact ones first, any host last.
func hostSet(hosts []Host) []Host {
	order := []HostForm{ExactHost, WildcardHost, RegexpHost, NoHost}
	slices.SortFunc(hosts, func(a, b Host) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Form), slices.Index(order, b.Form)), strings.Compare(a.Name, b.Name))
	})
	return slices.Compact(hosts)
}

// ingressHosts are those of the rules. A default backend gets whatever matches no rule, for
// any host.
func ingressHosts(object map[string]any) []Host {
	var hosts []Host
	if valueAt(object, []any{"spec", "defaultBackend"}) != nil {
		hosts = append(hosts, Host{Form: NoHost})
	}
	rules, _ := objectsAt(object["spec"], "rules")
	for _, rule := range rules {
		name, _ := rule["host"].(string)
		hosts = append(hosts, ParseHost(name))
	}
	return hostSet(hosts)
}

// routeHosts are the hostnames of a route of the Gateway API. A route that names none
// serves all hosts of its Gateways' listeners.
func routeHosts(object map[string]any) []Host {
	names, _ := valueAt(object, []any{"spec", "hostnames"}).([]any)
	var hosts []Host
	for _, name := range names {
		hosts = append(hosts, ParseHost(fmt.Sprint(name)))
	}
	if len(hosts) == 0 {
		hosts = []Host{{Form: NoHost}}
	}
	return hostSet(hosts)
}

// ingressRouteHosts are those of the routes' rules, as Traefik reads them.
func ingressRouteHosts(object map[string]any) []Host {
	routes, _ := ingressRoutes(object) // Slots says why not
	var hosts []Host
	for _, route := range routes {
		match, _ := valueAt(route, []any{"match"}).(string)
		hosts = append(hosts, hostsOfRule(match)...)
	}
	return hostSet(hosts)
}

// serviceHosts is nil: whatever is in front of a Service decides its hosts.
func serviceHosts(map[string]any) []Host { return nil }
