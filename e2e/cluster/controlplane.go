package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/process"
)

// startTimeout bounds each step of a start. A step takes a second or two, and many times
// longer while the machine is busy with a build.
const startTimeout = 90 * time.Second

// Options of a control plane. The zero value is usable.
type Options struct {
	// Dir is the folder of the state, the logs (Dir/logs) and the kubeconfig. It must be
	// empty or absent. Without a name it is a temporary folder that Stop removes.
	Dir string
	// Log gets a line for each step. Nil means no output.
	Log io.Writer
	// CRDs makes StartControlPlane install the CRDs of all kinds of targets.
	CRDs bool
	// APIServerArgs and ControllerManagerArgs follow the default flags and override them.
	APIServerArgs         []string
	ControllerManagerArgs []string
}

// network is where a control plane listens.
type network struct {
	address     string       // of the API server
	serviceCIDR string       // of ClusterIPs
	serviceIP   string       // its first address, the API server's
	enter       func() error // moves the calling thread there; nil means the host's network
}

// ControlPlane is a running etcd, kube-apiserver and kube-controller-manager.
type ControlPlane struct {
	dir     string
	tempDir bool
	log     io.Writer
	options Options
	network network
	ports   ports
	pki     *pki
	admin   *rest.Config
	cache   *binaries.Cache
	group   *process.Group

	etcd, controllerManager *process.Process

	mu        sync.Mutex // guards apiServer, which tests restart
	apiServer *process.Process
}

// StartControlPlane starts a control plane and returns when it works. It runs until Stop
// is called or this process ends. It needs no root, and any number of them can run at the
// same time. The first start on a machine builds the programs.
func StartControlPlane(ctx context.Context, o Options) (*ControlPlane, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	cache, err := binaries.NewCache(o.Log)
	if err != nil {
		return nil, err
	}
	if err := cache.Build(ctx, binaries.ControlPlane()...); err != nil {
		return nil, err
	}
	// Another program can take a port between its choice and its use.
	const attempts = 3
	for attempt := 1; ; attempt++ {
		cp, err := startControlPlane(ctx, o, cache)
		if err == nil || attempt == attempts || !errors.Is(err, errPortTaken) {
			return cp, err
		}
	}
}

func startControlPlane(ctx context.Context, o Options, cache *binaries.Cache) (_ *ControlPlane, err error) {
	cp := &ControlPlane{options: o, log: o.Log, cache: cache}
	if err := cp.makeDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			cp.Stop()
		}
	}()
	if err := cp.bringUp(ctx, nil); err != nil {
		return nil, err
	}
	if o.CRDs {
		return cp, cp.InstallCRDs(ctx)
	}
	return cp, nil
}

// bringUp starts the programs. They listen on the host's loopback if n is nil.
func (cp *ControlPlane) bringUp(ctx context.Context, n *network) (err error) {
	cp.network = network{address: "127.0.0.1", serviceCIDR: "10.96.0.0/16", serviceIP: "10.96.0.1"}
	if n != nil {
		cp.network, cp.ports = *n, fixedPorts()
	} else if cp.ports, err = freePorts(); err != nil {
		return err
	}
	if err := cp.makeAccess(); err != nil {
		return err
	}
	if cp.group, err = process.NewGroup(process.Options{Prepare: cp.network.enter}); err != nil {
		return err
	}
	return cp.startPrograms(ctx)
}

// startPrograms starts each program once the one before it works: the
// controller-manager exits when it finds no RBAC roles, which the API server
// makes shortly before it is ready.
func (cp *ControlPlane) startPrograms(ctx context.Context) error {
	begin := time.Now()
	if err := cp.startEtcd(); err != nil {
		return err
	}
	if err := cp.StartAPIServer(ctx); err != nil {
		return err
	}
	cp.logf("API server ready at %s after %s", cp.url(), since(begin))
	if err := cp.startControllerManager(ctx); err != nil {
		return err
	}
	cp.logf("controller-manager works after %s", since(begin))
	return nil
}

