package api

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"maintenance-controller.io/pkg/httpserve"
)

// pair creates certificate and key for a name, in PEM.
func pair(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// secret is a Secret mounted in a Pod: its files are links through ..data, which a kubelet replaces
// in one step.
type secret struct {
	dir      string
	versions int
}

func (s *secret) mount(t *testing.T, certificate, key []byte) {
	t.Helper()
	s.versions++
	version := fmt.Sprintf("..version%d", s.versions)
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, version), 0o700))
	for name, text := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, version, name), text, 0o600))
		_ = os.Symlink(filepath.Join("..data", name), filepath.Join(s.dir, name)) // exists from the second version on
	}
	next := filepath.Join(s.dir, "..data_tmp")
	require.NoError(t, os.Symlink(version, next))
	require.NoError(t, os.Rename(next, filepath.Join(s.dir, "..data")))
	if s.versions > 1 {
		require.NoError(t, os.RemoveAll(filepath.Join(s.dir, fmt.Sprintf("..version%d", s.versions-1))))
	}
}

func nameOf(t *testing.T, c *Certificate) string {
	t.Helper()
	got, err := c.Get(nil)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(got.Certificate[0])
	require.NoError(t, err)
	return leaf.Subject.CommonName
}

// TestCertificateReload: a replacement that cannot be used changes nothing, and is logged once.
func TestCertificateReload(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	now := clocktesting.NewFakePassiveClock(time.Now())
	s := &secret{dir: t.TempDir()}
	c, err := NewCertificate(filepath.Join(s.dir, "tls.crt"), filepath.Join(s.dir, "tls.key"), now, zap.New(core))
	require.NoError(t, err)
	assert.False(t, c.Ready(), "a Secret that is created later")
	again := func(want string, logged int) {
		t.Helper()
		for range 3 {
			now.SetTime(now.Now().Add(certificateCheckInterval))
			if want == "" {
				assert.False(t, c.Ready())
			} else {
				assert.Equal(t, want, nameOf(t, c))
			}
		}
		assert.Len(t, logs.TakeAll(), logged)
	}
	again("", 1)
	certificate, key := pair(t, "first")
	s.mount(t, certificate, key)
	again("first", 0)
	second, secondKey := pair(t, "second")
	s.mount(t, second, secondKey)
	assert.Equal(t, "first", nameOf(t, c), "a handshake does not read files that were read just now")
	again("second", 0)
	for _, broken := range [][2][]byte{{[]byte("garbage"), key}, {second, key}, {nil, nil}, {certificate, []byte("-----BEGIN PRIVATE KEY-----\n")}} {
		s.mount(t, broken[0], broken[1])
		again("second", 1)
	}
	require.NoError(t, os.Remove(filepath.Join(s.dir, "..data")))
	again("second", 1)
	s.mount(t, certificate, key)
	again("first", 0)
}

// served is a server on the loopback.
type served struct {
	address string
	secret  *secret
}

func serve(t *testing.T, h http.Handler) served {
	t.Helper()
	s := &secret{dir: t.TempDir()}
	certificate, key := pair(t, "first")
	s.mount(t, certificate, key)
	c, err := NewCertificate(filepath.Join(s.dir, "tls.crt"), filepath.Join(s.dir, "tls.key"), clock.RealClock{}, zap.NewNop())
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- httpserve.Port{Flag: "api-listen", Handler: h, Certificate: c.Get, AnswerTimeout: AnswerTimeout, Memory: Memory}.Serve(ctx, l)
	}()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return served{l.Addr().String(), s}
}

func read(t *testing.T, client *http.Client, url string) (status int, body string, err error) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text), nil
}

// trusting is a client that verifies certificates.
func trusting(t *testing.T, certificate []byte) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(certificate))
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
}

func TestServerTLS(t *testing.T) {
	s := serve(t, RequireTLS(shop().api(Config{})))
	first, err := os.ReadFile(filepath.Join(s.secret.dir, "tls.crt"))
	require.NoError(t, err)
	code, body, err := read(t, trusting(t, first), "https://"+s.address+"/services")
	require.NoError(t, err)
	assert.Equal(t, 200, code)
	assert.Contains(t, body, `"name":"web"`)
	_, _, err = read(t, http.DefaultClient, "https://"+s.address+"/services")
	require.ErrorContains(t, err, "certificate", "a client that does not trust it")
	code, body, err = read(t, http.DefaultClient, "http://"+s.address+"/services")
	require.NoError(t, err)
	assert.Equal(t, 400, code)
	assert.Contains(t, body, "this port requires TLS")
	assert.NotContains(t, body, "web")

	second, key := pair(t, "second")
	s.secret.mount(t, second, key)
	client := trusting(t, second)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, _, err := read(t, client, "https://"+s.address+"/services")
		assert.NoError(c, err)
	}, 20*time.Second, 20*time.Millisecond, "the replacement is used without a restart")
}

func TestPlainHTTP(t *testing.T) {
	s := serve(t, shop().api(Config{}))
	code, body, err := read(t, http.DefaultClient, "http://"+s.address+"/services/shop/web")
	require.NoError(t, err)
	assert.Equal(t, 200, code)
	assert.Contains(t, body, `"name":"web"`)
}

func TestSelfSigned(t *testing.T) {
	c, err := NewCertificate("", "", clock.RealClock{}, zap.NewNop())
	require.NoError(t, err)
	assert.True(t, c.Ready())
	assert.Equal(t, "maintenance-api", nameOf(t, c))
}

// TestServerLimits: a head that is too large is refused, and one that never ends is cut off.
func TestServerLimits(t *testing.T) {
	t.Parallel()
	s := serve(t, shop().api(Config{}))
	for _, c := range []struct{ send, want string }{
		{"GET /services?namespace=" + strings.Repeat("a", 40<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 431"},
		{"GET /services HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", "HTTP/1.1 431"},
		{"GET /services HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
		{"GET http://evil.example/services HTTP/1.1\r\nHost: shop.example\r\n\r\n", "HTTP/1.1 200"},
		{"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 40"},
		{"CONNECT shop.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 40"},
	} {
		conn, err := net.Dial("tcp", s.address)
		require.NoError(t, err)
		go func() { _, _ = io.WriteString(conn, c.send) }() // the server may close while this still writes
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err, c.want)
		assert.Contains(t, line, c.want)
		require.NoError(t, conn.Close())
	}
	slow, err := net.Dial("tcp", s.address)
	require.NoError(t, err)
	defer func() { _ = slow.Close() }()
	began := time.Now()
	_, err = io.WriteString(slow, "GET /services HTTP/1.1\r\n")
	require.NoError(t, err)
	_, err = io.ReadAll(slow)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(began), 5*time.Second, "a head has 5 s")
}
