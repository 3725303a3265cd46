package restore

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// podPollInterval is how often to check whether the controller's Pods have stopped.
const podPollInterval = 500 * time.Millisecond

// Leader returns the holder of the controller's Lease. It is empty if no controller is running: the
// Lease does not exist, was released, or was not renewed within its duration.
func Leader(ctx context.Context, client kubernetes.Interface, now clock.PassiveClock, namespace, lease string) (string, error) {
	l, err := client.CoordinationV1().Leases(namespace).Get(ctx, lease, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read Lease %s/%s: %w", namespace, lease, err)
	}
	s := l.Spec
	if s.HolderIdentity == nil || s.RenewTime == nil || s.LeaseDurationSeconds == nil {
		return "", nil
	}
	if now.Since(s.RenewTime.Time) > time.Duration(*s.LeaseDurationSeconds)*time.Second {
		return "", nil
	}
	return *s.HolderIdentity, nil
}

// ScaleDown scales the controller's Deployment to 0 and waits until its Pods have stopped or ctx
// ends. A Deployment that does not exist is no error.
func ScaleDown(ctx context.Context, client kubernetes.Interface, namespace, deployment string) error {
	d, err := client.AppsV1().Deployments(namespace).Get(ctx, deployment, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read Deployment %s/%s: %w", namespace, deployment, err)
	}
	_, err = client.AppsV1().Deployments(namespace).Patch(ctx, deployment, types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{}, "scale")
	if err != nil {
		return fmt.Errorf("scale Deployment %s/%s to 0: %w", namespace, deployment, err)
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return fmt.Errorf("selector of Deployment %s/%s: %w", namespace, deployment, err)
	}
	var left []string
	err = wait.PollUntilContextCancel(ctx, podPollInterval, true, func(ctx context.Context) (bool, error) {
		pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
		if err != nil {
			return false, fmt.Errorf("list Pods of Deployment %s/%s: %w", namespace, deployment, err)
		}
		left = left[:0]
		for _, p := range pods.Items {
			if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
				left = append(left, p.Name)
			}
		}
		return len(left) == 0, nil
	})
	if ctx.Err() != nil && len(left) > 0 {
		return fmt.Errorf("scaled Deployment %s/%s to 0, but these Pods did not stop in time: %v", namespace, deployment, left)
	}
	return err
}

// DeleteLease deletes the Lease, which the controller created itself. A Lease that does not exist is
// no error.
func DeleteLease(ctx context.Context, client kubernetes.Interface, namespace, lease string) error {
	err := client.CoordinationV1().Leases(namespace).Delete(ctx, lease, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Lease %s/%s: %w", namespace, lease, err)
	}
	return nil
}
