package readiness

import (
	"hash/fnv"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/target"
)

// kind of the targets whose origins matter here.
const kind = "Service"

// kept is what an informer needs of any object.
type kept struct{ namespace, name, version string }

// GetObjectMeta implements metav1.ObjectMetaAccessor.
func (k *kept) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: k.namespace, Name: k.name, ResourceVersion: k.version}
}

func keep(m metav1.Object) kept {
	return kept{namespace: m.GetNamespace(), name: m.GetName(), version: m.GetResourceVersion()}
}

// service is what counts of a Service.
type service struct {
	kept
	external bool // an ExternalName
	selects  bool
	headless bool
	unready  bool // publishes addresses that are not ready
	onPage   bool // in maintenance
	going    bool // being deleted
	ports    []port
	originOf string // the Service in maintenance whose app this one leads to
}

type port struct {
	name   string
	number int32
}

// slice is what counts of an EndpointSlice: 8 bytes an endpoint.
type slice struct {
	kept
	service string
	family  discoveryv1.AddressType
	ports   []string // names; the one of a port without a name is empty
	// endpoints are hashes of what tells them apart, with a class in the lowest two bits.
	endpoints []uint64
	pages     bool // some are Pods of a page set
}

// Classes of endpoints.
const (
	silent      = 0 // takes no connections
	ready       = 1
	terminating = 2 // serves on until it ends
	classes     = 3
)

// pagePod is the shape of the names of page Pods, which the API server completes.
var pagePod = regexp.MustCompile(`^maintenance-[0-9a-f]{16}-[a-z0-9]+$`)

// reduce keeps of what is watched what counts. What has been reduced stays as it is.
func reduce(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Service:
		return reduceService(o), nil
	case *discoveryv1.EndpointSlice:
		return reduceSlice(o), nil
	}
	return object, nil
}

func reduceService(svc *corev1.Service) *service {
	s := &service{
		kept:     keep(svc),
		external: svc.Spec.Type == corev1.ServiceTypeExternalName, selects: len(svc.Spec.Selector) > 0,
		headless: svc.Spec.ClusterIP == corev1.ClusterIPNone, unready: svc.Spec.PublishNotReadyAddresses,
		onPage: target.OnPage(svc), going: svc.DeletionTimestamp != nil,
	}
	if of := origin.Target(svc); of.Kind == kind {
		s.originOf = of.Name
	}
	for _, p := range svc.Spec.Ports {
		s.ports = append(s.ports, port{name: p.Name, number: p.Port})
	}
	return s
}

func reduceSlice(es *discoveryv1.EndpointSlice) *slice {
	s := &slice{kept: keep(es), service: es.Labels[discoveryv1.LabelServiceName], family: es.AddressType}
	for _, p := range es.Ports {
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		s.ports = append(s.ports, name)
	}
	for i := range es.Endpoints {
		e := &es.Endpoints[i]
		s.endpoints = append(s.endpoints, identity(e)&^classes|class(e.Conditions))
		s.pages = s.pages || e.TargetRef != nil && e.TargetRef.Kind == "Pod" && pagePod.MatchString(e.TargetRef.Name)
	}
	return s
}

// class reads the conditions as the API documents them (discovery/v1 EndpointConditions):
// a nil ready or serving means true, a nil terminating false.
func class(c discoveryv1.EndpointConditions) uint64 {
	isReady := c.Ready == nil || *c.Ready
	serving := c.Serving == nil || *c.Serving
	switch {
	case isReady:
		return ready
	case serving && c.Terminating != nil && *c.Terminating:
		return terminating
	}
	return silent
}

// identity tells endpoints of one address family apart. A Pod may be in several slices
// while the controller of EndpointSlices moves it, and in one for each set of ports.
// Pods in the network of their node share its address.
func identity(e *discoveryv1.Endpoint) uint64 {
	h := fnv.New64a()
	switch {
	case e.TargetRef != nil && e.TargetRef.UID != "":
		_, _ = h.Write([]byte(e.TargetRef.UID)) // it never fails
	case len(e.Addresses) > 0: // all of them are the same endpoint
		_, _ = h.Write([]byte(e.Addresses[0]))
	}
	return h.Sum64()
}

// same says whether two objects differ in their version alone.
func same(before, now any) bool {
	switch n := now.(type) {
	case *service:
		b, ok := before.(*service)
		return ok && b.external == n.external && b.selects == n.selects && b.headless == n.headless && b.unready == n.unready &&
			b.onPage == n.onPage && b.going == n.going && b.originOf == n.originOf && slices.Equal(b.ports, n.ports)
	case *slice:
		b, ok := before.(*slice)
		return ok && b.service == n.service && b.family == n.family && b.pages == n.pages &&
			slices.Equal(b.ports, n.ports) && slices.Equal(b.endpoints, n.endpoints)
	}
	return false
}

// seen gives the object of an event, also of one that was missed.
func seen(object any) any {
	if d, ok := object.(cache.DeletedFinalStateUnknown); ok {
		return d.Obj
	}
	return object
}
