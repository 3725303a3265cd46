// Package http01 is a stub, see ../../../README.md.
package http01

import "time"

// ChallengeOption sets nothing.
type ChallengeOption func()

// SetDelay sets nothing.
func SetDelay(time.Duration) ChallengeOption { return nil }

// ChallengePath is where the answer to a challenge is (RFC 8555, section 8.3).
func ChallengePath(token string) string { return "/.well-known/acme-challenge/" + token }
