package controller

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// refusal is the reason of the event that tells why a target cannot be written.
func (c *Controller) refusal(ref target.Ref, object *unstructured.Unstructured) plan.Reason {
	if c.wants(ref, object.GetAnnotations()) {
		return plan.PageNotReady
	}
	return plan.RestoreFailed
}

// noBackup tells why originals, or the way to them, cannot be stored: on the
// target too, which stays as it is until they can be.
func (c *Controller) noBackup(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured, err error) error {
	reason := plan.PageNotReady
	if errors.Is(err, installation.ErrOther) { // it was faster: the watch is about to show it
		return err
	}
	if errors.Is(err, companion.ErrForeign) {
		reason = plan.NameConflict
	}
	if refused := c.refused(ref, object, reason, err); refused == nil || !refusal.Final(err) {
		return refused
	}
	blocked := plan.Block(object.Object, err.Error(), c.config.Installation.ID)
	if blocked == nil {
		return err
	}
	_, updateErr := c.config.Dynamic.Resource(kind.Resource).Namespace(ref.Namespace).Update(ctx, &unstructured.Unstructured{Object: blocked}, metav1.UpdateOptions{FieldManager: ownership.Manager})
	return errors.Join(err, updateErr)
}

// refused tells people of a write that will not succeed by itself.
func (c *Controller) refused(ref target.Ref, object *unstructured.Unstructured, reason plan.Reason, err error) error {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil // everything in it goes
	}
	if refusal.Final(err) {
		c.tell(ref, object, []plan.Event{{Reason: reason, Message: annotations.ClipTo(err.Error(), annotations.MaxMessage)}})
	}
	return err
}

// tell people on the target what there is to say about it now.
func (c *Controller) tell(ref target.Ref, object *unstructured.Unstructured, events []plan.Event) {
	about := &corev1.ObjectReference{
		APIVersion: object.GetAPIVersion(), Kind: object.GetKind(), Namespace: ref.Namespace, Name: ref.Name,
		UID: object.GetUID(), ResourceVersion: object.GetResourceVersion(),
	}
	notices := make([]notice.Notice, 0, len(events))
	for _, e := range events {
		notices = append(notices, notice.Notice{Warning: e.Reason.Warning(), Reason: string(e.Reason), Message: e.Message})
	}
	c.notices.Tell(ref, about, notices)
}
