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

// kind of the targets whose origin Services matter here.
const kind = "Service"

// objectMeta is what an informer needs of any object.
type objectMeta struct{ namespace, name, version string }

// GetObjectMeta implements metav1.ObjectMetaAccessor.
func (k *objectMeta) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: k.namespace, Name: k.name, ResourceVersion: k.version}
}

func metaOf(m metav1.Object) objectMeta {
	return objectMeta{namespace: m.GetNamespace(), name: m.GetName(), version: m.GetResourceVersion()}
}

// service holds the relevant fields of a Service.
type service struct {
	objectMeta
	external         bool // an ExternalName
	selects          bool
	headless         bool
	publishesUnready bool // publishes addresses that are not ready
	onPage           bool // in maintenance
	deleting         bool // being deleted
	ports            []port
	originOf         string // the Service in maintenance whose app this one leads to
}

type port struct {
	name   string
	number int32
}

// slice holds the relevant fields of an EndpointSlice: 8 bytes an endpoint.
type slice struct {
	objectMeta
	service string
	family  discoveryv1.AddressType
	ports   []string // names; empty for a port without a name
	// endpoints are hashes of their identity, with a class in the lowest two bits.
	endpoints   []uint64
	hasPagePods bool // some endpoints are page Pods
}

// Classes of endpoints.
const (
	notServing  = 0 // accepts no connections
	ready       = 1
	terminating = 2 // serves until it stops
	classMask   = 3
)

// pagePod matches the names of page Pods; the API server generates their endings.
var pagePod = regexp.MustCompile(`^maintenance-[0-9a-f]{16}-[a-z0-9]+$`)

// reduce keeps the relevant fields of an object. A reduced object stays as it is.
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
		objectMeta: metaOf(svc),
		external:   svc.Spec.Type == corev1.ServiceTypeExternalName, selects: len(svc.Spec.Selector) > 0,
		headless: svc.Spec.ClusterIP == corev1.ClusterIPNone, publishesUnready: svc.Spec.PublishNotReadyAddresses,
		onPage: target.OnPage(svc), deleting: svc.DeletionTimestamp != nil,
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
	s := &slice{objectMeta: metaOf(es), service: es.Labels[discoveryv1.LabelServiceName], family: es.AddressType}
	for _, p := range es.Ports {
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		s.ports = append(s.ports, name)
	}
	for i := range es.Endpoints {
		e := &es.Endpoints[i]
		s.endpoints = append(s.endpoints, identity(e)&^classMask|class(e.Conditions))
		s.hasPagePods = s.hasPagePods || e.TargetRef != nil && e.TargetRef.Kind == "Pod" && pagePod.MatchString(e.TargetRef.Name)
	}
	return s
}

// class evaluates the conditions as the API documents them (discovery/v1 EndpointConditions): a nil
// ready or serving means true, a nil terminating false.
func class(c discoveryv1.EndpointConditions) uint64 {
	isReady := c.Ready == nil || *c.Ready
	serving := c.Serving == nil || *c.Serving
	switch {
	case isReady:
		return ready
	case serving && c.Terminating != nil && *c.Terminating:
		return terminating
	}
	return notServing
}

// identity distinguishes endpoints of one address family. A Pod may be in several slices while the
// EndpointSlice controller moves it, and is in one slice for each set of ports. Pods in the host
// network share the address of their node.
func identity(e *discoveryv1.Endpoint) uint64 {
	h := fnv.New64a()
	switch {
	case e.TargetRef != nil && e.TargetRef.UID != "":
		_, _ = h.Write([]byte(e.TargetRef.UID)) // Write never fails
	case len(e.Addresses) > 0: // all addresses belong to the same endpoint
		_, _ = h.Write([]byte(e.Addresses[0]))
	}
	return h.Sum64()
}

// same reports whether two objects differ only in their version.
func same(before, now any) bool {
	switch n := now.(type) {
	case *service:
		b, ok := before.(*service)
		return ok && b.external == n.external && b.selects == n.selects && b.headless == n.headless && b.publishesUnready == n.publishesUnready &&
			b.onPage == n.onPage && b.deleting == n.deleting && b.originOf == n.originOf && slices.Equal(b.ports, n.ports)
	case *slice:
		b, ok := before.(*slice)
		return ok && b.service == n.service && b.family == n.family && b.hasPagePods == n.hasPagePods &&
			slices.Equal(b.ports, n.ports) && slices.Equal(b.endpoints, n.endpoints)
	}
	return false
}

// eventObject returns the object of an event, even of a deletion that the watch missed.
func eventObject(object any) any {
	if d, ok := object.(cache.DeletedFinalStateUnknown); ok {
		return d.Obj
	}
	return object
}
