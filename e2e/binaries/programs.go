// Package binaries provides the programs that a local cluster runs. It builds them from the
// pinned modules in e2e/build or takes them from Debian packages, and keeps them in a cache
// folder outside of the source tree.
package binaries

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
)

// Program is a program that Cache.Build makes.
type Program struct {
	Name string // file name of the binary
	pkg  string
	from *module
}

// module is one of the modules under e2e/build.
type module struct {
	folder string
	path   string // the required module whose version it is
	// versionFlags are linker flags that set the program's version, as upstream's own
	// build does.
	versionFlags func(version string) []string
	tags         string        // of the build
	cost         time.Duration // see part
}

// KubeAPIServer is the API server.
func KubeAPIServer() Program { return kubernetes("kube-apiserver") }

// KubeControllerManager runs Kubernetes' own controllers.
func KubeControllerManager() Program { return kubernetes("kube-controller-manager") }

// KubeScheduler assigns Pods to nodes.
func KubeScheduler() Program { return kubernetes("kube-scheduler") }

// KubeProxy implements Services in a node's network.
func KubeProxy() Program { return kubernetes("kube-proxy") }

// Kubelet runs the Pods of a node.
func Kubelet() Program { return kubernetes("kubelet") }

// Kubectl is the command line tool.
func Kubectl() Program { return kubernetes("kubectl") }

// Etcd is the API server's store.
func Etcd() Program {
	const path = "go.etcd.io/etcd/server/v3"
	return Program{Name: "etcd", pkg: path, from: &module{folder: "etcd", path: path, cost: 10 * time.Second}}
}

// Traefik is the ingress controller.
func Traefik() Program {
	const path = "github.com/traefik/traefik/v3"
	return Program{Name: "traefik", pkg: path + "/cmd/traefik", from: &module{
		folder: "traefik", path: path, cost: 60 * time.Second,
		versionFlags: func(version string) []string {
			return []string{"-X", path + "/pkg/version.Version=" + strings.TrimPrefix(version, "v")}
		},
	}}
}

// HAProxyIngress is another ingress controller. It shares no code with Traefik.
func HAProxyIngress() Program {
	const path = "github.com/jcmoraisjr/haproxy-ingress"
	return Program{Name: "haproxy-ingress", pkg: path + "/pkg", from: &module{folder: "haproxy-ingress", path: path, cost: 60 * time.Second}}
}

// CoreDNS is the cluster's DNS server.
func CoreDNS() Program {
	return Program{Name: "coredns", pkg: ".", from: &module{folder: "coredns", path: "github.com/coredns/coredns", cost: 30 * time.Second}}
}

// Helm installs the chart.
func Helm() Program {
	const path = "helm.sh/helm/v3"
	return Program{Name: "helm", pkg: path + "/cmd/helm", from: &module{
		folder: "helm", path: path, cost: 50 * time.Second,
		versionFlags: func(version string) []string {
			// Without a cluster, Helm assumes the Kubernetes version of its client-go, as
			// upstream's build sets it.
			const rules, util = path + "/pkg/lint/rules.", path + "/pkg/chartutil."
			return []string{
				"-X", path + "/internal/version.version=" + version,
				"-X", rules + "k8sVersionMajor=1", "-X", rules + "k8sVersionMinor=37",
				"-X", util + "k8sVersionMajor=1", "-X", util + "k8sVersionMinor=37",
			}
		},
	}}
}

// HelmUnittest runs the chart's tests.
func HelmUnittest() Program {
	const path = "github.com/helm-unittest/helm-unittest"
	return Program{Name: "helm-unittest", pkg: path + "/cmd/helm-unittest", from: &module{folder: "helm-unittest", path: path, cost: 30 * time.Second}}
}

// Kubeconform checks manifests against schemas.
func Kubeconform() Program {
	const path = "github.com/yannh/kubeconform"
	return Program{Name: "kubeconform", pkg: path + "/cmd/kubeconform", from: &module{folder: "kubeconform", path: path, cost: 5 * time.Second}}
}

