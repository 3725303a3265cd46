// Package apiserver tests the controller on a real API server: all that it
// decides (conflicts, admission, field ownership, garbage collection) is real;
// only the kubelet is played.
package apiserver

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/played"
	"maintenance-controller.io/e2e/program"
)

// long asks for the long forms of the tests that have one; `make soak` does.
var long = flag.Bool("long", false, "run tests that have a long form at length")

// plane is shared by all tests of the package; each has namespaces of its own.
var plane *cluster.ControlPlane

func TestMain(m *testing.M) {
	if wants := os.Getenv(editorWants); wants != "" {
		if err := actAsEditor(os.Args[len(os.Args)-1], wants); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	flag.Parse()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var err error
	plane, err = cluster.StartControlPlane(ctx, cluster.Options{Log: os.Stderr, TraefikCRDs: true})
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
	code := m.Run()
	if !judgeRest() && code == 0 {
		code = 1
	}
	return code
}
