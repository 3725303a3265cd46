package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Config gives full access to the API server (group system:masters), without
// client-side rate limits. Each call returns a new copy.
func (cp *ControlPlane) Config() *rest.Config { return rest.CopyConfig(cp.admin) }

// Kubeconfig is the path of a kubeconfig that gives full access.
func (cp *ControlPlane) Kubeconfig() string { return filepath.Join(cp.dir, "kubeconfig") }

// ConfigFor gives the access of a user in some groups. RBAC grants it nothing until the
// test binds a role.
func (cp *ControlPlane) ConfigFor(user string, groups ...string) (*rest.Config, error) {
	c, err := cp.pki.client(user, groups...)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: cp.url(),
		TLSClientConfig: rest.TLSClientConfig{
			CAData: cp.pki.certPEM, CertData: c.cert, KeyData: c.key,
		},
		QPS: -1, // unlimited: a test must not wait for its own client
	}, nil
}

// KubeconfigFor writes ConfigFor as a kubeconfig file and returns its path.
func (cp *ControlPlane) KubeconfigFor(user string, groups ...string) (string, error) {
	f, err := os.CreateTemp(cp.pki.dir, "*.kubeconfig")
	if err != nil {
		return "", fmt.Errorf("make a kubeconfig for %s: %w", user, err)
	}
	path := f.Name()
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("make a kubeconfig for %s: %w", user, err)
	}
	return path, cp.writeKubeconfig(path, user, groups...)
}

func (cp *ControlPlane) writeKubeconfig(path, user string, groups ...string) error {
	c, err := cp.pki.client(user, groups...)
	if err != nil {
		return err
	}
	const name = "maintenance-e2e"
	config := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			name: {Server: cp.url(), CertificateAuthorityData: cp.pki.certPEM},
		},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{
			user: {ClientCertificateData: c.cert, ClientKeyData: c.key},
		},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: user}},
		CurrentContext: name,
	}
	if err := clientcmd.WriteToFile(config, path); err != nil {
		return fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	return nil
}
