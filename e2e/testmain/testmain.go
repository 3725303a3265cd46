// Package testmain runs the tests of a package on one control plane with a fake kubelet.
package testmain

import (
	"context"
	"fmt"
	"os"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/controllerproc"
	"maintenance-controller.io/e2e/fakekubelet"
)

// Run is for TestMain: it starts the control plane, runs the tests on it and removes
// everything again. It returns the exit code: that of the tests, or 1 if the control
// plane did not start.
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
	if err := fakekubelet.Run(ctx, plane.Config()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer controllerproc.Clean()
	return tests(plane)
}
