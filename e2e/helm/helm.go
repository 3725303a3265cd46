// Package helm runs Helm, the program that people have, on a cluster.
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

// Names of an installation as the documents have it.
const (
	Release   = "maintenance-controller"
	Namespace = "maintenance-system"
)

// Chart is where the project's chart is in this tree.
func Chart() (string, error) {
	root, err := binaries.Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "deploy", "chart"), nil
}

// Helm is the program, on one cluster.
type Helm struct{ program, kubeconfig string }

// New builds the program if it is not there yet.
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

// Run runs it in the namespace of the installation and gives all that it says. An
// error has that too.
func (h *Helm) Run(ctx context.Context, args ...string) (string, error) {
	return h.Give(ctx, "", args...)
}

// Give is Run with something to read, such as values: `--values -`.
func (h *Helm) Give(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, h.program, append([]string{"--namespace", Namespace}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+h.kubeconfig)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// Image is how the chart is told of an image, given as name:tag.
func Image(reference string) []string {
	colon := strings.LastIndex(reference, ":") // the one before it may be a registry's port
	return []string{"--set", "image.repository=" + reference[:colon], "--set-string", "image.tag=" + reference[colon+1:]}
}
