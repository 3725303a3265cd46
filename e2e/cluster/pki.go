package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certLife outlasts a cluster that somebody leaves running, and soon makes a forgotten
// key worthless.
const certLife = 365 * 24 * time.Hour

// pki is the certificate authority of one cluster.
type pki struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
	// certPEM is the authority's certificate, which clients trust.
	certPEM []byte
}

// pair is a certificate and its key, PEM encoded.
type pair struct{ cert, key []byte }

// newPKI makes the authority and the key for service account tokens in dir.
func newPKI(dir string) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the certificate folder: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the CA's key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "maintenance-e2e"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	p := &pki{dir: dir, cert: template, key: key}
	der, err := p.sign(template, key.Public())
	if err != nil {
		return nil, err
	}
	if p.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("parse the CA: %w", err)
	}
	p.certPEM = encodePEM("CERTIFICATE", der)
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := p.write("ca", pair{cert: p.certPEM, key: keyPEM}); err != nil {
		return nil, err
	}
	return p, p.writeServiceAccountKey()
}

// client issues a certificate that authenticates as a user of some groups.
func (p *pki) client(user string, groups ...string) (pair, error) {
	return p.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// server issues a certificate for a server at the addresses and names.
func (p *pki) server(name string, addresses []net.IP, names ...string) (pair, error) {
	return p.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: addresses,
		DNSNames:    append([]string{"localhost"}, names...),
	})
}

func (p *pki) issue(template *x509.Certificate) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("generate a key for %s: %w", template.Subject.CommonName, err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := p.sign(template, key.Public())
	if err != nil {
		return pair{}, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{cert: encodePEM("CERTIFICATE", der), key: keyPEM}, nil
}

func (p *pki) sign(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour) // clocks may differ a little
	template.NotAfter = time.Now().Add(certLife)
	der, err := x509.CreateCertificate(rand.Reader, template, p.cert, public, p.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %s: %w", template.Subject.CommonName, err)
	}
	return der, nil
}

func (p *pki) writeServiceAccountKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generate the service account key: %w", err)
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encode the service account key: %w", err)
	}
	if err := os.WriteFile(p.file("sa.key"), private, 0o600); err != nil {
		return fmt.Errorf("write the service account key: %w", err)
	}
	if err := os.WriteFile(p.file("sa.pub"), encodePEM("PUBLIC KEY", public), 0o600); err != nil {
		return fmt.Errorf("write the service account key: %w", err)
	}
	return nil
}

// write writes a pair to name.crt and name.key.
func (p *pki) write(name string, c pair) error {
	if err := os.WriteFile(p.file(name+".crt"), c.cert, 0o600); err != nil {
		return fmt.Errorf("write a certificate: %w", err)
	}
	if err := os.WriteFile(p.file(name+".key"), c.key, 0o600); err != nil {
		return fmt.Errorf("write a key: %w", err)
	}
	return nil
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name) }

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return encodePEM("EC PRIVATE KEY", der), nil
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
