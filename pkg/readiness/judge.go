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

// view is what there is of a namespace.
type view interface {
	service(name string) *service // nil if there is none
	slices(service string) []*slice
}

// judge says what is known of a Service, all but Since. The first line that fits counts.
//
//	not there                                      cannot serve
//	a page set's own                               not judged
//	ExternalName, no selector, unready published   not judged
//	in maintenance, and no origin is there         not known
//	no EndpointSlice yet, or one with page Pods    not known: they lag behind the Service
//	no such port                                   cannot serve
//	else                                           as its EndpointSlices count, or its origin's
func judge(v view, name string, through intstr.IntOrString) State {
	svc := v.service(name)
	if svc == nil {
		return State{Known: true, Judgeable: true, Message: "does not exist"}
	}
	s := State{Known: true, Exists: true, Message: unjudged(svc)}
	if s.Message != "" {
		return s
	}
	s.Judgeable = true
	by := svc
	if svc.onPage {
		to := origin.Name(target.Ref{Kind: kind, Namespace: svc.namespace, Name: name})
		by = v.service(to)
		if by == nil || by.going || by.originOf != name {
			s.Known, s.Message = false, fmt.Sprintf("is in maintenance, and Service %s, which would lead to its app, is not there", to)
			return s
		}
	}
	all := v.slices(by.name)
	switch {
	case len(all) == 0:
		s.Known, s.Message = false, "has no EndpointSlices yet"
		return s
	case slices.ContainsFunc(all, func(e *slice) bool { return e.pages }):
		s.Known, s.Message = false, "has EndpointSlices that still lead to a page"
		return s
	}
	names, ok := by.names(through)
	if !ok {
		s.Message = "has no port " + through.String()
		return s
	}
	s.count(all, names)
	s.Message = s.words(svc)
	return s
}

// unjudged says why EndpointSlices do not tell whether the Service can serve; empty if
// they do.
func unjudged(svc *service) string {
	switch {
	case page.IsSetName(svc.name):
		return "is a page set's own: it leads to a page, and to no app"
	case svc.external:
		return "is an ExternalName: nobody in the cluster knows whether the host that it names can serve, so it counts as serving"
	case !svc.selects:
		return "has no selector: nobody keeps its endpoints up to date, so it counts as serving"
	case svc.unready:
		return "publishes addresses that are not ready (publishNotReadyAddresses), so it counts as serving"
	}
	return ""
}

// names are those of the ports that count; nil means all, of a Service without ports, which
// only a headless one can be.
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

// count counts each endpoint once in its address family, in its best class, and gives the
// family that has most of each.
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
			family[id&^classes] = better(family[id&^classes], id&classes)
		}
	}
	for _, family := range best {
		var of [classes + 1]int
		for _, class := range family {
			of[class]++
		}
		s.Ready, s.Terminating, s.Endpoints = max(s.Ready, of[ready]), max(s.Terminating, of[terminating]), max(s.Endpoints, len(family))
	}
}

// better of two classes that slices name for one endpoint.
func better(a, b uint64) uint64 {
	if a == ready || b == ready {
		return ready
	}
	return max(a, b)
}

func (s *State) words(svc *service) string {
	var text string
	switch {
	case s.Ready > 0 && svc.headless:
		return "is headless: clients find its endpoints by DNS"
	case s.Ready > 0:
		return ""
	case s.Endpoints == 0:
		text = "has no endpoints: no Pod that its selector matches is there"
	default:
		text = fmt.Sprintf("has no ready endpoint, of %d", s.Endpoints)
	}
	if s.Terminating > 0 {
		text += fmt.Sprintf("; %d still serve until they end", s.Terminating)
	}
	if svc.headless {
		text += " (headless)"
	}
	return text
}
