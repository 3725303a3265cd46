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

// classes gives the ingress classes of a target, and whether those are all of them.
// Gateways are read for it, live, and only if any setting asks for classes: the right
// to read them is granted only then.
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

// serves says whether objects of these ingress classes are the controller's: those of
// which nobody knows all are.
func (c *Controller) serves(classes []string, known bool) bool {
	return len(c.config.Classes) == 0 || !known || slices.ContainsFunc(classes, func(class string) bool { return slices.Contains(c.config.Classes, class) })
}
