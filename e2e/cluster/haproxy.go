package cluster

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/process"
)

// HAProxyClass names the class of Ingresses and of Gateways that HAProxy Ingress serves.
const HAProxyClass = "haproxy"

// haproxyObjects are the objects that HAProxy Ingress expects in the cluster.
//
//go:embed haproxy/objects.yaml
var haproxyObjects string

// StartHAProxyIngress starts HAProxy Ingress on the machine's loopback, with the machine's
// own haproxy, which needs the package lua-json. It returns the URL for visitors. It runs
// as long as the cluster.
func (c *Cluster) StartHAProxyIngress(ctx context.Context) (url string, err error) {
	ports := map[string]int{"HTTP_PORT": 0, "HTTPS_PORT": 0, "HEALTHZ_PORT": 0, "STATS_PORT": 0, "own": 0}
	objects := haproxyObjects
	for name := range ports {
		if ports[name], err = FreePort(); err != nil {
			return "", err
		}
		objects = strings.ReplaceAll(objects, `"`+name+`"`, strconv.Quote(strconv.Itoa(ports[name])))
	}
	if err := c.Apply(ctx, []byte(objects)); err != nil {
		return "", err
	}
	dir := filepath.Join(c.dir, "haproxy")
	if err := c.furnishHAProxy(ctx, dir); err != nil {
		return "", err
	}
	path, err := c.cache.Path(binaries.HAProxyIngress())
	if err != nil {
		return "", err
	}
	access, err := c.KubeconfigFor("haproxy-ingress", "system:masters") // the tests are not about its rights
	if err != nil {
		return "", err
	}
	p, err := c.host.Start(process.Command{
		Name: "haproxy-ingress", Path: path, Dir: dir,
		Args: []string{
			"--kubeconfig=" + access, "--local-filesystem-prefix=" + dir, "--update-status=false",
			"--configmap=haproxy/haproxy-ingress", "--healthz-addr=127.0.0.1:" + strconv.Itoa(ports["own"]),
		},
		Env: append(os.Environ(), "POD_NAMESPACE=haproxy", "POD_NAME=haproxy-0",
			"PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin"), // where Debian has haproxy
		LogFile: filepath.Join(c.dir, "logs", "haproxy-ingress.log"),
		// haproxy is a daemon. It ends with process 1 of this namespace.
		Cloneflags: unix.CLONE_NEWPID,
	})
	if err != nil {
		return "", err
	}
	return c.loopback(ports["HTTP_PORT"]), process.Wait{
		For: "HAProxy Ingress", Timeout: startTimeout, Of: []*process.Process{p},
		Probe: func(ctx context.Context) error {
			return get(ctx, c.loopback(ports["HEALTHZ_PORT"])+"/healthz")
		},
	}.Until(ctx)
}

// furnishHAProxy makes its working folder like the one of its image.
func (c *Cluster) furnishHAProxy(ctx context.Context, dir string) error {
	module, err := c.cache.ModuleDir(ctx, binaries.HAProxyIngress())
	if err != nil {
		return err
	}
	for _, folder := range []string{"etc/haproxy", "var/run/haproxy", "var/lib/haproxy"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return fmt.Errorf("make the folder of HAProxy: %w", err)
		}
	}
	for from, to := range map[string]string{"rootfs": "rootfs", "rootfs/etc/lua": "etc/haproxy/lua"} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(filepath.Join(module, from))); err != nil {
			return fmt.Errorf("make the folder of HAProxy: %w", err)
		}
	}
	scripts, err := filepath.Glob(filepath.Join(dir, "rootfs", "*.sh"))
	for _, script := range scripts {
		if err := os.Chmod(script, 0o755); err != nil { //nolint:gosec // it must be executable
			return fmt.Errorf("make the folder of HAProxy: %w", err)
		}
	}
	return err
}
