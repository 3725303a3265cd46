// Package binaries provides the programs that a local cluster runs: built from
// the pinned modules under e2e/build, or taken out of Debian packages, and kept in
// a cache folder outside the source tree so that each is made once.
package binaries

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
	path   string // the required module that gives the version
	// versionFlags tell a program its version, which it knows by itself only
	// when it is built the upstream way.
	versionFlags func(version string) []string
	tags         string // of the build
}

// KubeAPIServer is the API server.
func KubeAPIServer() Program { return kubernetes("kube-apiserver") }

// KubeControllerManager runs Kubernetes' own controllers.
func KubeControllerManager() Program { return kubernetes("kube-controller-manager") }

// KubeScheduler gives Pods a node.
func KubeScheduler() Program { return kubernetes("kube-scheduler") }

// KubeProxy makes Services of a node's network.
func KubeProxy() Program { return kubernetes("kube-proxy") }

// Kubelet runs the Pods of a node.
func Kubelet() Program { return kubernetes("kubelet") }

// Kubectl is what people type.
func Kubectl() Program { return kubernetes("kubectl") }

// Etcd is the store of the API server.
func Etcd() Program {
	const path = "go.etcd.io/etcd/server/v3"
	return Program{Name: "etcd", pkg: path, from: &module{folder: "etcd", path: path}}
}

// Traefik is the ingress controller.
func Traefik() Program {
	const path = "github.com/traefik/traefik/v3"
	return Program{Name: "traefik", pkg: path + "/cmd/traefik", from: &module{
		folder: "traefik", path: path,
		versionFlags: func(version string) []string {
			return []string{"-X", path + "/pkg/version.Version=" + strings.TrimPrefix(version, "v")}
		},
	}}
}

// HAProxyIngress is another ingress controller, which shares no code with Traefik.
func HAProxyIngress() Program {
	const path = "github.com/jcmoraisjr/haproxy-ingress"
	return Program{Name: "haproxy-ingress", pkg: path + "/pkg", from: &module{folder: "haproxy-ingress", path: path}}
}

// CoreDNS gives Pods the addresses of Services.
func CoreDNS() Program {
	return Program{Name: "coredns", pkg: ".", from: &module{folder: "coredns", path: "github.com/coredns/coredns"}}
}

// Helm is what installs the chart.
func Helm() Program {
	const path = "helm.sh/helm/v3"
	return Program{Name: "helm", pkg: path + "/cmd/helm", from: &module{
		folder: "helm", path: path,
		versionFlags: func(version string) []string {
			// As upstream: without a cluster to ask, it takes the Kubernetes of its client-go.
			const rules, util = path + "/pkg/lint/rules.", path + "/pkg/chartutil."
			return []string{
				"-X", path + "/internal/version.version=" + version,
				"-X", rules + "k8sVersionMajor=1", "-X", rules + "k8sVersionMinor=37",
				"-X", util + "k8sVersionMajor=1", "-X", util + "k8sVersionMinor=37",
			}
		},
	}}
}

// HelmUnittest runs the tests of the chart.
func HelmUnittest() Program {
	const path = "github.com/helm-unittest/helm-unittest"
	return Program{Name: "helm-unittest", pkg: path + "/cmd/helm-unittest", from: &module{folder: "helm-unittest", path: path}}
}

// Kubeconform checks manifests against schemas.
func Kubeconform() Program {
	const path = "github.com/yannh/kubeconform"
	return Program{Name: "kubeconform", pkg: path + "/cmd/kubeconform", from: &module{folder: "kubeconform", path: path}}
}

// Promtool runs the chart's alerts.
func Promtool() Program {
	const path = "github.com/prometheus/prometheus"
	// It could discover targets in any cloud, which nobody needs here.
	return Program{Name: "promtool", pkg: path + "/cmd/promtool", from: &module{folder: "promtool", path: path, tags: "remove_all_sd"}}
}

// Goreleaser makes the artefacts of a release.
func Goreleaser() Program {
	const path = "github.com/goreleaser/goreleaser/v2"
	return Program{Name: "goreleaser", pkg: path, from: &module{
		folder: "goreleaser", path: path,
		versionFlags: func(version string) []string {
			return []string{"-X", "main.version=" + strings.TrimPrefix(version, "v")}
		},
	}}
}

// ChartTools lists what the tests of the chart need; none of it needs root.
func ChartTools() []Program {
	return []Program{Helm(), HelmUnittest(), Kubeconform(), Promtool()}
}

// ReleaseTools lists what a release takes beside.
func ReleaseTools() []Program { return []Program{Goreleaser()} }

// ControlPlane lists what the API-server tier needs.
func ControlPlane() []Program {
	return []Program{Etcd(), KubeAPIServer(), KubeControllerManager()}
}

// Everything lists what a whole cluster and its user need.
func Everything() []Program {
	all := append(ControlPlane(), KubeScheduler(), KubeProxy(), Kubelet(), Kubectl(), CoreDNS(), Traefik(), HAProxyIngress())
	return append(all, ChartTools()...)
}

func kubernetes(name string) Program {
	const path = "k8s.io/kubernetes"
	return Program{Name: name, pkg: path + "/cmd/" + name, from: &module{
		folder: "kubernetes", path: path,
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

// source is where the module is in this tree.
func (m *module) source() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "e2e", "build", m.folder), nil
}

// Version is the one that the program is built of.
func (p Program) Version() (string, error) { return p.from.version() }

// version is what the module's go.mod pins: the one place where it is written.
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

// ModuleDir is the folder of the module that a program is built from, with the files
// beside its code.
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

// Root is the top of the source tree that the working directory is in.
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
