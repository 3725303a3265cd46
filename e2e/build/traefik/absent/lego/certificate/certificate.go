// Package certificate is a stub, see ../../README.md.
package certificate

import "errors"

// Resource is a certificate.
type Resource struct {
	Domain      string
	PrivateKey  []byte
	Certificate []byte
}

// ObtainRequest asks for a certificate.
type ObtainRequest struct {
	Domains        []string
	Bundle         bool
	EmailAddresses []string
	Profile        string
	PreferredChain string
}

// RenewOptions are those of a renewal.
type RenewOptions struct {
	Bundle         bool
	EmailAddresses []string
	Profile        string
	PreferredChain string
}

// Certifier gets no certificates.
type Certifier struct{}

// Obtain fails.
func (*Certifier) Obtain(ObtainRequest) (*Resource, error) { return nil, errors.ErrUnsupported }

// RenewWithOptions fails.
func (*Certifier) RenewWithOptions(Resource, *RenewOptions) (*Resource, error) {
	return nil, errors.ErrUnsupported
}
