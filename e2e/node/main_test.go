// Package node tests the whole product on a real cluster: the controller is
// installed by Helm from deploy/chart and runs on two nodes, and visitors come
// through a real Traefik.
package node

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/helm"
	"maintenance-controller.io/e2e/image"
	"maintenance-controller.io/e2e/local"
	"maintenance-controller.io/e2e/quiet"
)

// site is what all tests of the package share: the cluster, with the controller on
// it. Each test has a namespace and hosts of its own.
var site struct {
	*cluster.Cluster
	kubectl   string // program
	kubecache string // folder
	dir       string // for archives and manifests

	image, nextImage string // of the product: one to install, one to upgrade to
	audit            quiet.Audit
}

// ownNamespace is the controller's, as the documents have it.
const ownNamespace = "maintenance-system"

// graceful and settings make what is waited for quick, by the value and the variables
// that users have. The settle time and the drain stay what they are: they are what
// visitors rely on.
const graceful = "10s"

var settings = map[string]string{
	"MAINTENANCE_LEASE_DURATION":       "8s",
	"MAINTENANCE_LEASE_RENEW_DEADLINE": "6s",
	"MAINTENANCE_LEASE_RETRY_PERIOD":   "1s",
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
	code := m.Run()
	if err := rests(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "RESTLESS", err)
		return max(code, 1)
	}
	return code
}

// rests leaves the controller alone, now that all tests have ended, and wants it to send
// nothing, or to back off from what a test has left behind.
func rests(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(site.Config())
	if err != nil {
		return err
	}
	d, err := client.AppsV1().Deployments(ownNamespace).Get(ctx, helm.Release, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && d.Status.ReadyReplicas == 0 {
		return nil // the last test has taken it away
	}
	if err != nil {
		return err
	}
	began := time.Now()
	const bound = 35 * time.Second
	err = site.audit.Until(bound)
	fmt.Fprintf(os.Stderr, "the controller was left alone for %.1fs\n", time.Since(began).Seconds())
	return err
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
	if site.audit, err = quiet.NewAudit(site.dir, "system:serviceaccount:"+ownNamespace+":"+helm.Release); err != nil {
		return err
	}
	site.Cluster, err = cluster.Start(ctx, cluster.NodeOptions{
		Options: cluster.Options{Log: os.Stderr, APIServerArgs: site.audit.Flags()}, Nodes: 2, Images: archives,
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
		"lasting-app":            "maintenance-controller.io/e2e/node/lastingapp",
		"grpc-app":               "maintenance-controller.io/e2e/node/grpcapp",
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
		{Reference: "sample-app:dev", Programs: []string{in("sample-app"), in("tls-app"), in("lasting-app"), in("grpc-app")}, Entrypoint: "sample-app"},
	} {
		archive := in(fmt.Sprintf("image-%d.tar", i))
		if err := image.Write(archive, spec); err != nil {
			return nil, err
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// install installs the chart as users do, or upgrades it, with an image of this tree
// and more values, and returns when both replicas run it.
func install(ctx context.Context, image string, more map[string]any) error {
	values, err := yaml.Marshal(valuesWith(more))
	if err != nil {
		return err
	}
	return local.Cluster{Dir: filepath.Dir(site.Kubeconfig()), Log: os.Stderr}.Install(ctx, image, string(values), "-")
}

// valuesWith are the chart's values, with more of them, by group.
func valuesWith(more map[string]any) map[string]any {
	var variables []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		variables = append(variables, corev1.EnvVar{Name: name, Value: settings[name]})
	}
	values := map[string]any{"controller": map[string]any{
		"targets": []string{"Ingress", "IngressRoute", "HTTPRoute", "GRPCRoute", "Service"}, "pageSetGracePeriod": graceful, "extraEnv": variables,
	}}
	for name, group := range more {
		into, both := values[name].(map[string]any)
		if from, is := group.(map[string]any); both && is {
			maps.Copy(into, from)
		} else {
			values[name] = group
		}
	}
	return values
}
