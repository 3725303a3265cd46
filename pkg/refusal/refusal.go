// Package refusal distinguishes errors that will occur again on every attempt from those
// that may pass: the former are reported to people, who can do something about them.
package refusal

import (
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/manual"
)

// Final says whether the API server will refuse the same request again until somebody
// changes a right, a policy or an object. A missing object and a conflict with another
// writer are not final.
func Final(err error) bool {
	var own refusal
	return errors.As(err, &own) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) ||
		apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err)
}

// NamespaceGone reports whether the API server refuses to create an object because its namespace is
// being deleted, or no longer exists. The watches then show that all objects in it are deleted.
func NamespaceGone(err error) bool {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return true
	}
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Kind == "namespaces"
}

// ErrNoProgress means that the API server accepted an update and stored nothing of it.
// Sending it again at once would get the same answer.
var ErrNoProgress = New("the API server accepted the update but stored nothing of it: an admission webhook reverts what the controller writes, " +
	"see " + manual.Webhooks().String() + " for how to find it")

// Unstored returns ErrNoProgress if the answer to an update has the resourceVersion that was
// sent: only an update that changes something gets a new one.
func Unstored(sent, answer metav1.Object) error {
	if sent.GetResourceVersion() == answer.GetResourceVersion() {
		return ErrNoProgress
	}
	return nil
}

// refusal is a reason of our own not to write.
type refusal interface {
	error
	refused()
}

type reason string

func (r reason) Error() string { return string(r) }
func (r reason) refused()      {}

// New gives an error that is Final. It equals another one with the same text, for
// errors.Is.
func New(text string) error { return reason(text) }
