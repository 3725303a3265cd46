package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func (cp *ControlPlane) etcdArgs() []string {
	client := "http://127.0.0.1:" + strconv.Itoa(cp.ports.etcd)
	peer := "http://127.0.0.1:" + strconv.Itoa(cp.ports.etcdPeer)
	return []string{
		"--data-dir", filepath.Join(cp.dir, "etcd"),
		"--unsafe-no-fsync", // nobody needs the data after a crash
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", "default=" + peer,
		"--log-level", "warn",
	}
}

// anonymousForHealth refuses requests without a certificate or token, except those of
// probes.
const anonymousForHealth = `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions: [{path: /livez}, {path: /readyz}, {path: /healthz}]
`

func (cp *ControlPlane) apiServerArgs() []string {
	args := []string{
		"--etcd-servers=http://127.0.0.1:" + strconv.Itoa(cp.ports.etcd),
		"--bind-address=" + cp.network.address, "--advertise-address=" + cp.network.address,
		"--secure-port=" + strconv.Itoa(cp.ports.apiServer),
		"--service-cluster-ip-range=" + cp.network.serviceCIDR,
		"--authorization-mode=Node,RBAC",
		"--authentication-config=" + cp.pki.file("authentication.yaml"),
		"--enable-admission-plugins=NodeRestriction", // in addition to the defaults, such as PodSecurity and ResourceQuota
		"--allow-privileged=true",
		"--tls-cert-file=" + cp.pki.file("server.crt"),
		"--tls-private-key-file=" + cp.pki.file("server.key"),
		"--client-ca-file=" + cp.pki.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + cp.pki.file("sa.pub"),
		"--service-account-signing-key-file=" + cp.pki.file("sa.key"),
		"--kubelet-client-certificate=" + cp.pki.file("kubelet-client.crt"),
		"--kubelet-client-key=" + cp.pki.file("kubelet-client.key"),
		"--kubelet-certificate-authority=" + cp.pki.file("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
	}
	return append(args, cp.options.APIServerArgs...)
}

func (cp *ControlPlane) controllerManagerArgs(kubeconfig string) []string {
	args := []string{
		"--kubeconfig=" + kubeconfig,
		"--secure-port=0", // nothing uses it
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + cp.pki.file("sa.key"),
		"--root-ca-file=" + cp.pki.file("ca.crt"),
		"--cluster-signing-cert-file=" + cp.pki.file("ca.crt"),
		"--cluster-signing-key-file=" + cp.pki.file("ca.key"),
		// With the default of 20 the first service account takes six seconds.
		"--kube-api-qps=300", "--kube-api-burst=600",
	}
	return append(args, cp.options.ControllerManagerArgs...)
}

// ports are those of one control plane, on its address or the loopback.
type ports struct{ apiServer, etcd, etcdPeer int }

// fixedPorts are for a network namespace in which nothing else listens.
func fixedPorts() ports { return ports{apiServer: 6443, etcd: 2379, etcdPeer: 2380} }

// errPortTaken means that a start failed because another program took a port.
var errPortTaken = errors.New("the port was taken in the meantime")

// portTaken wraps the error of a program whose port was in use. Only the program's output
// says so.
func portTaken(err error) error {
	if err != nil && strings.Contains(err.Error(), "address already in use") {
		return fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return err
}

func freePorts() (p ports, err error) {
	for _, port := range []*int{&p.apiServer, &p.etcd, &p.etcdPeer} {
		if *port, err = FreePort(); err != nil {
			return ports{}, err
		}
	}
	return p, nil
}

// FreePort finds a free TCP port of the loopback. It is outside the range from which the
// kernel takes ports for outgoing connections (ip_local_port_range in ip(7)), so it stays
// free across a restart.
func FreePort() (int, error) {
	const low, high, attempts = 20000, 32000, 100
	for range attempts {
		port := low + rand.IntN(high-low)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("find a free port: %d ports between %d and %d are taken", attempts, low, high)
}

func (cp *ControlPlane) writeAuthentication() error {
	if err := os.WriteFile(cp.pki.file("authentication.yaml"), []byte(anonymousForHealth), 0o600); err != nil {
		return fmt.Errorf("write the API server's configuration: %w", err)
	}
	return nil
}
