// Command tls-app is an app whose protocols must be configured in the ingress controller: TLS
// on 8443 with a self-signed certificate, and HTTP/2 without TLS (h2c) on 8080, where HTTP/1.1
// gets a 426.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "tls-app:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	certificate, err := selfSigned()
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	servers := []*http.Server{
		{Addr: ":8080", Protocols: &both},
		{Addr: ":8443", TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}},
	}
	failed := make(chan error, len(servers))
	for _, s := range servers {
		s.Handler, s.ReadHeaderTimeout = http.HandlerFunc(greet), 5*time.Second
		go func() {
			if s.TLSConfig != nil {
				failed <- s.ListenAndServeTLS("", "")
				return
			}
			failed <- s.ListenAndServe()
		}()
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.Shutdown(drain))
	}
	return errors.Join(errs...)
}

func greet(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	how := "TLS"
	if r.TLS == nil {
		how = "h2c"
		if r.ProtoMajor < 2 {
			http.Error(w, "this port speaks HTTP/2", http.StatusUpgradeRequired)
			return
		}
	}
	fmt.Fprintf(w, "hello from tls-app: %s %s over %s\n", r.Method, r.URL.Path, how)
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), DNSNames: []string{"tls-app"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
