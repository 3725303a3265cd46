// Package node tests the whole product on a real cluster: Helm installs the controller
// from deploy/chart on two nodes, and visitors come through a real Traefik.
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
	"maintenance-controller.io/e2e/idle"
	"maintenance-controller.io/e2e/image"
	"maintenance-controller.io/e2e/local"
)

// site is shared by all tests of the package: the cluster with the controller. Each test
// has its own namespace and hosts.
var site struct {
	*cluster.Cluster
	kubectl   string // path of the program
	kubecache string // folder for kubectl's cache
	dir       string // folder for archives and manifests

	image, nextImage string // the product's image, and one to upgrade to
	audit            idle.Audit
}

// ownNamespace is the controller's namespace, as in the documents.
const ownNamespace = "maintenance-system"

// pageSetGracePeriod and leaseSettings shorten waits by settings that users have, too. The
// settle time and the drain keep their defaults, since visitors rely on them.
const pageSetGracePeriod = "10s"

var leaseSettings = map[string]string{
	"MAINTENANCE_LEASE_DURATION":       "8s",
	"MAINTENANCE_LEASE_RENEW_DEADLINE": "6s",
	"MAINTENANCE_LEASE_RETRY_PERIOD":   "1s",
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests mostly wait, so more of them can run at once than there are processors. With six of them,
	// a slow machine with two was too busy for Traefik to follow in the time that it needs by itself.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // each test says why it is skipped
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer func() {
		if site.Cluster != nil {
			site.Stop()
		}
		_ = os.RemoveAll(site.dir) // in the temporary folder, at worst
	}()
	if err := startSite(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := requireIdle(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "NOT IDLE:", err)
		return max(code, 1)
	}
	return code
}

// requireIdle checks, after all tests, that the controller stops sending requests, apart from
// retries with backoff for what a test left behind.
func requireIdle(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(site.Config())
	if err != nil {
		return err
	}
	d, err := client.AppsV1().Deployments(ownNamespace).Get(ctx, helm.Release, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && d.Status.ReadyReplicas == 0 {
		return nil // the last test uninstalled it
	}
	if err != nil {
		return err
	}
	began := time.Now()
	// It ends as soon as the controller is idle: deleting the namespaces of the last tests gives it work.
	const bound = waitTimeout + 35*time.Second
	err = site.audit.WaitIdle(bound)
	fmt.Fprintf(os.Stderr, "watched the idle controller for %.1fs\n", time.Since(began).Seconds())
	return err
}

// startSite starts the cluster and installs the controller.
func startSite(ctx context.Context) (err error) {
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
	if site.audit, err = idle.NewAudit(site.dir, "system:serviceaccount:"+ownNamespace+":"+helm.Release); err != nil {
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

// makeImages builds the product and the apps, and returns the paths of their image archives.
func makeImages(ctx context.Context, cache *binaries.Cache) (archives []string, err error) {
	in := func(name string) string { return filepath.Join(site.dir, name) }
	for name, pkg := range map[string]string{
		"maintenance-controller": "./cmd/maintenance-controller",
		"maintenance-page":       "./cmd/maintenance-page",
		"sample-app":             "maintenance-controller.io/e2e/sampleapp",
		"tls-app":                "maintenance-controller.io/e2e/node/tlsapp",
		"streaming-app":          "maintenance-controller.io/e2e/node/streamingapp",
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
		{Reference: "sample-app:dev", Programs: []string{in("sample-app"), in("tls-app"), in("streaming-app"), in("grpc-app")}, Entrypoint: "sample-app"},
	} {
		archive := in(fmt.Sprintf("image-%d.tar", i))
		if err := image.Write(archive, spec); err != nil {
			return nil, err
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// install installs or upgrades the chart as users do, with an image of this tree and more
// values, and waits until both replicas run it.
func install(ctx context.Context, image string, more map[string]any) error {
	values, err := yaml.Marshal(valuesWith(more))
	if err != nil {
		return err
	}
	return local.Cluster{Dir: filepath.Dir(site.Kubeconfig()), Log: os.Stderr}.Install(ctx, image, string(values), "-")
}

// valuesWith returns the chart's values for these tests, merged with more, by group.
func valuesWith(more map[string]any) map[string]any {
	var variables []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(leaseSettings)) {
		variables = append(variables, corev1.EnvVar{Name: name, Value: leaseSettings[name]})
	}
	values := map[string]any{"controller": map[string]any{
		"targets": []string{"Ingress", "IngressRoute", "HTTPRoute", "GRPCRoute", "Service"}, "pageSetGracePeriod": pageSetGracePeriod, "extraEnv": variables,
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
