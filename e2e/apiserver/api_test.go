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

// authority signs certificates that clients verify.
type authority struct {
	dir string // with the certificate as ca.crt
	der *x509.Certificate
	key *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.der, a.key = a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "tests"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, "ca")
	return a
}

// sign writes NAME.crt and NAME.key.
func (a *authority) sign(t *testing.T, template *x509.Certificate, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
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

// apiReplica is one of the controller's replicas, with an HTTP API.
type apiReplica struct {
	*proxied
	ca          string
	health, api string // addresses
}

// apiReplica starts one that takes part in the election of the world's Lease.
func (w *world) apiReplica(a *authority, more ...string) *apiReplica {
	w.Helper()
	r := &apiReplica{proxied: w.proxied(), ca: filepath.Join(a.dir, "ca.crt"), health: freeAddress(w.T), api: freeAddress(w.T)}
	r.restart(append([]string{
		"--leader-elect=true", "--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=500ms",
		"--listen=" + r.health, "--api-listen=" + r.api, "--api-tls-cert=" + filepath.Join(a.dir, "api.crt"), "--api-tls-key=" + filepath.Join(a.dir, "api.key"),
	}, more...)...)
	return r
}

// curl asks the API as people do who verify its certificate.
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

// inMaintenance is what the API tells of a target.
type inMaintenance struct {
	Kind, Namespace, Name, State, Reason, Page string
	Hosts                                      []string
	Since, Until                               *time.Time
}

// untilTells waits until a query tells of as many targets, and gives them.
func (r *apiReplica) untilTells(query string, ok func([]inMaintenance) bool) []inMaintenance {
	r.Helper()
	for deadline := time.Now().Add(patience); ; {
		status, body := r.curl("/maintenance" + query)
		var all []inMaintenance
		if status == 200 {
			require.NoError(r, json.Unmarshal([]byte(body), &all))
			if ok(all) {
				return all
			}
		}
		if time.Now().After(deadline) {
			r.Fatalf("%s: %d %s", query, status, body)
		}
		<-after(20 * time.Millisecond)
	}
}

// TestHTTPAPI: every replica answers the same, the one that leads and the one that
// stands by, and one that was started anew; to clients that verify; and only there. They
// are left alone with it at the end, and must send nothing.
func TestHTTPAPI(t *testing.T) {
	t.Parallel()
	w, a := newWorld(t), newAuthority(t)
	a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "api"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "api")
	first := w.apiReplica(a)
	untilMetric(t, first.health, "maintenance_leader 1")
	second := w.apiReplica(a)
	get(t, second.health, "/readyz")
	untilMetric(t, second.health, "maintenance_leader 0")

	w.apply(ingress("my-app"), service("my-app"))
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", "maintenance/reason": `a "new" <database>`})
	w.on(services, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.until(services, "my-app", "active", state(annotations.Active))
	both := func(all []inMaintenance) bool {
		return len(all) == 2 && all[0].Hosts != nil && all[0].State == annotations.Active && all[1].State == annotations.Active
	}
	told := first.untilTells("", both)
	assert.Equal(t, "Ingress/my-app Service/my-app", told[0].Kind+"/"+told[0].Name+" "+told[1].Kind+"/"+told[1].Name)
	assert.Equal(t, []string{"a.example", "b.example", "*"}, told[0].Hosts)
	assert.Equal(t, []string{}, told[1].Hosts)
	assert.Equal(t, `a "new" <database>`, told[0].Reason)
	assert.Equal(t, annotations.DefaultPage, told[0].Page)
	require.NotNil(t, told[0].Since)
	assert.WithinDuration(t, time.Now(), *told[0].Since, patience)
	assert.Equal(t, told, second.untilTells("", both), "who stands by knows as much")
	assert.Equal(t, told[:1], second.untilTells("?host=B.example&namespace="+w.namespace, func(all []inMaintenance) bool { return len(all) == 1 }))

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

	// There, and nowhere else.
	for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/"} {
		status, body := first.curl(path)
		assert.Equal(t, 404, status, path)
		assert.NotContains(t, body, "maintenance_targets")
	}
	for _, path := range []string{"/services", "/status", "/maintenance"} {
		status, _ := first.curl(path)
		assert.Equal(t, 200, status, path)
		assert.Equal(t, 404, statusOf(t, "http://"+first.health+path), "on the port of the metrics: %s", path)
	}
	assert.Equal(t, 400, statusOf(t, "http://"+first.api+"/maintenance"), "not in clear")

	// The leader goes and comes back as the one that stands by.
	first.program().Stop()
	untilMetric(t, second.health, "maintenance_leader 1")
	first.restart()
	get(t, first.health, "/readyz")
	assert.Equal(t, told, first.untilTells("", both))
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	for _, r := range []*apiReplica{first, second} {
		r.untilTells("", func(all []inMaintenance) bool { return len(all) == 1 && all[0].Kind == "Service" })
		status, body := r.curl("/maintenance?host=a.example")
		assert.Equal(t, "200 []", fmt.Sprintf("%d %s", status, body))
	}
	w.edit(services, "my-app", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"a": "b"}) }) // a Service has no generation
	first.untilTells("", func(all []inMaintenance) bool { return len(all) == 1 })
}

