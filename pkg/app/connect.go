package app

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"maintenance-controller.io/pkg/version"
)

// clusterOptions are the flags that choose the API server.
type clusterOptions struct{ kubeconfig, context string }

func (o *clusterOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; empty = the one that kubectl would use, or in a Pod its service account")
	f.StringVar(&o.context, "context", "", "context of the kubeconfig; empty = its current one")
}

func (o *clusterOptions) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.context})
}

func (o *clusterOptions) config() (*rest.Config, error) {
	config, err := o.loader().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no API server is configured (--kubeconfig, $KUBECONFIG or a service account): %w", err)
	}
	config.UserAgent = "maintenance-controller/" + version.Version
	return config, nil
}

// clients for the API server.
type clients struct {
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	metadata  metadata.Interface
	discovery discovery.DiscoveryInterface
}

func connect(config *rest.Config) (*clients, error) {
	binary := rest.CopyConfig(config)
	binary.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	binary.ContentType = "application/vnd.kubernetes.protobuf"
	client, err1 := kubernetes.NewForConfig(binary)
	dyn, err2 := dynamic.NewForConfig(config)
	meta, err3 := metadata.NewForConfig(metadata.ConfigFor(config))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("create the clients: %w", err)
	}
	return &clients{client: client, dynamic: dyn, metadata: meta, discovery: client.Discovery()}, nil
}
