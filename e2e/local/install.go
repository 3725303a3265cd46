package local

import (
	"context"
	"fmt"
	"time"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/helm"
)

// installTimeout bounds the start of the controller's Pods.
const installTimeout = 2 * time.Minute

// namespace enforces the strictest Pod Security Standard, which the controller must pass.
const namespace = `apiVersion: v1
kind: Namespace
metadata:
  name: ` + helm.Namespace + `
  labels: {pod-security.kubernetes.io/enforce: restricted}
`

// Install installs the chart with Helm, or upgrades what is installed, with an
// image and a file of values for each of values; "-" is input. It returns when all
// replicas are there.
func (c Cluster) Install(ctx context.Context, image, input string, values ...string) error {
	config, err := c.Config()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := cluster.Apply(ctx, config, []byte(namespace)); err != nil {
		return fmt.Errorf("install the controller: %w", err)
	}
	chart, err := helm.Chart()
	if err != nil {
		return err
	}
	h, err := helm.New(ctx, c.Kubeconfig())
	if err != nil {
		return err
	}
	args := append([]string{"upgrade", helm.Release, chart, "--install", "--wait", "--timeout", installTimeout.String()}, helm.Image(image)...)
	for _, file := range values {
		args = append(args, "--values", file)
	}
	if _, err := h.RunWithInput(ctx, input, args...); err != nil {
		return fmt.Errorf("install the controller: %w", err)
	}
	c.logf("controller installed in %s", time.Since(begin).Round(100*time.Millisecond))
	return nil
}
