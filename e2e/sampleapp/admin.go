package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// adminPage is an example of an admin page on an open path. A real one must authenticate its
// users: everybody can reach an open path.
func adminPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, `<!doctype html><title>Admin</title><h1>Admin</h1>
<form method="post" action="/admin/end"><button>End the maintenance</button></form>
`)
}

// endMaintenance removes the annotation from the app's own Ingress, with the app's
// ServiceAccount.
func endMaintenance(w http.ResponseWriter, r *http.Request) {
	if err := patchIngress(r.Context(), os.Getenv("APP_NAME"), `{"metadata": {"annotations": {"maintenance/enabled": null}}}`); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(w, "the maintenance ends")
}

// accountDir is where Kubernetes mounts the ServiceAccount of a Pod.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

func patchIngress(ctx context.Context, name, patch string) error {
	var files [3]string
	for i, file := range []string{"token", "namespace", "ca.crt"} {
		text, err := os.ReadFile(filepath.Join(accountDir, file))
		if err != nil {
			return err
		}
		files[i] = string(text)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(files[2])) {
		return errors.New("the ServiceAccount has no certificate of the API server")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := fmt.Sprintf("https://%s/apis/networking.k8s.io/v1/namespaces/%s/ingresses/%s",
		net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")), files[1], name)
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, url, strings.NewReader(patch))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+files[0])
	req.Header.Set("Content-Type", "application/merge-patch+json")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API server answers %s", resp.Status)
	}
	return nil
}
