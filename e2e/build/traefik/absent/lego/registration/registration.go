// Package registration is a stub, see ../../README.md.
package registration

import "errors"

// Resource is a registration.
type Resource struct {
	URI string `json:"uri,omitempty"`
}

// RegisterOptions are those of Register.
type RegisterOptions struct{ TermsOfServiceAgreed bool }

// RegisterEABOptions are those of RegisterWithExternalAccountBinding.
type RegisterEABOptions struct {
	TermsOfServiceAgreed bool
	Kid, HmacEncoded     string
}

// Registrar registers nobody.
type Registrar struct{}

// Register fails.
func (*Registrar) Register(RegisterOptions) (*Resource, error) { return nil, errors.ErrUnsupported }

// RegisterWithExternalAccountBinding fails.
func (*Registrar) RegisterWithExternalAccountBinding(RegisterEABOptions) (*Resource, error) {
	return nil, errors.ErrUnsupported
}
