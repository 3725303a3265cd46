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
	// look is how often handshakes look whether the files have changed. A kubelet takes
	// up to a minute or two to bring a changed Secret into a Pod.
	look = time.Second
	// maxFile bounds a file, in bytes.
	maxFile = 1 << 20
)

var errNoCertificate = errors.New("no certificate could be read yet")

// Certificate is that of handshakes: the one in two files, read again when they change,
// or one that is signed by itself. A replacement that cannot be used leaves the old one
// in force.
type Certificate struct {
	files [2]string // certificate chain and key, in PEM
	clock clock.PassiveClock
	log   *zap.Logger

	mu      sync.Mutex
	looked  time.Time
	read    [2][]byte
	wrong   string // what was logged last
	current *tls.Certificate
}

// NewCertificate reads the files; without their names it makes a certificate.
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

// Ready says whether there is one.
func (c *Certificate) Ready() bool {
	_, err := c.Get(nil)
	return err == nil
}

// Get is a tls.Config's GetCertificate.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.clock.Now(); c.files[0] != "" && (c.looked.IsZero() || now.Sub(c.looked) >= look) {
		c.looked = now
		c.look()
	}
	if c.current == nil {
		return nil, errNoCertificate
	}
	return c.current, nil
}

// look takes over what is in the files. They may be exchanged between the reading of one
// and of the other: a pair that does not fit is read again.
func (c *Certificate) look() {
	err := c.take()
	if err != nil {
		err = c.take()
	}
	switch {
	case err == nil:
		c.wrong = ""
	case err.Error() != c.wrong:
		c.wrong = err.Error()
		c.log.Error("the API's certificate cannot be used: the one before stays in force, if there was one",
			zap.Strings("files", c.files[:]), zap.Error(err))
	}
}

func (c *Certificate) take() error {
	var read [2][]byte
	for i, name := range c.files {
		var err error
		if read[i], err = readFile(name); err != nil {
			return err
		}
	}
	if c.current != nil && bytes.Equal(read[0], c.read[0]) && bytes.Equal(read[1], c.read[1]) {
		return nil
	}
	pair, err := tls.X509KeyPair(read[0], read[1])
	if err != nil {
		return err // it names neither
	}
	c.current, c.read = &pair, read
	c.log.Info("the API's certificate is read", zap.String("file", c.files[0]), zap.Strings("names", pair.Leaf.DNSNames), zap.Time("until", pair.Leaf.NotAfter))
	return nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was read only
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}
