// Package helm runs the program Helm against a cluster.
package helm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"maintenance-controller.io/e2e/binaries"
)

const (
	// Release is the name of the Helm release in the documents.
	Release = "maintenance-controller"
	// Namespace is the namespace of that release.
	Namespace = "maintenance-system"
)

// Chart returns the folder of the project's chart in this tree.
func Chart() (string, error) {
	root, err := binaries.Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "deploy", "chart"), nil
}

// Helm runs the program against one cluster.
type Helm struct{ program, kubeconfig string }

// New returns a Helm for the cluster of a kubeconfig file. It builds the program first if it is
// not cached.
func New(ctx context.Context, kubeconfig string) (*Helm, error) {
	cache, err := binaries.NewCache(os.Stderr)
	if err != nil {
		return nil, err
	}
	if err := cache.Build(ctx, binaries.Helm()); err != nil {
		return nil, err
	}
	program, err := cache.Path(binaries.Helm())
	if err != nil {
		return nil, err
	}
	return &Helm{program: program, kubeconfig: kubeconfig}, nil
}

// Run runs helm in Namespace and returns its output, stdout and stderr together. An error
// contains the output, too.
func (h *Helm) Run(ctx context.Context, args ...string) (string, error) {
	return h.RunWithInput(ctx, "", args...)
}

// RunWithInput is Run with input on stdin, such as values for `--values -`.
func (h *Helm) RunWithInput(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, h.program, append([]string{"--namespace", Namespace}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+h.kubeconfig)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// Image returns the arguments that set the chart's image. reference must have the form name:tag.
func Image(reference string) []string {
	colon := strings.LastIndex(reference, ":") // an earlier colon may belong to a registry's port
	return []string{"--set", "image.repository=" + reference[:colon], "--set-string", "image.tag=" + reference[colon+1:]}
}
