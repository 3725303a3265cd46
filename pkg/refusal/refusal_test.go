package refusal

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestFinal(t *testing.T) {
	ingresses := schema.GroupResource{Group: "networking.k8s.io", Resource: "ingresses"}
	foreign := New("it is not ours")
	for _, err := range []error{
		foreign,
		fmt.Errorf("ConfigMap shop/a: %w", foreign),
		fmt.Errorf("update: %w", apierrors.NewForbidden(ingresses, "a", errors.New("quota"))),
		apierrors.NewUnauthorized("expired"),
		apierrors.NewInvalid(schema.GroupKind{Kind: "Ingress"}, "a", nil),
		apierrors.NewBadRequest("a webhook denied it"),
		apierrors.NewRequestEntityTooLargeError("3 MiB"),
		errors.Join(errors.New("timeout"), foreign),
	} {
		assert.True(t, Final(err), "%v", err)
	}
	for _, err := range []error{
		nil,
		errors.New("connection refused"),
		apierrors.NewConflict(ingresses, "a", errors.New("newer")),
		apierrors.NewNotFound(ingresses, "a"),
		apierrors.NewTooManyRequestsError("later"),
		apierrors.NewServiceUnavailable("starting"),
		apierrors.NewInternalError(errors.New("a webhook did not answer")),
	} {
		assert.False(t, Final(err), "%v", err)
	}
	assert.ErrorIs(t, fmt.Errorf("a: %w", foreign), foreign)
}

func TestNamespaceGone(t *testing.T) {
	terminating := apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "a", errors.New("it is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for _, err := range []error{terminating, fmt.Errorf("create: %w", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop"))} {
		assert.True(t, NamespaceGone(err), "%v", err)
	}
	for _, err := range []error{
		nil,
		errors.New("connection refused"),
		apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "a", errors.New("quota")),
		apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, "a"),
	} {
		assert.False(t, NamespaceGone(err), "%v", err)
	}
}
