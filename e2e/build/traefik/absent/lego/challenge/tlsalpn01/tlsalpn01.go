// Package tlsalpn01 is a stub, see ../../../README.md.
package tlsalpn01

import (
	"errors"
	"time"
)

// ACMETLS1Protocol is the protocol of the challenge (RFC 8737, section 3).
const ACMETLS1Protocol = "acme-tls/1"

// ChallengeOption sets nothing.
type ChallengeOption func()

// SetDelay sets nothing.
func SetDelay(time.Duration) ChallengeOption { return nil }

// ChallengeBlocks fails.
func ChallengeBlocks(_, _ string) (certificate, key []byte, err error) {
	return nil, nil, errors.ErrUnsupported
}
