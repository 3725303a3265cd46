package readiness

import (
	"fmt"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/target"
)

// cacheView gives access to the cached objects of a namespace.
type cacheView interface {
	service(name string) *service // nil if there is none
	slices(service string) []*slice
}

// judge returns what is known of a Service, except Since. The first line that applies decides.
//
//	does not exist                                 cannot serve
//	belongs to a page set                          not judged
//	ExternalName, no selector, unready published   not judged
//	in maintenance, without an origin Service      not known
//	no EndpointSlice yet, or one with page Pods    not known: they lag behind the Service
//	no such port                                   cannot serve
//	else                                           by its EndpointSlices, or its origin's
//
// The origin Service leads to the app from before the swap until after the restore. It also
// decides if EndpointSlices lead to a page while the Service does not: the watches of the two
// kinds may run ahead of each other.
func judge(v cacheView, name string, through intstr.IntOrString) State {
	svc := v.service(name)
	if svc == nil {
		return State{Known: true, Judgeable: true, Message: "does not exist"}
	}
	s := State{Known: true, Exists: true, Message: unjudgedReason(svc)}
	if s.Message != "" {
		return s
	}
	s.Judgeable = true
	by, all := svc, v.slices(name)
	if svc.onPage || slices.ContainsFunc(all, leadsToPage) {
		to := origin.Name(target.Ref{Kind: kind, Namespace: svc.namespace, Name: name})
		there := v.service(to)
		exists := there != nil && !there.deleting && there.originOf == name
		if exists {
			by, all = there, v.slices(to)
		} else if svc.onPage {
			s.Known, s.Message = false, fmt.Sprintf("is in maintenance, and Service %s, which leads to its app, does not exist", to)
			return s
		}
	}
	switch {
	case len(all) == 0:
		s.Known, s.Message = false, "has no EndpointSlices yet"
		return s
	case slices.ContainsFunc(all, leadsToPage):
		s.Known, s.Message = false, "has EndpointSlices that lead to a page"
		return s
	}
	names, ok := by.names(through)
	if !ok {
		s.Message = "has no port " + through.String()
		return s
	}
	s.count(all, names)
	s.Message = s.describe(svc)
	return s
}

func leadsToPage(e *slice) bool { return e.hasPagePods }

// unjudgedReason says why EndpointSlices do not show whether the Service can serve; empty if they
// do.
func unjudgedReason(svc *service) string {
	switch {
	case page.IsSetName(svc.name):
		return "belongs to a page set: it leads to a page, not to an app"
	case svc.external:
		return "is an ExternalName: the cluster does not know whether its host can serve, so it counts as serving"
	case !svc.selects:
		return "has no selector: nothing keeps its endpoints up to date, so it counts as serving"
	case svc.publishesUnready:
		return "publishes addresses that are not ready (publishNotReadyAddresses), so it counts as serving"
	}
	return ""
}

// names returns the names of the ports that count; nil means all, for a Service without ports, which
// can only be headless.
func (s *service) names(through intstr.IntOrString) (names []string, ok bool) {
	whichever := through == intstr.IntOrString{} || through == intstr.FromString("")
	if whichever && len(s.ports) == 0 {
		return nil, true
	}
	for _, p := range s.ports {
		if whichever || through.Type == intstr.Int && p.number == through.IntVal || through.Type == intstr.String && p.name == through.StrVal {
			names = append(names, p.name)
		}
	}
	return names, len(names) > 0
}

// count counts each endpoint once per address family, in its best class, and keeps the highest count
// of any family.
func (s *State) count(all []*slice, names []string) {
	best := map[discoveryv1.AddressType]map[uint64]uint64{}
	for _, e := range all {
		if names != nil && !slices.ContainsFunc(e.ports, func(p string) bool { return slices.Contains(names, p) }) {
			continue
		}
		family := best[e.family]
		if family == nil {
			family = map[uint64]uint64{}
			best[e.family] = family
		}
		for _, id := range e.endpoints {
			family[id&^classMask] = better(family[id&^classMask], id&classMask)
		}
	}
	for _, family := range best {
		var of [classMask + 1]int
		for _, class := range family {
			of[class]++
		}
		s.Ready, s.Terminating, s.Endpoints = max(s.Ready, of[ready]), max(s.Terminating, of[terminating]), max(s.Endpoints, len(family))
	}
}

// better returns the better of two classes that slices give one endpoint.
func better(a, b uint64) uint64 {
	if a == ready || b == ready {
		return ready
	}
	return max(a, b)
}

func (s *State) describe(svc *service) string {
	var text string
	switch {
	case s.Ready > 0 && svc.headless:
		return "is headless: clients find its endpoints by DNS"
	case s.Ready > 0:
		return ""
	case s.Endpoints == 0:
		text = "has no endpoints: its selector matches no Pod"
	default:
		text = fmt.Sprintf("has no ready endpoint among %d", s.Endpoints)
	}
	if s.Terminating > 0 {
		text += fmt.Sprintf("; %d still serve until they terminate", s.Terminating)
	}
	if svc.headless {
		text += " (headless)"
	}
	return text
}
