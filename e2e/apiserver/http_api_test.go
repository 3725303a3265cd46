package apiserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
)

// testCA signs certificates that clients verify.
type testCA struct {
	dir string // holds the certificate as ca.crt
	der *x509.Certificate
	key *ecdsa.PrivateKey
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	a := &testCA{dir: t.TempDir()}
	a.der, a.key = a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "tests"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, "ca")
	return a
}

// sign writes NAME.crt and NAME.key.
func (a *testCA) sign(t *testing.T, template *x509.Certificate, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.der, a.key
	if parent == nil {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for end, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: raw}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		require.NoError(t, os.WriteFile(filepath.Join(a.dir, name+end), pem.EncodeToMemory(block), 0o600))
	}
	made, err := x509.ParseCertificate(raw)
	require.NoError(t, err)
	return made, key
}

// apiReplica is a replica of the controller with an HTTP API.
type apiReplica struct {
	*proxiedController
	ca          string
	health, api string // addresses
}

// newAPIReplica starts a replica that takes part in the leader election. A busy machine may need
// seconds to answer, and a replica that loses its Lease ends.
func (env *testEnv) newAPIReplica(a *testCA, more ...string) *apiReplica {
	env.Helper()
	r := &apiReplica{proxiedController: env.newProxied(), ca: filepath.Join(a.dir, "ca.crt"), health: freeAddress(env.T), api: freeAddress(env.T)}
	r.restart(append([]string{
		"--leader-elect=true", "--lease-duration=15s", "--lease-renew-deadline=10s", "--lease-retry-period=500ms",
		"--listen=" + r.health, "--api-listen=" + r.api, "--api-tls-cert=" + filepath.Join(a.dir, "api.crt"), "--api-tls-key=" + filepath.Join(a.dir, "api.key"),
	}, more...)...)
	return r
}

// curl calls the API and verifies its certificate.
func (r *apiReplica) curl(path string, more ...string) (status int, body string) {
	r.Helper()
	out, err := exec.CommandContext(r.Context(), "curl", append([]string{
		"--silent", "--show-error", "--noproxy", "*", "--max-time", "20", "--cacert", r.ca, "--write-out", "\n%{http_code}", "https://" + r.api + path,
	}, more...)...).CombinedOutput()
	require.NoError(r, err, "%s", out)
	end := strings.LastIndex(string(out), "\n")
	status, err = strconv.Atoi(string(out)[end+1:])
	require.NoError(r, err)
	return status, strings.TrimSpace(string(out)[:end])
}

// maintenanceEntry is what the API returns for a target.
type maintenanceEntry struct {
	Kind, Namespace, Name, State, Reason, Page string
	Hosts                                      []string
	Since, Until                               *time.Time
}

// waitForEntries waits until the answer to a query satisfies ok, and returns it.
func (r *apiReplica) waitForEntries(query string, ok func([]maintenanceEntry) bool) []maintenanceEntry {
	r.Helper()
	for deadline := time.Now().Add(waitTimeout); ; {
		status, body := r.curl("/maintenance" + query)
		var all []maintenanceEntry
		if status == 200 {
			require.NoError(r, json.Unmarshal([]byte(body), &all))
			if ok(all) {
				return all
			}
		}
		if time.Now().After(deadline) {
			r.Fatalf("timed out waiting for an answer to %s: %d %s", query, status, body)
		}
		<-after(20 * time.Millisecond)
	}
}

