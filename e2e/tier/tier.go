// Package tier skips tests that cannot run on this machine.
package tier

import (
	"os"
	"testing"
)

// RequireNodes skips a test that needs a cluster with nodes unless it runs as root. If CI is set,
// it fails the test instead, since in CI a skipped test looks like a passed one.
func RequireNodes(tb testing.TB) {
	tb.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") != "":
		tb.Fatal("the node tier needs root, and CI is set: run as root")
	default:
		tb.Skip("the node tier needs root: run it as root")
	}
}
