// Package fakekubelet stands in for the kubelet in tests that have no node: they need
// nothing of a Pod except that it becomes ready, or does not.
package fakekubelet

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

const nodeName = "fake"

// Images that never run. A Pod of any other image runs and becomes ready.
const (
	ImagePending   = "pending"    // the Pod stays pending
	ImagePullFails = "pull-fails" // the image cannot be pulled
	ImageRefused   = "refused"    // the node refuses the Pod
)

// Run creates a node, binds Pods to it, sets their status by the name of their image, and
// completes their deletion. It returns at once and goes on until ctx ends.
func Run(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	if _, err = client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create node: %w", err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: nodeName, Namespace: corev1.NamespaceNodeLease}}
	if _, err = client.CoordinationV1().Leases(lease.Namespace).Create(ctx, lease, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create node lease: %w", err)
	}
	go wait.UntilWithContext(ctx, func(ctx context.Context) { heartbeat(ctx, client) }, 5*time.Second)
	pods := informers.NewSharedInformerFactory(client, 0).Core().V1().Pods().Informer()
	handle := func(object any) {
		if p, ok := object.(*corev1.Pod); ok {
			step(ctx, client, p.DeepCopy())
		}
	}
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(_, now any) { handle(now) }}); err != nil {
		return err
	}
	go pods.RunWithContext(ctx)
	return nil
}

// heartbeat keeps the node lifecycle controller from taking the node for lost.
func heartbeat(ctx context.Context, client kubernetes.Interface) {
	now := metav1.NowMicro()
	if lease, err := client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, nodeName, metav1.GetOptions{}); err == nil {
		lease.Spec.RenewTime = &now
		_, _ = client.CoordinationV1().Leases(lease.Namespace).Update(ctx, lease, metav1.UpdateOptions{})
	}
	if node, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{}); err == nil {
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Fake", LastHeartbeatTime: metav1.Now()}}
		_, _ = client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	}
}

// step moves a Pod one step on. A step that fails is retried with the next event of the
// Pod: the change that made it fail.
func step(ctx context.Context, client kubernetes.Interface, p *corev1.Pod) {
	pods := client.CoreV1().Pods(p.Namespace)
	switch {
	case p.DeletionTimestamp != nil:
		now := int64(0)
		_ = pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.UID}})
	case p.Spec.NodeName == "":
		_ = pods.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
		}, metav1.CreateOptions{})
	case setStatus(p):
		_, _ = pods.UpdateStatus(ctx, p, metav1.UpdateOptions{})
	}
}

// setStatus gives the Pod the status that its image stands for; false if it has that
// status already.
func setStatus(p *corev1.Pod) bool {
	switch image := p.Spec.Containers[0].Image; image {
	case ImagePending:
		return false
	case ImageRefused:
		if p.Status.Phase == corev1.PodFailed {
			return false
		}
		p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Refused", Message: "no room"}
	case ImagePullFails:
		if len(p.Status.ContainerStatuses) > 0 {
			return false
		}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "page", Image: image, State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"},
		}}}
	default:
		if p.Status.PodIP != "" {
			return false
		}
		p.Status = running(p)
	}
	return true
}

func running(p *corev1.Pod) corev1.PodStatus {
	h := fnv.New32()
	_, _ = h.Write([]byte(p.UID))
	n := h.Sum32()
	ip := fmt.Sprintf("10.%d.%d.%d", 1+n>>16&0x7f, n>>8&0xff, 1+n&0x7f)
	now := metav1.Now()
	yes := true
	return corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, StartTime: &now,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
		},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: p.Spec.Containers[0].Name, Image: p.Spec.Containers[0].Image, Ready: true, Started: &yes,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		}},
	}
}
