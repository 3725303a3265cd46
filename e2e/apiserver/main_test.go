// Package apiserver tests the controller on a real API server: all that it
// decides (conflicts, admission, field ownership, garbage collection) is real;
// only the kubelet is played.
package apiserver

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/onplane"
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
	return onplane.Run(cluster.Options{CRDs: true}, func(p *cluster.ControlPlane) int {
		plane = p
		code := m.Run()
		if !judgeRest() && code == 0 {
			code = 1
		}
		return code
	})
}
