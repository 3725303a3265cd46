// Package refusal tells errors that will come again, whatever is tried, from those
// that may pass: the first are told to people, who can do something about them.
package refusal

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Final says whether the API server will refuse the same again until somebody changes
// a right, a policy or an object. What is not there, and what somebody else was
// faster with, is no refusal.
func Final(err error) bool {
	var own refusal
	return errors.As(err, &own) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) ||
		apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err)
}

// refusal is a reason of our own not to write.
type refusal interface {
	error
	refused()
}

type reason string

func (r reason) Error() string { return string(r) }
func (r reason) refused()      {}

// New gives an error that is final, for errors.Is.
func New(text string) error { return reason(text) }
