package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"maintenance-controller.io/e2e/cluster"
)

// installTimeout bounds the start of the controller's Pods.
const installTimeout = 2 * time.Minute

// released matches the image of the product in a manifest, whatever its registry
// and tag.
var released = regexp.MustCompile(`(?m)\bimage:\s*"?([^\s"]*maintenance-controller[:@][^\s"]+)"?\s*$`)

// Install applies a manifest with the image in place of the released one, and
// waits until all Deployments that run the image are available.
func (c Cluster) Install(ctx context.Context, manifest, image string) error {
	text, err := os.ReadFile(manifest)
	if err != nil {
		return fmt.Errorf("install the controller: %w", err)
	}
	text, err = WithImage(text, image)
	if err != nil {
		return fmt.Errorf("install the controller from %s: %w", manifest, err)
	}
	config, err := c.Config()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := cluster.Apply(ctx, config, text); err != nil {
		return fmt.Errorf("install the controller from %s: %w", manifest, err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if err := awaitDeployments(ctx, client, image); err != nil {
		return err
	}
	c.logf("controller installed in %s", time.Since(begin).Round(100*time.Millisecond))
	return nil
}

// WithImage replaces the product's image wherever a manifest names it: the page
// Pods' image is an argument of the controller.
func WithImage(manifest []byte, image string) ([]byte, error) {
	found := released.FindSubmatch(manifest)
	if found == nil {
		return nil, errors.New("the manifest names no image of maintenance-controller")
	}
	return bytes.ReplaceAll(manifest, found[1], []byte(image)), nil
}

func awaitDeployments(ctx context.Context, client kubernetes.Interface, image string) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	for {
		waiting, err := unavailable(ctx, client, image)
		if err == nil && waiting == "" {
			return nil
		}
		if pauseErr := pause(ctx); pauseErr != nil {
			return fmt.Errorf("wait for the controller: %w: %s", errors.Join(pauseErr, err), waiting)
		}
	}
}

// unavailable describes a Deployment of the image that is not there yet.
func unavailable(ctx context.Context, client kubernetes.Interface, image string) (string, error) {
	all, err := client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list the Deployments: %w", err)
	}
	seen := false
	for _, d := range all.Items {
		if !runs(&d, image) {
			continue
		}
		seen = true
		want, s := *d.Spec.Replicas, d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < want || s.AvailableReplicas < want || s.Replicas > want {
			return fmt.Sprintf("Deployment %s/%s: %d of %d Pods are available (kubectl -n %s get pods)",
				d.Namespace, d.Name, s.AvailableReplicas, want, d.Namespace), nil
		}
	}
	if !seen {
		return "no Deployment runs " + image, nil
	}
	return "", nil
}

func runs(d *appsv1.Deployment, image string) bool {
	for _, c := range d.Spec.Template.Spec.Containers {
		if c.Image == image {
			return true
		}
	}
	return false
}
