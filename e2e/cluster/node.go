package cluster

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"text/template"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/process"
)

// nodeFiles are templates of the configuration of a node's programs.
//
//go:embed node/containerd.toml node/cni.conflist node/kubelet.yaml node/kube-proxy.yaml
var nodeFiles embed.FS

// containerdSocket is containerd's socket inside a sandbox.
const containerdSocket = "/run/containerd/containerd.sock"

// pauseImage is the image of the container that holds a Pod's namespaces. It is loaded
// into the nodes and in no registry.
const pauseImage = "localhost/pause:1"

// node is a sandbox with the programs of a Kubernetes node.
type node struct {
	*sandbox
	index   int
	cluster *Cluster
	config  string // folder
	running []*process.Process
}

// nodeValues fill the templates.
type nodeValues struct {
	Name, State, Config, PKI, PauseImage, CNI, Runc string
	Cgroup, PodCIDR, ClusterCIDR, ProxyKubeconfig   string
	DNS                                             string
}

// startContainerd starts containerd, which needs no API server.
func (n *node) startContainerd(ctx context.Context) error {
	c := n.cluster
	runc, err := c.packages.Find("runc")
	if err != nil {
		return err
	}
	values := nodeValues{
		State: n.state, Config: n.config, PauseImage: pauseImage, CNI: c.packages.CNI(), Runc: runc, PodCIDR: c.slot.podCIDR(n.index),
	}
	if err := n.render("containerd.toml", "containerd.toml", values); err != nil {
		return err
	}
	if err := n.render("cni.conflist", "cni/10-bridge.conflist", values); err != nil {
		return err
	}
	path, err := c.packages.Find("containerd")
	if err != nil {
		return err
	}
	if err := n.start("containerd", path, "-c", filepath.Join(n.config, "containerd.toml")); err != nil {
		return err
	}
	return process.Wait{
		For: "containerd of " + n.name, Timeout: startTimeout, Of: n.running,
		Probe: func(ctx context.Context) error {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "unix", n.socket())
			if err != nil {
				return err
			}
			return conn.Close()
		},
	}.Until(ctx)
}

// socket is containerd's socket as seen from outside the sandbox.
func (n *node) socket() string { return fmt.Sprintf("/proc/%d/root%s", n.init.Pid(), containerdSocket) }

// join starts the kubelet and kube-proxy.
func (n *node) join() error {
	c := n.cluster
	serving, err := c.pki.server(n.name, []net.IP{net.ParseIP(c.slot.nodeIP(n.index))}, n.name)
	if err != nil {
		return err
	}
	if err := c.pki.write(n.name, serving); err != nil {
		return err
	}
	kubeletAccess, err := c.KubeconfigFor("system:node:"+n.name, "system:nodes")
	if err != nil {
		return err
	}
	proxyAccess, err := c.KubeconfigFor("system:kube-proxy")
	if err != nil {
		return err
	}
	values := nodeValues{
		Name: n.name, PKI: c.pki.dir, Cgroup: c.slot.cgroup(n.index),
		ClusterCIDR: c.slot.clusterCIDR(), ProxyKubeconfig: proxyAccess, DNS: c.slot.dnsIP(),
	}
	for _, file := range []string{"kubelet.yaml", "kube-proxy.yaml"} {
		if err := n.render(file, file, values); err != nil {
			return err
		}
	}
	if err := n.startProgram(binaries.Kubelet(),
		"--config="+filepath.Join(n.config, "kubelet.yaml"), "--kubeconfig="+kubeletAccess,
		"--hostname-override="+n.name, "--node-ip="+c.slot.nodeIP(n.index)); err != nil {
		return err
	}
	return n.startProgram(binaries.KubeProxy(), "--config="+filepath.Join(n.config, "kube-proxy.yaml"))
}

// awaitReady waits until the node can run Pods.
func (n *node) awaitReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(n.cluster.admin)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	return process.Wait{
		For: n.name + " to be ready", Timeout: startTimeout, Of: n.running,
		Probe: func(ctx context.Context) error {
			object, err := client.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, c := range object.Status.Conditions {
				if c.Type == corev1.NodeReady {
					if c.Status == corev1.ConditionTrue {
						return nil
					}
					return fmt.Errorf("%s: %s", c.Reason, c.Message)
				}
			}
			return fmt.Errorf("%s has no condition Ready yet", n.name)
		},
	}.Until(ctx)
}

func (n *node) startProgram(p binaries.Program, args ...string) error {
	path, err := n.cluster.cache.Path(p)
	if err != nil {
		return err
	}
	return n.start(p.Name, path, args...)
}

func (n *node) start(name, path string, args ...string) error {
	p, err := n.group.Start(process.Command{
		Name: name + " of " + n.name, Path: path, Args: args,
		Env: n.cluster.packages.Env(), LogFile: n.log(n.cluster.dir, name),
	})
	if err != nil {
		return err
	}
	n.running = append(n.running, p)
	return nil
}

// render fills in a template and writes it to a file in the node's configuration folder.
func (n *node) render(name, file string, values nodeValues) error {
	t, err := template.ParseFS(nodeFiles, "node/"+name)
	if err != nil {
		return fmt.Errorf("read the template of %s: %w", file, err)
	}
	var out bytes.Buffer
	if err := t.Option("missingkey=error").Execute(&out, values); err != nil {
		return fmt.Errorf("fill in the template of %s: %w", file, err)
	}
	path := filepath.Join(n.config, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the configuration of %s: %w", n.name, err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the configuration of %s: %w", n.name, err)
	}
	return nil
}
