// Package dns01 is a stub, see ../../../README.md.
package dns01

import (
	"strings"
	"time"
)

// ChallengeOption sets nothing.
type ChallengeOption func()

// AddRecursiveNameservers sets nothing.
func AddRecursiveNameservers([]string) ChallengeOption { return nil }

// RecursiveNSsPropagationRequirement sets nothing.
func RecursiveNSsPropagationRequirement() ChallengeOption { return nil }

// DisableAuthoritativeNssPropagationRequirement sets nothing.
func DisableAuthoritativeNssPropagationRequirement() ChallengeOption { return nil }

// PropagationWait sets nothing.
func PropagationWait(time.Duration, bool) ChallengeOption { return nil }

// UnFqdn takes the final dot off a name.
func UnFqdn(name string) string { return strings.TrimSuffix(name, ".") }
