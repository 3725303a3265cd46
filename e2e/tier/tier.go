// Package tier says which tests can run here.
package tier

import (
	"os"
	"testing"
)

// RequireNodes skips a test that needs a cluster with nodes where those cannot be:
// without root. In CI that is a failure: there, a skipped test looks like a passed one.
func RequireNodes(tb testing.TB) {
	tb.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") != "":
		tb.Fatal("the node tier needs root, and CI is set: run as root")
	default:
		tb.Skip("the node tier needs root: run make test as root")
	}
}