// TestHTTPAPI: the leader, the standby and a restarted replica give the same answers, over
// TLS and on the API's port only. Afterwards the idle replicas must send no requests.
func TestHTTPAPI(t *testing.T) {
	t.Parallel()
	env, a := newTestEnv(t), newTestCA(t)
	a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "api"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "api")
	first := env.newAPIReplica(a)
	waitForMetric(t, first.health, "maintenance_leader 1")
	second := env.newAPIReplica(a)
	httpGet(t, second.health, "/readyz")
	waitForMetric(t, second.health, "maintenance_leader 0")

	env.apply(ingress("my-app"), service("my-app"))
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", "maintenance/reason": `a "new" <database>`})
	env.enable(services, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.waitFor(services, "my-app", "active", state(annotations.Active))
	both := func(all []maintenanceEntry) bool {
		return len(all) == 2 && all[0].Hosts != nil && all[1].Hosts != nil && all[0].State == annotations.Active && all[1].State == annotations.Active
	}
	entries := first.waitForEntries("", both)
	assert.Equal(t, "Ingress/my-app Service/my-app", entries[0].Kind+"/"+entries[0].Name+" "+entries[1].Kind+"/"+entries[1].Name)
	assert.Equal(t, []string{"a.example", "b.example", "*"}, entries[0].Hosts)
	assert.Equal(t, []string{}, entries[1].Hosts)
	assert.Equal(t, `a "new" <database>`, entries[0].Reason)
	assert.Equal(t, annotations.DefaultPage, entries[0].Page)
	require.NotNil(t, entries[0].Since)
	assert.WithinDuration(t, time.Now(), *entries[0].Since, waitTimeout)
	assert.Equal(t, entries, second.waitForEntries("", both), "the standby knows the same")
	assert.Equal(t, entries[:1], second.waitForEntries("?host=B.example&namespace="+env.namespace, func(all []maintenanceEntry) bool { return len(all) == 1 }))

	headers := func(r *apiReplica) string { _, text := r.curl("/maintenance", "--head"); return text }
	etag := func(text string) string {
		_, from, _ := strings.Cut(text, "etag: ")
		tag, _, _ := strings.Cut(from, "\r")
		return tag
	}
	tag := etag(headers(first))
	require.NotEmpty(t, tag, headers(first))
	assert.Equal(t, tag, etag(headers(second)))
	status, body := second.curl("/maintenance", "--header", "If-None-Match: "+tag)
	assert.Equal(t, "304 ", fmt.Sprintf("%d %s", status, body))

	// The API is on its own port, and nothing else is there.
	for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/"} {
		status, body := first.curl(path)
		assert.Equal(t, 404, status, path)
		assert.NotContains(t, body, "maintenance_targets")
	}
	for _, path := range []string{"/services", "/status", "/maintenance"} {
		status, _ := first.curl(path)
		assert.Equal(t, 200, status, path)
		assert.Equal(t, 404, statusOf(t, "http://"+first.health+path), "not on the port of the metrics: %s", path)
	}
	assert.Equal(t, 400, statusOf(t, "http://"+first.api+"/maintenance"), "not without TLS")

	// The leader stops and returns as the standby.
	first.process().Stop()
	waitForMetric(t, second.health, "maintenance_leader 1")
	first.restart()
	httpGet(t, first.health, "/readyz")
	assert.Equal(t, entries, first.waitForEntries("", both))
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	for _, r := range []*apiReplica{first, second} {
		r.waitForEntries("", func(all []maintenanceEntry) bool { return len(all) == 1 && all[0].Kind == "Service" })
		status, body := r.curl("/maintenance?host=a.example")
		assert.Equal(t, "200 []", fmt.Sprintf("%d %s", status, body))
	}
	env.edit(services, "my-app", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"a": "b"}) }) // a Service has no generation
	first.waitForEntries("", func(all []maintenanceEntry) bool { return len(all) == 1 })
}

// statusOf returns the status code of an answer.
func statusOf(t *testing.T, url string) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "curl", "--silent", "--noproxy", "*", "--max-time", "20", "--output", os.DevNull, "--write-out", "%{http_code}", url).Output()
	require.NoError(t, err)
	status, err := strconv.Atoi(string(out))
	require.NoError(t, err)
	return status
}

// TestHTTPAPIServices: every replica lists each Service of the checkers once, as critical
// if any checker says so, and as ready while its Pods are.
func TestHTTPAPIServices(t *testing.T) {
	t.Parallel()
	installCheckers(t, plane)
	env, a := newTestEnv(t), newTestCA(t)
	a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "api"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "api")
	replicas := []*apiReplica{env.newAPIReplica(a), env.newAPIReplica(a)}
	expect := func(path string, status int, body string) {
		t.Helper()
		for _, r := range replicas {
			r.waitForAnswer(path, status, body)
		}
	}
	entry := func(name string, ready, critical bool) string {
		return fmt.Sprintf(`{"name":%q,"namespace":%q,"ready":%t,"critical":%t}`, name, env.namespace, ready, critical)
	}
	env.createApp("db")
	env.createApp("mail")
	env.apply(serviceChecker("one", "{services: [{name: db}, {name: mail}]}"), serviceChecker("two", "{services: [{name: db, critical: true}]}"))
	expect("/services", 200, "["+entry("db", true, true)+","+entry("mail", true, false)+"]")
	expect("/status", 200, `"status":"up","services":{"total":2,"ready":2,"critical":1,"criticalReady":1}`)
	env.removeFromService("db")
	expect("/services?critical=true", 200, "["+entry("db", false, true)+"]")
	expect("/services/"+env.namespace+"/db", 200, `"readyEndpoints":0`)
	expect("/status", 503, `"status":"down"`)
	env.createAppPod("db")
	expect("/status", 200, `"status":"up"`)
	require.NoError(t, env.dynamic.Resource(checkers).Namespace(env.namespace).Delete(t.Context(), "two", metav1.DeleteOptions{}))
	expect("/services", 200, "["+entry("db", true, false)+","+entry("mail", true, false)+"]")
}

