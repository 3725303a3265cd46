package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/pageset"
)

// template returns what the flags say about page sets. Its error names all invalid flags.
func (p *pageOptions) template() (pageset.Template, error) {
	t := pageset.Template{
		Image: p.image, PullPolicy: corev1.PullPolicy(p.pullPolicy), PullSecrets: p.pullSecrets, Replicas: p.replicas,
		Labels: p.labels, Annotations: p.annotations, NodeSelector: p.nodeSelector, PriorityClass: p.priorityClass,
		Drain: p.drain, Service: pageset.ServiceOptions{Type: corev1.ServiceType(p.serviceType), Annotations: p.serviceAnnotations},
		NetworkPolicy: pageset.PolicyMode(p.networkPolicy), CookieLifetime: p.cookieLifetime,
		PodSecurity: pageset.RestrictedPod(), Security: pageset.RestrictedContainer(),
	}
	err := errors.Join(
		decode("page-tolerations", p.tolerations, &t.Tolerations),
		decode("page-affinity", p.affinity, &t.Affinity),
		decode("page-topology-spread", p.spread, &t.Spread),
		decode("page-pod-security-context", p.podSecurity, t.PodSecurity),
		decode("page-security-context", p.security, t.Security),
		decode("page-resources", p.resources, &t.Resources),
		decode("page-service-classes", p.serviceClasses, &t.ServiceClasses),
	)
	return t, err
}

func (p *pageOptions) validate() error {
	var errs []error
	bad := func(flag, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...)))
	}
	if p.image == "" {
		bad("page-image", "name the image of the page Pods")
	}
	if p.replicas < 1 || p.replicas > 10 {
		bad("page-replicas", "%d is not 1 to 10", p.replicas)
	}
	if !slices.Contains([]corev1.PullPolicy{corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever}, corev1.PullPolicy(p.pullPolicy)) {
		bad("page-image-pull-policy", "%q is not Always, IfNotPresent or Never", p.pullPolicy)
	}
	if !isServiceType(p.serviceType) {
		bad("page-service-type", "%q is not ClusterIP, NodePort or LoadBalancer", p.serviceType)
	}
	if !slices.Contains([]pageset.PolicyMode{pageset.PolicyAuto, pageset.PolicyAlways, pageset.PolicyNever}, pageset.PolicyMode(p.networkPolicy)) {
		bad("page-network-policy", "%q is not auto, always or never", p.networkPolicy)
	}
	if p.drain < 0 || p.drain > 10*time.Minute {
		bad("page-drain", "%s is not 0s to 10m", p.drain)
	}
	if p.maxDoors < 1 || p.maxDoors > access.MaxDoors {
		bad("bypass-max-apps", "%d is not 1 to %d", p.maxDoors, access.MaxDoors)
	}
	if p.maxSetsWithDoors < 1 {
		bad("bypass-max-page-sets", "%d is below 1", p.maxSetsWithDoors)
	}
	if p.cookieLifetime < time.Minute || p.cookieLifetime > 365*24*time.Hour {
		bad("bypass-cookie-lifetime", "%s is not 1m to 8760h", p.cookieLifetime)
	}
	for flag, pairs := range map[string]map[string]string{
		"page-labels": p.labels, "page-annotations": p.annotations, "page-node-selector": p.nodeSelector, "page-service-annotations": p.serviceAnnotations,
	} {
		for key, value := range pairs {
			if problems := validation.IsQualifiedName(key); len(problems) > 0 {
				bad(flag, "key %q: %s", key, problems[0])
			}
			if problems := validation.IsValidLabelValue(value); flag != "page-annotations" && flag != "page-service-annotations" && len(problems) > 0 {
				bad(flag, "value %q: %s", value, problems[0])
			}
		}
	}
	t, err := p.template()
	for class, options := range t.ServiceClasses {
		if class == "" || strings.Contains(class, ",") {
			bad("page-service-classes", "%q is not an ingress class", class)
		}
		if options.Type != "" && !isServiceType(string(options.Type)) {
			bad("page-service-classes", "%s: type %q is not ClusterIP, NodePort or LoadBalancer", class, options.Type)
		}
		for key := range options.Annotations {
			if problems := validation.IsQualifiedName(key); len(problems) > 0 {
				bad("page-service-classes", "%s: annotation key %q: %s", class, key, problems[0])
			}
		}
	}
	return errors.Join(append(errs, err)...)
}

func isServiceType(s string) bool {
	return slices.Contains([]corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer}, corev1.ServiceType(s))
}
