// Package onplane runs the tests of a package on one control plane, on which the
// kubelet is played.
package onplane

import (
	"context"
	"fmt"
	"os"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/played"
	"maintenance-controller.io/e2e/program"
)

// Run is for TestMain: it starts the control plane, has the tests run on it, and takes
// everything away again. It gives the exit code, the tests' if it came to them.
func Run(options cluster.Options, tests func(*cluster.ControlPlane) int) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	options.Log = os.Stderr
	plane, err := cluster.StartControlPlane(ctx, options)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer plane.Stop()
	if err := played.Kubelet(ctx, plane.Config()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer program.Clean()
	return tests(plane)
}