// Promtool checks and tests the chart's alerts.
func Promtool() Program {
	const path = "github.com/prometheus/prometheus"
	// Nothing here needs its service discovery, which includes many cloud clients.
	return Program{Name: "promtool", pkg: path + "/cmd/promtool", from: &module{folder: "promtool", path: path, tags: "remove_all_sd", cost: 60 * time.Second}}
}

// Goreleaser makes the files of a release.
func Goreleaser() Program {
	const path = "github.com/goreleaser/goreleaser/v2"
	return Program{Name: "goreleaser", pkg: path, from: &module{
		folder: "goreleaser", path: path, cost: 150 * time.Second,
		versionFlags: func(version string) []string {
			return []string{"-X", "main.version=" + strings.TrimPrefix(version, "v")}
		},
	}}
}

// ChartTools lists what the chart's tests need. None of it needs root.
func ChartTools() []Program {
	return []Program{Helm(), HelmUnittest(), Kubeconform(), Promtool()}
}

// ReleaseTools lists what a release needs beyond the tests.
func ReleaseTools() []Program { return []Program{Goreleaser()} }

// ControlPlane lists what the API-server tier needs.
func ControlPlane() []Program {
	return []Program{Etcd(), KubeAPIServer(), KubeControllerManager()}
}

// Nodes lists what a cluster with nodes runs.
func Nodes() []Program {
	return append(ControlPlane(), KubeScheduler(), KubeProxy(), Kubelet(), CoreDNS(), Traefik())
}

// Local lists what a cluster with nodes and its user need.
func Local() []Program { return append(Nodes(), Kubectl(), Helm()) }

// Everything lists what all tests need.
func Everything() []Program {
	return append(append(Nodes(), Kubectl(), HAProxyIngress()), ChartTools()...)
}

func kubernetes(name string) Program {
	const path = "k8s.io/kubernetes"
	return Program{Name: name, pkg: path + "/cmd/" + name, from: &module{
		folder: "kubernetes", path: path, cost: 220 * time.Second,
		versionFlags: func(version string) []string {
			const pkg = "k8s.io/component-base/version."
			number := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
			return []string{
				"-X", pkg + "gitVersion=" + version,
				"-X", pkg + "gitMajor=" + number[0],
				"-X", pkg + "gitMinor=" + number[1],
			}
		},
	}}
}

// source is the module's folder in this tree.
func (m *module) source() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "e2e", "build", m.folder), nil
}

// Version is the version from which the program is built.
func (p Program) Version() (string, error) { return p.from.version() }

// version reads the version from the module's go.mod, the only place that has it.
func (m *module) version() (string, error) {
	dir, err := m.source()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "go.mod")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the version of %s: %w", m.path, err)
	}
	parsed, err := modfile.Parse(file, text, nil)
	if err != nil {
		return "", fmt.Errorf("read the version of %s: %w", m.path, err)
	}
	for _, r := range parsed.Require {
		if r.Mod.Path == m.path {
			return r.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("read the version of %s: %s does not require it", m.path, file)
}

// ModuleDir is the folder of the module from which a program is built, with all its
// files. It downloads the module.
func (c *Cache) ModuleDir(ctx context.Context, p Program) (string, error) {
	source, err := p.from.source()
	if err != nil {
		return "", err
	}
	if _, err := output(ctx, source, "go", "mod", "download", p.from.path); err != nil {
		return "", err
	}
	dir, err := output(ctx, source, "go", "list", "-m", "-f", "{{.Dir}}", p.from.path)
	return strings.TrimSpace(dir), err
}

// Root is the top folder of the source tree that contains the working directory.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the source tree: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "e2e", "build", "kubernetes", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the source tree: %s is not inside it", start)
		}
	}
}
