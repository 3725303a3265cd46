// Package upstream says how the apps behind a page set's doors are reached: from what a
// target says about its backends, and from their Services.
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

// Annotations of Services that say how Traefik speaks to what is behind an Ingress.
const (
	traefikScheme    = "traefik.ingress.kubernetes.io/service.serversscheme"
	traefikTransport = "traefik.ingress.kubernetes.io/service.serverstransport"
)

// App is what a backend's door leads to.
type App struct {
	access.Door // without a name
	// Refused says, for people, why there is no door to it; empty if there is one.
	Refused string
}

// Of says how an app is reached by its Service, which is nil if it does not exist.
func Of(up swap.Upstream, svc *corev1.Service) App {
	if up.Refused != "" {
		return App{Refused: up.Refused}
	}
	if why := unreachable(up, svc); why != "" {
		return App{Refused: why}
	}
	port := portOf(svc, up.Port)
	if port == nil {
		return App{Refused: fmt.Sprintf("Service %s has no port %q", svc.Name, annotations.Clip(up.Port))}
	}
	scheme, why := schemeOf(up, svc, port)
	return App{Refused: why, Door: access.Door{Scheme: scheme, Host: svc.Name + "." + svc.Namespace + ".svc", Port: int(port.Port)}}
}

// ValidServiceName says whether a name can be that of a Service at all: some ingress
// controllers have names of their own, such as app@file.
func ValidServiceName(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

func unreachable(up swap.Upstream, svc *corev1.Service) string {
	switch {
	case !ValidServiceName(up.Service):
		return fmt.Sprintf("%q is not a valid Service name", annotations.Clip(up.Service))
	case svc == nil:
		return fmt.Sprintf("there is no Service %s", up.Service)
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return fmt.Sprintf("Service %s is an ExternalName", svc.Name)
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		return fmt.Sprintf("Service %s is headless", svc.Name)
	case len(svc.Spec.Selector) == 0:
		return fmt.Sprintf("Service %s has no selector, so its endpoints can be anywhere", svc.Name)
	case svc.Annotations[traefikTransport] != "":
		return fmt.Sprintf("Service %s has a serversTransport, which the bypass does not support", svc.Name)
	}
	return ""
}

// portOf finds the port that a backend names, by name or number. If it names none, it is
// the Service's only port.
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

// schemeOf gives the scheme of the target, else of the Service, else of its port, else
// Auto, which speaks as the ingress controller speaks to the door.
func schemeOf(up swap.Upstream, svc *corev1.Service, port *corev1.ServicePort) (scheme access.Scheme, refused string) {
	if port.Protocol != "" && port.Protocol != corev1.ProtocolTCP {
		return "", fmt.Sprintf("port %d of Service %s is not TCP", port.Port, svc.Name)
	}
	said := cmp.Or(up.Scheme, svc.Annotations[traefikScheme])
	if said == "" && port.AppProtocol != nil {
		said = *port.AppProtocol
	}
	switch strings.ToLower(said) {
	case "http", "kubernetes.io/ws", "ws":
		return access.HTTP, ""
	case "https", "kubernetes.io/wss", "wss", "tls":
		return access.HTTPS, ""
	case "":
		if up.TLSPorts && (port.Port == 443 || strings.HasPrefix(port.Name, "https")) {
			return access.HTTPS, ""
		}
		return access.Auto, ""
	}
	return "", fmt.Sprintf("port %d of Service %s speaks %q, but the bypass only speaks HTTP/1.1, with or without TLS", port.Port, svc.Name, annotations.Clip(said))
}

// Settings are the settings of a page set that lets through who is asked for, to these
// apps. Equal apps give equal settings, in whatever order they come.
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

// DoorNumbers gives the number of the door that leads to each app; apps without a door are
// left out.
func DoorNumbers(s access.Settings, apps map[swap.Upstream]App) map[swap.Upstream]int {
	numbers := map[swap.Upstream]int{}
	for up, app := range apps {
		for i, d := range s.Doors {
			if d.Name = ""; app.Refused == "" && d == app.Door {
				numbers[up] = i + 1
			}
		}
	}
	return numbers
}