// statusOf gives the status of an answer.
func statusOf(t *testing.T, url string) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "curl", "--silent", "--noproxy", "*", "--max-time", "20", "--output", os.DevNull, "--write-out", "%{http_code}", url).Output()
	require.NoError(t, err)
	status, err := strconv.Atoi(string(out))
	require.NoError(t, err)
	return status
}

// TestHTTPAPIOfServices: every replica says the same of the Services that checkers name:
// each once, critical if any checker says so, ready while its Pods are.
func TestHTTPAPIOfServices(t *testing.T) {
	t.Parallel()
	installCheckers(t, plane)
	w, a := newWorld(t), newAuthority(t)
	a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "api"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "api")
	replicas := []*apiReplica{w.apiReplica(a), w.apiReplica(a)}
	says := func(path string, status int, body string) {
		t.Helper()
		for _, r := range replicas {
			r.untilSays(path, status, body)
		}
	}
	entry := func(name string, ready, critical bool) string {
		return fmt.Sprintf(`{"name":%q,"namespace":%q,"ready":%t,"critical":%t}`, name, w.namespace, ready, critical)
	}
	w.app("db")
	w.app("mail")
	w.apply(serviceChecker("one", "{services: [{name: db}, {name: mail}]}"), serviceChecker("two", "{services: [{name: db, critical: true}]}"))
	says("/services", 200, "["+entry("db", true, true)+","+entry("mail", true, false)+"]")
	says("/status", 200, `"status":"up","services":{"total":2,"ready":2,"critical":1,"criticalReady":1}`)
	w.leavesApp("db")
	says("/services?critical=true", 200, "["+entry("db", false, true)+"]")
	says("/services/"+w.namespace+"/db", 200, `"readyEndpoints":0`)
	says("/status", 503, `"status":"down"`)
	w.appPod("db")
	says("/status", 200, `"status":"up"`)
	require.NoError(t, w.dynamic.Resource(checkers).Namespace(w.namespace).Delete(t.Context(), "two", metav1.DeleteOptions{}))
	says("/services", 200, "["+entry("db", true, false)+","+entry("mail", true, false)+"]")
}

// untilSays waits until the API answers a path with a status, and a body that has this in it.
func (r *apiReplica) untilSays(path string, wanted int, text string) {
	r.Helper()
	for deadline := time.Now().Add(patience); ; {
		status, body := r.curl(path)
		if status == wanted && strings.Contains(body, text) {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("%s: %d %s, wanted %d %s", path, status, body, wanted, text)
		}
		<-after(20 * time.Millisecond)
	}
}