// waitForAnswer waits until the API answers a path with this status and a body that
// contains text.
func (r *apiReplica) waitForAnswer(path string, wanted int, text string) {
	r.Helper()
	for deadline := time.Now().Add(waitTimeout); ; {
		status, body := r.curl(path)
		if status == wanted && strings.Contains(body, text) {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("timed out: %s: %d %s, want %d %s", path, status, body, wanted, text)
		}
		<-after(20 * time.Millisecond)
	}
}

// TestHTTPAPIServesOnlyItsNamespaces: other namespaces are refused.
func TestHTTPAPIServesOnlyItsNamespaces(t *testing.T) {
	t.Parallel()
	env, a := newTestEnv(t), newTestCA(t)
	a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "api"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "api")
	r := env.newAPIReplica(a, "--watch-namespaces="+env.namespace+","+env.controllerNamespace, "--api-namespaces="+env.controllerNamespace)
	env.apply(ingress("my-app"))
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	httpGet(t, r.health, "/readyz")
	for path, want := range map[string]int{"/maintenance": 200, "/maintenance?host=a.example": 200, "/maintenance?namespace=" + env.controllerNamespace: 200, "/maintenance?namespace=" + env.namespace: 403, "/services/" + env.namespace + "/my-app": 403} {
		status, body := r.curl(path)
		assert.Equal(t, want, status, path)
		if want == 200 {
			assert.Equal(t, "[]", body, path)
		}
	}
	_, err := env.dynamic.Resource(ingresses).Namespace(env.namespace).Get(t.Context(), "my-app", metav1.GetOptions{})
	require.NoError(t, err)
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
}

// TestHTTPAPIWithManyTargets: a replica that only serves the API keeps little of targets
// that are not in maintenance. It reads the others once.
func TestHTTPAPIWithManyTargets(t *testing.T) {
	t.Parallel()
	const targets, marked = 5000, 50
	env, a := newTestEnv(t), newTestCA(t)
	a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "api"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "api")
	env.holdLease("somebody else")
	debug := freeAddress(t)
	r := env.newAPIReplica(a, "--debug-listen="+debug, "--lease-duration=60m", "--lease-renew-deadline=40m")
	httpGet(t, r.health, "/readyz")
	before := measure(env, debug)
	var gets atomic.Int64
	r.proxy.SetFaults(func(c faultproxy.Call) *faultproxy.Fault {
		if c.Verb == "get" && c.Resource == ingresses.Resource {
			gets.Add(1)
		}
		return nil
	})
	env.createIngresses(targets, nil)
	env.createIngresses(marked, map[string]string{annotations.State: annotations.Active}) // created last, so seen last
	all := r.waitForEntries("", func(all []maintenanceEntry) bool {
		return len(all) == marked && !slices.ContainsFunc(all, func(m maintenanceEntry) bool { return m.Hosts == nil })
	})
	assert.Equal(t, []string{"a.example", "b.example", "*"}, all[0].Hosts)
	assert.Equal(t, int64(marked), gets.Load(), "each is read once, and nothing else")
	more := measure(env, debug).heap - before.heap
	tally.Report(t, "heap bytes of the HTTP API a target", int64(more/targets))
	assert.Less(t, more/targets, 1000, "bytes per target; a full object has 3,400")
}

// holdLease gives the Lease to somebody who does nothing with it.
func (env *testEnv) holdLease(who string) {
	env.Helper()
	lasts := int32(3600)
	_, err := env.client.CoordinationV1().Leases(env.controllerNamespace).Create(env.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "maintenance-controller"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &who, LeaseDurationSeconds: &lasts, RenewTime: &metav1.MicroTime{Time: time.Now()}},
	}, metav1.CreateOptions{})
	require.NoError(env, err)
}

// createIngresses creates Ingresses with these annotations, or with a large one of the app's own.
func (env *testEnv) createIngresses(n int, pairs map[string]string) {
	env.Helper()
	names := make(chan string)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for name := range names {
				u := env.parse(ingress(name))
				u.SetAnnotations(map[string]string{"team/description": strings.Repeat("x", 1000)})
				if pairs != nil {
					u.SetAnnotations(pairs)
				}
				_, err := env.dynamic.Resource(ingresses).Namespace(env.namespace).Create(env.Context(), u, metav1.CreateOptions{})
				assert.NoError(env, err)
			}
		})
	}
	for i := range n {
		names <- fmt.Sprintf("%d-of-%d", i, n)
	}
	close(names)
	all.Wait()
}
