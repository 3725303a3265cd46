package controller

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/companion"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/notice"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/refusal"
	"maintenance-controller.io/pkg/target"
)

// refusalReason returns the reason of the Event that says why a target cannot be written.
func (c *Controller) refusalReason(ref target.Ref, object *unstructured.Unstructured) plan.Reason {
	if c.wants(ref, object.GetAnnotations()) {
		return plan.PageNotReady
	}
	return plan.RestoreFailed
}

// backupFailed reports why originals, or the origin Service, cannot be stored. It also writes the
// reason to the target, which stays as it is until they can be stored.
func (c *Controller) backupFailed(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured, err error) error {
	reason := plan.PageNotReady
	if errors.Is(err, installation.ErrOther) { // the other installation was faster: the watch is about to show it
		return err
	}
	if errors.Is(err, companion.ErrForeign) {
		reason = plan.NameConflict
	}
	if refused := c.reportRefusal(ref, object, reason, err); refused == nil || !refusal.Final(err) {
		return refused
	}
	blocked := plan.Block(object.Object, err.Error(), c.config.Installation.ID)
	if blocked == nil {
		return err
	}
	_, updateErr := c.config.Dynamic.Resource(kind.Resource).Namespace(ref.Namespace).Update(ctx, &unstructured.Unstructured{Object: blocked}, metav1.UpdateOptions{FieldManager: ownership.Manager})
	return errors.Join(err, updateErr)
}

// reportRefusal records an Event about a write that a retry will not fix.
func (c *Controller) reportRefusal(ref target.Ref, object *unstructured.Unstructured, reason plan.Reason, err error) error {
	if refusal.NamespaceGone(err) {
		return nil // everything in it is being deleted
	}
	if refusal.Final(err) {
		c.sendEvents(ref, object, []plan.Event{{Reason: reason, Message: annotations.ClipTo(err.Error(), annotations.MaxMessage)}})
	}
	return err
}

// sendEvents records the Events that hold for the target now.
func (c *Controller) sendEvents(ref target.Ref, object *unstructured.Unstructured, events []plan.Event) {
	about := &corev1.ObjectReference{
		APIVersion: object.GetAPIVersion(), Kind: object.GetKind(), Namespace: ref.Namespace, Name: ref.Name,
		UID: object.GetUID(), ResourceVersion: object.GetResourceVersion(),
	}
	notices := make([]notice.Notice, 0, len(events))
	for _, e := range events {
		notices = append(notices, notice.Notice{Warning: e.Reason.Warning(), Reason: string(e.Reason), Message: e.Message})
	}
	c.notices.Post(ref, about, notices)
}