// TestHTTPAPITellsOfItsNamespaces: of another one it knows nothing.
func TestHTTPAPITellsOfItsNamespaces(t *testing.T) {
	t.Parallel()
	w, a := newWorld(t), newAuthority(t)
	a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "api"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "api")
	r := w.apiReplica(a, "--watch-namespaces="+w.namespace+","+w.own, "--api-namespaces="+w.own)
	w.apply(ingress("my-app"))
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	get(t, r.health, "/readyz")
	for path, want := range map[string]int{"/maintenance": 200, "/maintenance?host=a.example": 200, "/maintenance?namespace=" + w.own: 200, "/maintenance?namespace=" + w.namespace: 403, "/services/" + w.namespace + "/my-app": 403} {
		status, body := r.curl(path)
		assert.Equal(t, want, status, path)
		if want == 200 {
			assert.Equal(t, "[]", body, path)
		}
	}
	_, err := w.dynamic.Resource(ingresses).Namespace(w.namespace).Get(t.Context(), "my-app", metav1.GetOptions{})
	require.NoError(t, err)
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
}

// TestHTTPAPIOfManyTargets: a replica that only serves the API keeps little of what is
// not in maintenance, reads once what is, and then nothing more.
func TestHTTPAPIOfManyTargets(t *testing.T) {
	t.Parallel()
	const targets, marked = 5000, 50
	w, a := newWorld(t), newAuthority(t)
	a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "api"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, "api")
	w.leads("somebody else")
	debug := freeAddress(t)
	r := w.apiReplica(a, "--debug-listen="+debug, "--lease-duration=60m", "--lease-renew-deadline=40m")
	get(t, r.health, "/readyz")
	before := measure(w, debug)
	var gets atomic.Int64
	r.proxy.Judge(func(c faultproxy.Call) *faultproxy.Fault {
		if c.Verb == "get" && c.Resource == ingresses.Resource {
			gets.Add(1)
		}
		return nil
	})
	w.many(targets, nil)
	w.many(marked, map[string]string{annotations.State: annotations.Active}) // seen last
	all := r.untilTells("", func(all []inMaintenance) bool {
		return len(all) == marked && !slices.ContainsFunc(all, func(m inMaintenance) bool { return m.Hosts == nil })
	})
	assert.Equal(t, []string{"a.example", "b.example", "*"}, all[0].Hosts)
	assert.Equal(t, int64(marked), gets.Load(), "each is read once, and no other")
	more := measure(w, debug).heap - before.heap
	tally.Tell(t, "heap bytes of the HTTP API a target", int64(more/targets))
	assert.Less(t, more/targets, 1000, "bytes: a full object has 3,400")
}

// leads gives the world's Lease to somebody who does nothing with it.
func (w *world) leads(who string) {
	w.Helper()
	lasts := int32(3600)
	_, err := w.client.CoordinationV1().Leases(w.own).Create(w.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "maintenance-controller"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &who, LeaseDurationSeconds: &lasts, RenewTime: &metav1.MicroTime{Time: time.Now()}},
	}, metav1.CreateOptions{})
	require.NoError(w, err)
}

// many makes Ingresses with these annotations, and a large one that is an app's own.
func (w *world) many(n int, pairs map[string]string) {
	w.Helper()
	names := make(chan string)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for name := range names {
				u := w.parse(ingress(name))
				u.SetAnnotations(map[string]string{"team/description": strings.Repeat("x", 1000)})
				if pairs != nil {
					u.SetAnnotations(pairs)
				}
				_, err := w.dynamic.Resource(ingresses).Namespace(w.namespace).Create(w.Context(), u, metav1.CreateOptions{})
				assert.NoError(w, err)
			}
		})
	}
	for i := range n {
		names <- fmt.Sprintf("%d-of-%d", i, n)
	}
	close(names)
	all.Wait()
}
