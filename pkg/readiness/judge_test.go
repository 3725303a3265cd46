package readiness

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"maintenance-controller.io/pkg/annotations"
)

// seenAs is a view of objects as the informers would keep them.
type seenAs struct {
	services map[string]*service
	all      map[string][]*slice
}

func (v seenAs) service(name string) *service   { return v.services[name] }
func (v seenAs) slices(service string) []*slice { return v.all[service] }

func viewOf(t *testing.T, objects ...any) seenAs {
	t.Helper()
	v := seenAs{services: map[string]*service{}, all: map[string][]*slice{}}
	for _, o := range objects {
		once, err := reduce(o)
		assert.NoError(t, err)
		twice, err := reduce(once)
		assert.NoError(t, err)
		assert.Same(t, once, twice, "a reduced object stays as it is")
		switch r := once.(type) {
		case *service:
			v.services[r.name] = r
		case *slice:
			v.all[r.service] = append(v.all[r.service], r)
		}
	}
	return v
}

func aService(name string, change ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.0.0.1", Selector: map[string]string{"app": name},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "admin", Port: 9000}},
		},
	}
	for _, c := range change {
		c(svc)
	}
	return svc
}

func inMaintenance(svc *corev1.Service) {
	svc.Spec.Selector = map[string]string{annotations.PageSetLabel: "maintenance-0123456789abcdef"}
}

func headless(svc *corev1.Service) { svc.Spec.ClusterIP = corev1.ClusterIPNone }

func originOf(name string) *corev1.Service {
	svc := aService("maintenance-origin-" + name)
	svc.Labels = map[string]string{annotations.ManagedByLabel: annotations.ManagedBy, annotations.ComponentLabel: annotations.ComponentOrigin}
	svc.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: name}}
	return svc
}

// conditions of an endpoint: ready, serving, terminating; "?" is nil.
func conditions(text string) discoveryv1.EndpointConditions {
	flag := func(c byte) *bool {
		if c == '?' {
			return nil
		}
		b := c == 'y'
		return &b
	}
	return discoveryv1.EndpointConditions{Ready: flag(text[0]), Serving: flag(text[1]), Terminating: flag(text[2])}
}

const (
	up       = "yyn"
	starting = "nnn"
	leaving  = "nyy"
	ended    = "nny"
)

// aSlice of a Service, with ports http and admin; each endpoint is its Pod and conditions.
func aSlice(of string, family discoveryv1.AddressType, endpoints ...string) *discoveryv1.EndpointSlice {
	http, admin := "http", "admin"
	es := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: of + string(family), Labels: map[string]string{discoveryv1.LabelServiceName: of}},
		AddressType: family, Ports: []discoveryv1.EndpointPort{{Name: &http}, {Name: &admin}},
	}
	for i := 0; i < len(endpoints); i += 2 {
		es.Endpoints = append(es.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("10.1.0.%d", i)},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: endpoints[i], UID: types.UID(endpoints[i])},
			Conditions: conditions(endpoints[i+1]),
		})
	}
	return es
}

func onPorts(es *discoveryv1.EndpointSlice, names ...string) *discoveryv1.EndpointSlice {
	es.Ports = nil
	for _, name := range names {
		es.Ports = append(es.Ports, discoveryv1.EndpointPort{Name: &name})
	}
	return es
}

func withoutPods(es *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	for i := range es.Endpoints {
		es.Endpoints[i].TargetRef = nil
	}
	return es
}

func withoutSelector(svc *corev1.Service) { svc.Spec.Selector = nil }

func counted(ready, terminating, all int, message string) State {
	return State{Known: true, Exists: true, Judgeable: true, Ready: ready, Terminating: terminating, Endpoints: all, Message: message}
}

