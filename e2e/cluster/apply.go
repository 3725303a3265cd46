package cluster

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"maintenance-controller.io/e2e/process"
)

// FieldManager owns the fields that Apply writes.
const FieldManager = "maintenance-e2e"

// traefikCRDs are Traefik's own, see traefik/README.md.
//
//go:embed traefik/crds.yaml
var traefikCRDs []byte

// gatewayCRDs are those of the Gateway API's standard channel, see gatewayapi/README.md.
//
//go:embed gatewayapi/crds.yaml
var gatewayCRDs []byte

// Apply applies each object of a YAML text with server-side apply, in order.
// Namespaced objects without a namespace go to "default".
func (cp *ControlPlane) Apply(ctx context.Context, manifest []byte) error {
	return Apply(ctx, cp.admin, manifest)
}

// Apply does the same on any API server.
func Apply(ctx context.Context, config *rest.Config, manifest []byte) error {
	objects, err := decode(manifest)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(found))
	for _, o := range objects {
		if err := applyObject(ctx, client, mapper, o); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

func applyObject(ctx context.Context, client dynamic.Interface, mapper meta.RESTMapper, o *unstructured.Unstructured) error {
	kind := o.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	resource := dynamic.ResourceInterface(client.Resource(mapping.Resource))
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		namespace := o.GetNamespace()
		if namespace == "" {
			namespace = metav1.NamespaceDefault
		}
		resource = client.Resource(mapping.Resource).Namespace(namespace)
	}
	_, err = resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: FieldManager, Force: true})
	return err
}

func decode(manifest []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		o := &unstructured.Unstructured{}
		switch err := decoder.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("decode object %d of a manifest: %w", len(objects)+1, err)
		}
		if len(o.Object) > 0 { // an empty document between two separators
			objects = append(objects, o)
		}
	}
}

// InstallTraefikCRDs installs Traefik's CRDs and waits until their kinds are served.
func (cp *ControlPlane) InstallTraefikCRDs(ctx context.Context) error {
	return cp.installCRDs(ctx, traefikCRDs, schema.GroupVersionResource{Group: "traefik.io", Version: "v1alpha1", Resource: "ingressroutes"})
}

// InstallGatewayCRDs installs the Gateway API's CRDs and waits until their kinds are served.
func (cp *ControlPlane) InstallGatewayCRDs(ctx context.Context) error {
	const group, version = "gateway.networking.k8s.io", "v1"
	return cp.installCRDs(ctx, gatewayCRDs,
		schema.GroupVersionResource{Group: group, Version: version, Resource: "httproutes"},
		schema.GroupVersionResource{Group: group, Version: version, Resource: "grpcroutes"})
}

// InstallCRDs installs the CRDs of all kinds of targets.
func (cp *ControlPlane) InstallCRDs(ctx context.Context) error {
	if err := cp.InstallTraefikCRDs(ctx); err != nil {
		return err
	}
	return cp.InstallGatewayCRDs(ctx)
}

func (cp *ControlPlane) installCRDs(ctx context.Context, manifest []byte, served ...schema.GroupVersionResource) error {
	if err := cp.Apply(ctx, manifest); err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(cp.admin)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	return process.Wait{
		For: "the kinds of CRDs", Timeout: 30 * time.Second,
		Probe: func(ctx context.Context) error {
			for _, resource := range served {
				if _, err := client.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
					return err
				}
			}
			return nil
		},
	}.Until(ctx)
}
