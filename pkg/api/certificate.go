package api

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/httpserve"
)

const (
	// certificateCheckInterval is the minimum time between two checks, during handshakes, whether
	// the files have changed. A kubelet takes up to two minutes to update a changed Secret in a Pod.
	certificateCheckInterval = time.Second
	// maxCertificateFile bounds the size of a file, in bytes.
	maxCertificateFile = 1 << 20
)

var errNoCertificate = errors.New("no certificate could be read yet")

// Certificate is the API's TLS certificate: read from two files, and read again when they change, or
// self-signed. If a replacement cannot be used, the previous certificate stays in use. It is safe
// for concurrent use.
type Certificate struct {
	files [2]string // certificate chain and key, in PEM
	clock clock.PassiveClock
	log   *zap.Logger

	mu        sync.Mutex
	checkedAt time.Time
	loaded    [2][]byte
	lastError string // last error that was logged
	current   *tls.Certificate
}

// NewCertificate reads certificate chain and key from files in PEM. With an empty file name it
// creates a self-signed certificate. Files that cannot be read yet are no error: see Ready.
func NewCertificate(file, key string, c clock.PassiveClock, log *zap.Logger) (*Certificate, error) {
	made := &Certificate{files: [2]string{file, key}, clock: c, log: log}
	if file != "" {
		made.Ready()
		return made, nil
	}
	var err error
	made.current, err = httpserve.SelfSigned(c.Now(), "maintenance-api")
	return made, err
}

// Ready reports whether there is a certificate.
func (c *Certificate) Ready() bool {
	_, err := c.Get(nil)
	return err == nil
}

// Get implements tls.Config.GetCertificate. It fails until a certificate could be read.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.clock.Now(); c.files[0] != "" && (c.checkedAt.IsZero() || now.Sub(c.checkedAt) >= certificateCheckInterval) {
		c.checkedAt = now
		c.reload()
	}
	if c.current == nil {
		return nil, errNoCertificate
	}
	return c.current, nil
}

// reload reads the files. They may be replaced between the two reads: if they do not match, they are
// read once more.
func (c *Certificate) reload() {
	err := c.load()
	if err != nil {
		err = c.load()
	}
	switch {
	case err == nil:
		c.lastError = ""
	case err.Error() != c.lastError:
		c.lastError = err.Error()
		c.log.Error("cannot use the API's certificate: keeping the previous one, if any",
			zap.Strings("files", c.files[:]), zap.Error(err))
	}
}

func (c *Certificate) load() error {
	var read [2][]byte
	for i, name := range c.files {
		var err error
		if read[i], err = readFile(name); err != nil {
			return err
		}
	}
	if c.current != nil && bytes.Equal(read[0], c.loaded[0]) && bytes.Equal(read[1], c.loaded[1]) {
		return nil
	}
	pair, err := tls.X509KeyPair(read[0], read[1])
	if err != nil {
		return err // it does not name the key
	}
	c.current, c.loaded = &pair, read
	c.log.Info("loaded the API's certificate", zap.String("file", c.files[0]), zap.Strings("names", pair.Leaf.DNSNames), zap.Time("until", pair.Leaf.NotAfter))
	return nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the file was only read
	text, err := io.ReadAll(io.LimitReader(f, maxCertificateFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}
