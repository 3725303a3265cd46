package controller

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/target"
)

// classes returns the ingress classes of a target, and whether the list is complete. It reads
// Gateways live, and only if a setting refers to classes: only then the permission to read them is
// granted.
func (c *Controller) classes(ctx context.Context, kind target.Kind, object *unstructured.Unstructured) (classes []string, known bool, err error) {
	if len(c.config.Classes) == 0 && len(c.config.Template.ServiceClasses) == 0 && len(c.config.Settings.SettleByClass) == 0 {
		return nil, false, nil
	}
	classes, known = kind.Classes(object.Object, func(namespace, name string) (string, bool) {
		gateway, getErr := c.config.Dynamic.Resource(target.Gateways()).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		if getErr != nil {
			if !apierrors.IsNotFound(getErr) && !apierrors.IsForbidden(getErr) {
				err = fmt.Errorf("read Gateway %s/%s: %w", namespace, name, getErr)
			}
			return "", false
		}
		class, found, _ := unstructured.NestedString(gateway.Object, "spec", "gatewayClassName")
		return class, found
	})
	return classes, known, err
}

// servesClasses reports whether the controller serves objects of these ingress classes. If the list
// is incomplete, it does.
func (c *Controller) servesClasses(classes []string, known bool) bool {
	return len(c.config.Classes) == 0 || !known || slices.ContainsFunc(classes, func(class string) bool { return slices.Contains(c.config.Classes, class) })
}
