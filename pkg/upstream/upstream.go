// Package upstream says how the apps behind a page set's doors are reached: from what a
// target says of its backends, and from their Services as they are read.
package upstream

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
)

// Annotations of Services by which Traefik speaks to what is behind an Ingress.
const (
	traefikScheme    = "traefik.ingress.kubernetes.io/service.serversscheme"
	traefikTransport = "traefik.ingress.kubernetes.io/service.serverstransport"
)

// App is what a backend's door leads to.
type App struct {
	access.Door // without a name
	// Refused says why there is no door to it, for people; empty if there is one.
	Refused string
}

// Of says how an app is reached by its Service, which is nil if there is none.
func Of(way swap.Way, svc *corev1.Service) App {
	if way.Refused != "" {
		return App{Refused: way.Refused}
	}
	if why := unreachable(way, svc); why != "" {
		return App{Refused: why}
	}
	port := portOf(svc, way.Port)
	if port == nil {
		return App{Refused: fmt.Sprintf("Service %s has no port %q", svc.Name, annotations.Clip(way.Port))}
	}
	scheme, why := schemeOf(way, svc, port)
	return App{Refused: why, Door: access.Door{Scheme: scheme, Host: svc.Name + "." + svc.Namespace + ".svc", Port: int(port.Port)}}
}

// Named says whether a name can be that of a Service at all: some ingress controllers have
// names of their own, such as app@file.
func Named(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

func unreachable(way swap.Way, svc *corev1.Service) string {
	switch {
	case !Named(way.Service):
		return fmt.Sprintf("%q is no name of a Service", annotations.Clip(way.Service))
	case svc == nil:
		return fmt.Sprintf("there is no Service %s", way.Service)
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return fmt.Sprintf("Service %s is an ExternalName", svc.Name)
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		return fmt.Sprintf("Service %s is headless", svc.Name)
	case len(svc.Spec.Selector) == 0:
		return fmt.Sprintf("Service %s has no selector, so that its endpoints can be anywhere", svc.Name)
	case svc.Annotations[traefikTransport] != "":
		return fmt.Sprintf("Service %s has a serversTransport, which a door does not have", svc.Name)
	}
	return ""
}

// portOf finds the port that a backend names, by its name or its number. Where it names
// none, it is the only one.
func portOf(svc *corev1.Service, named string) *corev1.ServicePort {
	if named == "" && len(svc.Spec.Ports) == 1 {
		return &svc.Spec.Ports[0]
	}
	for i, p := range svc.Spec.Ports {
		if named != "" && (p.Name == named || strconv.Itoa(int(p.Port)) == named) {
			return &svc.Spec.Ports[i]
		}
	}
	return nil
}

// schemeOf: what the target says, else the Service, else what its port says, else as the ingress controller speaks to the door.
func schemeOf(way swap.Way, svc *corev1.Service, port *corev1.ServicePort) (scheme access.Scheme, refused string) {
	if port.Protocol != "" && port.Protocol != corev1.ProtocolTCP {
		return "", fmt.Sprintf("port %d of Service %s is not TCP", port.Port, svc.Name)
	}
	said := cmp.Or(way.Scheme, svc.Annotations[traefikScheme])
	if said == "" && port.AppProtocol != nil {
		said = *port.AppProtocol
	}
	switch strings.ToLower(said) {
	case "http", "kubernetes.io/ws", "ws":
		return access.HTTP, ""
	case "https", "kubernetes.io/wss", "wss", "tls":
		return access.HTTPS, ""
	case "":
		if way.TLSPorts && (port.Port == 443 || strings.HasPrefix(port.Name, "https")) {
			return access.HTTPS, ""
		}
		return access.Auto, ""
	}
	return "", fmt.Sprintf("port %d of Service %s speaks %q, and doors speak HTTP/1.1, alone or over TLS", port.Port, svc.Name, annotations.Clip(said))
}

// Settings of a page set that lets through who is asked for, to these apps: the same for
// the same, in whatever order they come.
func Settings(asked annotations.Access, apps []App) access.Settings {
	s := access.Settings{BypassSecret: asked.BypassSecret, OpenPaths: asked.OpenPaths, ReadOnly: asked.ReadOnly}
	for _, app := range apps {
		if app.Refused == "" {
			s.Doors = append(s.Doors, app.Door)
		}
	}
	slices.SortFunc(s.Doors, func(a, b access.Door) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Scheme, b.Scheme))
	})
	s.Doors = slices.Compact(s.Doors)
	for i := range s.Doors {
		s.Doors[i].Name = access.DoorName(i + 1)
	}
	return s
}

// Numbers gives the doors of settings by the ways that they are for; ways that have none
// are left out.
func Numbers(s access.Settings, apps map[swap.Way]App) map[swap.Way]int {
	numbers := map[swap.Way]int{}
	for way, app := range apps {
		for i, d := range s.Doors {
			if d.Name = ""; app.Refused == "" && d == app.Door {
				numbers[way] = i + 1
			}
		}
	}
	return numbers
}