func TestJudge(t *testing.T) {
	v4, v6 := discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6
	page := aSlice("my-app", v4, "maintenance-0123456789abcdef-x7abc", up)
	for name, test := range map[string]struct {
		there []any
		port  intstr.IntOrString
		want  State
	}{
		"does not exist": {want: State{Known: true, Judgeable: true, Message: "does not exist"}},
		"two ready":      {there: []any{aService("my-app"), aSlice("my-app", v4, "a", up, "b", up)}, want: counted(2, 0, 2, "")},
		"nil means ready, serving and not terminating": {
			there: []any{aService("my-app"), aSlice("my-app", v4, "a", "???", "b", "n?y")}, want: counted(1, 1, 2, ""),
		},
		"ready although terminating, as its writer says": {
			there: []any{aService("my-app"), aSlice("my-app", v4, "a", "yyy")}, want: counted(1, 0, 1, ""),
		},
		"no endpoints": {
			there: []any{aService("my-app"), onPorts(aSlice("my-app", v4))},
			want:  counted(0, 0, 0, "has no endpoints: its selector matches no Pod"),
		},
		"none is ready": {
			there: []any{aService("my-app"), aSlice("my-app", v4, "a", starting, "b", ended)},
			want:  counted(0, 0, 2, "has no ready endpoint among 2"),
		},
		"some serve while terminating": {
			there: []any{aService("my-app"), aSlice("my-app", v4, "a", leaving, "b", leaving, "c", ended)},
			want:  counted(0, 2, 3, "has no ready endpoint among 3; 2 still serve until they terminate"),
		},
		"dual-stack": {
			there: []any{aService("my-app"), aSlice("my-app", v4, "a", up, "b", up), aSlice("my-app", v6, "a", up, "b", up, "c", starting)},
			want:  counted(2, 0, 3, ""),
		},
		"dual-stack without Pods": {
			there: []any{aService("my-app"), withoutPods(aSlice("my-app", v4, "a", up)), withoutPods(aSlice("my-app", v6, "a", up))},
			want:  counted(1, 0, 1, ""),
		},
		"a Pod that moves from slice to slice, best state first": {
			there: []any{aService("my-app"), aSlice("my-app", v4, "a", up), aSlice("my-app", v4, "a", leaving)}, want: counted(1, 0, 1, ""),
		},
		"by the number of a port": {
			there: []any{aService("my-app"), onPorts(aSlice("my-app", v4, "a", up), "http"), onPorts(aSlice("my-app", v4, "b", up, "c", up), "admin")},
			port:  intstr.FromInt32(9000), want: counted(2, 0, 2, ""),
		},
		"by the name of a port": {
			there: []any{aService("my-app"), onPorts(aSlice("my-app", v4, "a", up), "http"), onPorts(aSlice("my-app", v4, "b", up, "c", up), "admin")},
			port:  intstr.FromString("http"), want: counted(1, 0, 1, ""),
		},
		"through any port": {
			there: []any{aService("my-app"), onPorts(aSlice("my-app", v4, "a", up), "http"), onPorts(aSlice("my-app", v4, "a", up, "c", up), "admin")},
			want:  counted(2, 0, 2, ""),
		},
		"no such port": {
			there: []any{aService("my-app"), aSlice("my-app", v4, "a", up)}, port: intstr.FromInt32(81), want: counted(0, 0, 0, "has no port 81"),
		},
		"no such port, by name": {
			there: []any{aService("my-app"), aSlice("my-app", v4, "a", up)}, port: intstr.FromString("80"), want: counted(0, 0, 0, "has no port 80"),
		},
		"a port that no Pod has": {
			there: []any{aService("my-app"), onPorts(aSlice("my-app", v4, "a", up))},
			want:  counted(0, 0, 0, "has no endpoints: its selector matches no Pod"),
		},
		"headless": {
			there: []any{aService("my-app", headless), aSlice("my-app", v4, "a", up)}, want: counted(1, 0, 1, "is headless: clients find its endpoints by DNS"),
		},
		"headless, none ready": {
			there: []any{aService("my-app", headless), aSlice("my-app", v4, "a", starting)}, want: counted(0, 0, 1, "has no ready endpoint among 1 (headless)"),
		},
		"headless without ports": {
			there: []any{aService("my-app", headless, func(s *corev1.Service) { s.Spec.Ports = nil }), onPorts(aSlice("my-app", v4, "a", up))},
			want:  counted(1, 0, 1, "is headless: clients find its endpoints by DNS"),
		},
		"no slice yet": {
			there: []any{aService("my-app")}, want: State{Exists: true, Judgeable: true, Message: "has no EndpointSlices yet"},
		},
		"in maintenance": {
			there: []any{aService("my-app", inMaintenance), page, originOf("my-app"), aSlice("maintenance-origin-my-app", v4, "a", starting)},
			want:  counted(0, 0, 1, "has no ready endpoint among 1"),
		},
		"in maintenance, by a port of its origin": {
			there: []any{aService("my-app", inMaintenance), page, originOf("my-app"), aSlice("maintenance-origin-my-app", v4, "a", up)},
			port:  intstr.FromString("http"), want: counted(1, 0, 1, ""),
		},
		"in maintenance, without an origin": {
			there: []any{aService("my-app", inMaintenance), page},
			want:  State{Exists: true, Judgeable: true, Message: "is in maintenance, and Service maintenance-origin-my-app, which leads to its app, does not exist"},
		},
		"in maintenance, and its origin is not ours": {
			there: []any{aService("my-app", inMaintenance), page, aService("maintenance-origin-my-app"), aSlice("maintenance-origin-my-app", v4, "a", up)},
			want:  State{Exists: true, Judgeable: true, Message: "is in maintenance, and Service maintenance-origin-my-app, which leads to its app, does not exist"},
		},
		"restored, but its slices lag": {
			there: []any{aService("my-app"), page, originOf("my-app"), aSlice("maintenance-origin-my-app", v4, "a", up)},
			want:  counted(1, 0, 1, ""),
		},
		"restored, but its slices lag, and its origin has gone": {
			there: []any{aService("my-app"), page},
			want:  State{Exists: true, Judgeable: true, Message: "has EndpointSlices that lead to a page"},
		},
		"ExternalName": {
			there: []any{aService("my-app", withoutSelector, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName })},
			want:  State{Known: true, Exists: true, Message: "is an ExternalName: the cluster does not know whether its host can serve, so it counts as serving"},
		},
		"no selector": {
			there: []any{aService("my-app", withoutSelector), aSlice("my-app", v4, "a", up)},
			want:  State{Known: true, Exists: true, Message: "has no selector: nothing keeps its endpoints up to date, so it counts as serving"},
		},
		"unready addresses": {
			there: []any{aService("my-app", func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }), aSlice("my-app", v4, "a", "ynn")},
			want:  State{Known: true, Exists: true, Message: "publishes addresses that are not ready (publishNotReadyAddresses), so it counts as serving"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, judge(viewOf(t, test.there...), "my-app", test.port))
		})
	}
}

// TestPageSetServiceIsNotJudged: the message names the reason.
func TestPageSetServiceIsNotJudged(t *testing.T) {
	const set = "maintenance-0123456789abcdef"
	s := judge(viewOf(t, aService(set, inMaintenance)), set, intstr.IntOrString{})
	assert.False(t, s.Judgeable)
	assert.Equal(t, "belongs to a page set: it leads to a page, not to an app", s.Message)
}

// TestHostNetworkPodsCountApart: Pods in the host network share the address of their node, and still
// count as two.
func TestHostNetworkPodsCountApart(t *testing.T) {
	es := aSlice("my-app", discoveryv1.AddressTypeIPv4, "a", up, "b", up)
	es.Endpoints[1].Addresses = es.Endpoints[0].Addresses
	assert.Equal(t, 2, judge(viewOf(t, aService("my-app"), es), "my-app", intstr.IntOrString{}).Ready)
}

func TestServing(t *testing.T) {
	assert.Equal(t, 3, State{Ready: 3, Terminating: 5}.Serving())
	assert.Equal(t, 5, State{Terminating: 5}.Serving())
	assert.Zero(t, State{Endpoints: 5}.Serving())
}