func (cp *ControlPlane) makeDir() (err error) {
	cp.dir = cp.options.Dir
	if cp.dir == "" {
		if cp.dir, err = os.MkdirTemp("", "maintenance-e2e-"); err != nil {
			return fmt.Errorf("make a folder for the control plane: %w", err)
		}
		cp.tempDir = true
	}
	if cp.dir, err = filepath.Abs(cp.dir); err != nil {
		return fmt.Errorf("find the folder of the control plane: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(cp.dir, "logs"), 0o755); err != nil {
		return fmt.Errorf("make a folder for the control plane: %w", err)
	}
	return nil
}

// makeAccess makes the certificates and the kubeconfig.
func (cp *ControlPlane) makeAccess() (err error) {
	if cp.pki, err = newPKI(filepath.Join(cp.dir, "pki")); err != nil {
		return err
	}
	addresses := []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(cp.network.serviceIP), net.ParseIP(cp.network.address)}
	if err := cp.writeAuthentication(); err != nil {
		return err
	}
	server, err := cp.pki.server("kube-apiserver", addresses,
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
	if err != nil {
		return err
	}
	if err := cp.pki.write("server", server); err != nil {
		return err
	}
	kubelet, err := cp.pki.client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	if err := cp.pki.write("kubelet-client", kubelet); err != nil {
		return err
	}
	if cp.admin, err = cp.ConfigFor("admin", "system:masters"); err != nil {
		return err
	}
	return cp.writeKubeconfig(cp.Kubeconfig(), "admin", "system:masters")
}

// Stop ends the control plane at once. Its state cannot be used again.
func (cp *ControlPlane) Stop() {
	if cp.group != nil {
		cp.group.Close()
	}
	if cp.tempDir {
		_ = os.RemoveAll(cp.dir) // the system cleans its temporary folder
	}
}

// RestartAPIServer calls StopAPIServer and StartAPIServer. The new API server has the same
// address and the same objects.
func (cp *ControlPlane) RestartAPIServer(ctx context.Context) error {
	cp.StopAPIServer()
	return cp.StartAPIServer(ctx)
}

// StopAPIServer kills the API server, which also ends open requests and watches. It cannot
// be reached until StartAPIServer.
func (cp *ControlPlane) StopAPIServer() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.apiServer.Kill()
}

// StartAPIServer starts the API server that StopAPIServer stopped and waits until
// it is ready.
func (cp *ControlPlane) StartAPIServer(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	p, err := cp.start(binaries.KubeAPIServer(), cp.apiServerArgs())
	if err != nil {
		return err
	}
	cp.apiServer = p
	return portTaken(process.Wait{
		For: "the API server", Timeout: startTimeout, Probe: cp.ready,
		Of: []*process.Process{cp.etcd, cp.apiServer},
	}.Until(ctx))
}

func (cp *ControlPlane) startEtcd() (err error) {
	cp.etcd, err = cp.start(binaries.Etcd(), cp.etcdArgs())
	return err
}

// startControllerManager waits until the controller-manager has made the default service
// account: without it no Pod can be created.
func (cp *ControlPlane) startControllerManager(ctx context.Context) (err error) {
	path, err := cp.KubeconfigFor("system:kube-controller-manager")
	if err != nil {
		return err
	}
	cp.controllerManager, err = cp.start(binaries.KubeControllerManager(), cp.controllerManagerArgs(path))
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cp.admin)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	return process.Wait{
		For: "the controller-manager's first service account", Timeout: startTimeout,
		Probe: func(ctx context.Context) error {
			_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
			return err
		},
		Of: []*process.Process{cp.controllerManager},
	}.Until(ctx)
}

func (cp *ControlPlane) start(p binaries.Program, args []string) (*process.Process, error) {
	path, err := cp.cache.Path(p)
	if err != nil {
		return nil, err
	}
	return cp.group.Start(process.Command{
		Name: p.Name, Path: path, Args: args, LogFile: filepath.Join(cp.dir, "logs", p.Name+".log"),
	})
}

// ready asks the API server's health check.
func (cp *ControlPlane) ready(ctx context.Context) (err error) {
	client, err := rest.HTTPClientFor(cp.admin)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, cp.url()+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /readyz: %s", resp.Status)
	}
	return nil
}

func (cp *ControlPlane) url() string {
	return "https://" + net.JoinHostPort(cp.network.address, strconv.Itoa(cp.ports.apiServer))
}

func (cp *ControlPlane) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(cp.log, format+"\n", args...) // progress only: nothing depends on it
}

// since is the time since begin, rounded for people.
func since(begin time.Time) time.Duration { return time.Since(begin).Round(100 * time.Millisecond) }
