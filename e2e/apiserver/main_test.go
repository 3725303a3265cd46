// Package apiserver tests the controller on a real API server, so that conflicts,
// admission, field ownership and garbage collection are real. Only the kubelet is a fake.
package apiserver

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/testmain"
)

// long runs the long forms of the tests that have one, as `make soak` does.
var long = flag.Bool("long", false, "run the long forms of tests")

// plane is shared by all tests of the package. Each test has namespaces of its own.
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
	return testmain.Run(cluster.Options{CRDs: true}, func(p *cluster.ControlPlane) int {
		plane = p
		code := m.Run()
		if !reportIdleChecks() && code == 0 {
			code = 1
		}
		return code
	})
}
