// Package node tests the whole product on a real cluster: the controller runs as
// the Deployment of deploy/manifests/install.yaml on two nodes, and visitors come
// through a real Traefik.
package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/image"
	"maintenance-controller.io/e2e/local"
)

// site is what all tests of the package share: the cluster, with the controller on
// it. Each test has a namespace and hosts of its own.
var site struct {
	*cluster.Cluster
	kubectl   string // program
	kubecache string // folder
	dir       string // for archives and manifests

	image, nextImage string // of the product: one to install, one to upgrade to
}

// ownNamespace is the controller's, as the manifest has it.
const ownNamespace = "maintenance-system"

// settings make what is waited for quick, by the variables that users have. The
// settle time and the drain stay what they are: they are what visitors rely on.
var settings = map[string]string{
	"MAINTENANCE_PAGE_SET_GRACE_PERIOD": "10s",
	"MAINTENANCE_LEASE_DURATION":        "8s",
	"MAINTENANCE_LEASE_RENEW_DEADLINE":  "6s",
	"MAINTENANCE_LEASE_RETRY_PERIOD":    "1s",
	"MAINTENANCE_TARGETS":               "Ingress,IngressRoute,Service",
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests wait nearly all the time; it is not the processors that bound them.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // each test says why it does not run
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer func() {
		if site.Cluster != nil {
			site.Stop()
		}
		_ = os.RemoveAll(site.dir) // in the temporary folder, at worst
	}()
	if err := open(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// open starts the cluster and installs the controller.
func open(ctx context.Context) (err error) {
	if site.dir, err = os.MkdirTemp("", "maintenance-node-"); err != nil {
		return err
	}
	site.kubecache = filepath.Join(site.dir, "kubecache")
	cache, err := binaries.NewCache(os.Stderr)
	if err != nil {
		return err
	}
	if err := cache.Build(ctx, binaries.Everything()...); err != nil {
		return err
	}
	if site.kubectl, err = cache.Path(binaries.Kubectl()); err != nil {
		return err
	}
	archives, err := makeImages(ctx, cache)
	if err != nil {
		return err
	}
	site.Cluster, err = cluster.Start(ctx, cluster.NodeOptions{
		Options: cluster.Options{Log: os.Stderr}, Nodes: 2, Images: archives, ThrottleDuration: 100 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	return install(ctx, site.image, nil)
}

// makeImages builds the product and the apps, and names the archives of their images.
func makeImages(ctx context.Context, cache *binaries.Cache) (archives []string, err error) {
	in := func(name string) string { return filepath.Join(site.dir, name) }
	for name, pkg := range map[string]string{
		"maintenance-controller": "./cmd/maintenance-controller",
		"maintenance-page":       "./cmd/maintenance-page",
		"sample-app":             "maintenance-controller.io/e2e/sampleapp",
		"tls-app":                "maintenance-controller.io/e2e/node/tlsapp",
	} {
		if err := cache.BuildOwn(ctx, pkg, in(name)); err != nil {
			return nil, err
		}
	}
	product := []string{in("maintenance-controller"), in("maintenance-page")}
	tag, err := image.Tag(product...)
	if err != nil {
		return nil, err
	}
	site.image = "maintenance-controller:" + tag
	site.nextImage = site.image + "-next"
	for i, spec := range []image.Spec{
		{Reference: site.image, Programs: product, Entrypoint: "maintenance-controller"},
		{Reference: site.nextImage, Programs: product, Entrypoint: "maintenance-controller"},
		{Reference: "sample-app:dev", Programs: []string{in("sample-app"), in("tls-app")}, Entrypoint: "sample-app"},
	} {
		archive := in(fmt.Sprintf("image-%d.tar", i))
		if err := image.Write(archive, spec); err != nil {
			return nil, err
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// install applies the manifests that users apply, with an image of this tree and
// more environment variables, and waits until both replicas run it.
func install(ctx context.Context, image string, env map[string]string) error {
	root, err := binaries.Root()
	if err != nil {
		return err
	}
	var texts []string
	for _, name := range []string{"install.yaml", "service-targets.yaml"} {
		text, err := os.ReadFile(filepath.Join(root, "deploy", "manifests", name))
		if err != nil {
			return err
		}
		texts = append(texts, string(text))
	}
	all := maps.Clone(settings)
	maps.Copy(all, env)
	changed, err := withEnvironment(strings.Join(texts, "\n---\n"), all)
	if err != nil {
		return fmt.Errorf("change the manifest: %w", err)
	}
	file := filepath.Join(site.dir, "install.yaml")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		return err
	}
	return local.Cluster{Dir: filepath.Dir(site.Kubeconfig()), Log: os.Stderr}.Install(ctx, file, image)
}

// withEnvironment gives the controller's container more environment variables.
func withEnvironment(manifest string, env map[string]string) (string, error) {
	documents := strings.Split(manifest, "\n---\n")
	for i, document := range documents {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return "", err
		}
		if object["kind"] != "Deployment" {
			continue
		}
		path := []string{"spec", "template", "spec", "containers"}
		containers, found, err := unstructured.NestedSlice(object, path...)
		if err != nil || !found {
			return "", errors.Join(err, errors.New("the Deployment has no containers"))
		}
		container := containers[0].(map[string]any)
		variables, _, err := unstructured.NestedSlice(container, "env")
		if err != nil {
			return "", err
		}
		for name, value := range env {
			variables = append(variables, map[string]any{"name": name, "value": value})
		}
		container["env"] = variables
		if err := unstructured.SetNestedSlice(object, containers, path...); err != nil {
			return "", err
		}
		text, err := yaml.Marshal(object)
		if err != nil {
			return "", err
		}
		documents[i] = string(text)
		return strings.Join(documents, "\n---\n"), nil
	}
	return "", errors.New("no Deployment in it")
}
