package app

import (
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/pageset"
)

// template is what the flags say of page sets. Its error names every flag at fault.
func (p *pageOptions) template() (pageset.Template, error) {
	t := pageset.Template{
		Image: p.image, PullPolicy: corev1.PullPolicy(p.pullPolicy), PullSecrets: p.pullSecrets, Replicas: p.replicas,
		Labels: p.labels, Annotations: p.annotations, NodeSelector: p.nodeSelector, PriorityClass: p.priorityClass,
		Drain: p.drain, ServiceType: corev1.ServiceType(p.serviceType), ServiceAnnotations: p.serviceAnnotations,
	}
	err := errors.Join(
		decode("page-tolerations", p.tolerations, &t.Tolerations),
		decode("page-resources", p.resources, &t.Resources),
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
	if !slices.Contains([]corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer}, corev1.ServiceType(p.serviceType)) {
		bad("page-service-type", "%q is not ClusterIP, NodePort or LoadBalancer", p.serviceType)
	}
	if p.drain < 0 || p.drain > 10*time.Minute {
		bad("page-drain", "%s is not 0s to 10m", p.drain)
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
	_, err := p.template()
	return errors.Join(append(errs, err)...)
}
