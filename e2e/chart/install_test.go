package chart

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/controllerproc"
	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/pkg/httpserve"
)

// kubectl runs kubectl, which must succeed.
func kubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := runTool(t, binaries.Kubectl(), input, args...)
	require.NoError(t, err, "kubectl %s\n%s", strings.Join(args, " "), out)
	return out
}

// install installs the chart in a new namespace with the name of the release, and returns the
// controller's Deployment.
func install(t *testing.T, release, values string) *appsv1.Deployment {
	t.Helper()
	values, err := filepath.Abs(values)
	require.NoError(t, err)
	out, err := runTool(t, binaries.Helm(), "", "install", release, "deploy/chart", "--namespace", release, "--create-namespace", "--values", values)
	require.NoError(t, err, out)
	t.Cleanup(func() {
		// Without nodes the hook cannot run; package node tests it.
		cmd := exec.Command(tool(t, binaries.Helm()), "uninstall", release, "--namespace", release, "--no-hooks")
		cmd.Env = append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig())
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%s", out)
	})
	client, err := kubernetes.NewForConfig(plane.Config())
	require.NoError(t, err)
	d, err := client.AppsV1().Deployments(release).Get(t.Context(), release+"-maintenance-controller", metav1.GetOptions{})
	require.NoError(t, err)
	return d
}

// running is the tree's own program with settings of the chart.
type running struct {
	address string
	log     *bytes.Buffer
	stop    func()
}

// start runs the program as the Deployment would: with its environment variables, its flags and
// the rights of its ServiceAccount.
func start(t *testing.T, d *appsv1.Deployment) *running {
	t.Helper()
	account := "system:serviceaccount:" + d.Namespace + ":" + d.Spec.Template.Spec.ServiceAccountName
	kubeconfig, err := plane.KubeconfigFor(account, "system:serviceaccounts", "system:serviceaccounts:"+d.Namespace, "system:authenticated")
	require.NoError(t, err)
	path, err := controllerproc.Path()
	require.NoError(t, err)
	port, err := cluster.FreePort()
	require.NoError(t, err)
	r := &running{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), log: &bytes.Buffer{}}
	container, secret := d.Spec.Template.Spec.Containers[0], certificate(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, append(container.Args, "--kubeconfig="+kubeconfig, "--listen="+r.address)...)
	for _, e := range container.Env {
		if e.ValueFrom != nil {
			e.Value = d.Namespace
		}
		switch file, mounted := strings.CutPrefix(e.Value, "/etc/maintenance-api"); {
		case mounted:
			e.Value = secret + file
		case e.Name == "MAINTENANCE_API_LISTEN":
			e.Value = "127.0.0.1:0" // the chart's port may be in use on this machine
		}
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	cmd.Stderr = r.log
	require.NoError(t, cmd.Start())
	r.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
		assert.NoError(t, cmd.Wait(), r.log)
	})
	t.Cleanup(r.stop)
	r.get(t, "/readyz")
	return r
}

// certificate writes the files of a Secret of type kubernetes.io/tls.
func certificate(t *testing.T) (dir string) {
	t.Helper()
	made, err := httpserve.SelfSigned(time.Now(), "localhost")
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	require.NoError(t, err)
	dir = t.TempDir()
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: made.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	return dir
}

// get waits until a path answers with status 200, and returns the body.
func (r *running) get(t *testing.T, path string) string {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); ; {
		body, err := fetch(t.Context(), "http://"+r.address+path)
		if err == nil {
			return body
		}
		if time.Now().After(deadline) {
			r.stop()
			t.Fatalf("%s: %v\n%s", path, err, r.log)
		}
		time.Sleep(50 * time.Millisecond) // poll interval
	}
}

func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

func ingress(namespace string) string {
	return fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: my-app, namespace: %s, annotations: {kubernetes.io/ingress.class: traefik}},
  spec: {defaultBackend: {service: {name: my-app, port: {number: 80}}}}}`, namespace)
}

// until runs kubectl until its output is want.
func until(t *testing.T, want string, args ...string) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); ; {
		out, err := runTool(t, binaries.Kubectl(), "", args...)
		if err == nil && out == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("kubectl %s: %v\n%s\nwant %s", strings.Join(args, " "), err, out, want)
		}
		time.Sleep(100 * time.Millisecond) // poll interval
	}
}

const stateOf = `jsonpath={.metadata.annotations.maintenance/state}`

// TestProgramTakesEveryChartSetting checks that the program takes every setting of the chart, in the format
// that the chart writes.
func TestProgramTakesEveryChartSetting(t *testing.T) {
	t.Parallel()
	installMonitoringCRDs(t)
	d := install(t, "settings", "testdata/everything.yaml")
	path, err := controllerproc.Path()
	require.NoError(t, err)
	help, err := exec.CommandContext(t.Context(), path, "--help").CombinedOutput()
	require.NoError(t, err)
	flags := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ +--([a-z-]+)`).FindAllStringSubmatch(string(help), -1) {
		flags["MAINTENANCE_"+strings.ToUpper(strings.ReplaceAll(m[1], "-", "_"))] = true
	}
	given := map[string]bool{"MAINTENANCE_WATCH_NAMESPACES": true} // by TestRolesForWatchedNamespaces
	for _, e := range d.Spec.Template.Spec.Containers[0].Env {
		assert.True(t, flags[e.Name], "the chart sets %s, which is not a flag of the program", e.Name)
		given[e.Name] = true
	}
	text, err := os.ReadFile(filepath.Join(root(t), "deploy/chart/templates/_environment.tpl"))
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^  "([A-Z_]+)" `).FindAllStringSubmatch(string(text), -1) {
		assert.True(t, given["MAINTENANCE_"+m[1]], "testdata/everything.yaml does not set %s", m[1])
	}

	p := start(t, d)
	kubectl(t, "", "create", "namespace", "settings-app")
	kubectl(t, ingress("settings-app"), "apply", "-f", "-")
	kubectl(t, "", "-n", "settings-app", "annotate", "ingress", "my-app", "example.com/on=yes", "example.com/page=Summer_2026")
	until(t, "active", "-n", "settings-app", "get", "ingress", "my-app", "-o", stateOf)
	set := kubectl(t, "", "-n", "settings-app", "get", "ingress", "my-app", "-o", "jsonpath={.spec.defaultBackend.service.name}")
	data := kubectl(t, "", "-n", "settings-app", "get", "configmap", set, "-o", `jsonpath={.data.page\.txt} {.data.page\.json} {.data.status} {.data.retry-after}`)
	assert.Equal(t, "summer [1] 500 60", data, "formats and settings that the page lacks come from the default page")
	pod := kubectl(t, "", "-n", "settings-app", "get", "pods", "-l", "team=web,tier=edge", "-o",
		`jsonpath={.items[0].metadata.annotations.a} {.items[0].metadata.annotations.b} {.items[0].metadata.annotations.c} {.items[0].spec.imagePullSecrets} {.items[0].spec.priorityClassName}`)
	assert.Equal(t, `x,y say "hi" k=v [{"name":"a"},{"name":"b"}] system-cluster-critical`, pod)
	service := kubectl(t, "", "-n", "settings-app", "get", "service", set, "-o", "jsonpath={.metadata.annotations.list} {.spec.type}")
	assert.Equal(t, "a,b NodePort", service)
	kubectl(t, "", "-n", "settings-app", "annotate", "ingress", "my-app", "example.com/on-")
	until(t, "", "-n", "settings-app", "get", "ingress", "my-app", "-o", stateOf)
	p.stop()
	assert.NotContains(t, p.log.String(), "forbidden", "the chart does not grant all rights that the program needs")
}

// TestRolesForWatchedNamespaces checks that with watched namespaces there are no cluster-wide roles,
// and that the others are enough. It is not parallel: the controller of another test, for all
// namespaces and with other annotations, would end the maintenance of this one.
func TestRolesForWatchedNamespaces(t *testing.T) {
	for _, namespace := range []string{"shop", "pay"} {
		kubectl(t, "", "create", "namespace", namespace)
	}
	d := install(t, "narrow", "testdata/namespaces.yaml")
	cluster := kubectl(t, "", "get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/instance=narrow", "-o", "name")
	assert.Empty(t, cluster)
	p := start(t, d)
	kubectl(t, `{apiVersion: v1, kind: Service, metadata: {name: my-app, namespace: shop}, spec: {selector: {app: my-app}, ports: [{port: 80}]}}`, "apply", "-f", "-")
	kubectl(t, ingress("shop"), "apply", "-f", "-")
	for _, object := range []string{"ingress/my-app", "service/my-app"} {
		kubectl(t, "", "-n", "shop", "annotate", object, "maintenance/enabled=true", "maintenance/custom-page=spring")
		until(t, "active", "-n", "shop", "get", object, "-o", stateOf)
	}
	assert.Contains(t, kubectl(t, "", "-n", "shop", "get", "events", "-o", "custom-columns=M:.message"), `page "spring"`)
	for _, object := range []string{"ingress/my-app", "service/my-app"} {
		kubectl(t, "", "-n", "shop", "annotate", object, "maintenance/enabled-")
		until(t, "", "-n", "shop", "get", object, "-o", stateOf)
	}
	until(t, "", "-n", "shop", "get", "services", "-l", "app.kubernetes.io/component=origin", "-o", "name")
	for _, verb := range []string{"get", "list", "update"} {
		out, _ := runTool(t, binaries.Kubectl(), "", "auth", "can-i", verb, "ingresses", "-n", "default", "--as=system:serviceaccount:narrow:narrow-maintenance-controller")
		assert.Equal(t, "no\n", out, verb)
	}
	for _, object := range []string{"ingress/my-app", "service/my-app"} {
		kubectl(t, "", "-n", "shop", "annotate", object, "maintenance/enabled=true")
		until(t, "active", "-n", "shop", "get", object, "-o", stateOf)
	}
	p.stop()
	assert.NotContains(t, p.log.String(), "forbidden", "the chart does not grant all rights that the program needs")

	out := uninstallHook(t, d)
	assert.Contains(t, out, "2 restored, 0 failed")
	assert.Contains(t, out, "deleted    page set shop/")
	assert.Contains(t, out, "still annotated with maintenance/enabled: Service shop/my-app")
	for _, object := range []string{"ingress/my-app", "service/my-app"} {
		until(t, "", "-n", "shop", "get", object, "-o", stateOf)
	}
	until(t, "", "-n", "narrow", "get", "leases", "-o", "name")
	until(t, "", "-n", "narrow", "get", "pods", "-o", "name")
}

// uninstallHook does what the Job of the pre-delete hook would do, with the rights of its
// account. These must be enough, and the hook must use each right of its own Role.
func uninstallHook(t *testing.T, d *appsv1.Deployment) (out string) {
	t.Helper()
	hooks, err := runTool(t, binaries.Helm(), "", "get", "hooks", d.Namespace, "--namespace", d.Namespace)
	require.NoError(t, err, hooks)
	var job batchv1.Job
	var role rbacv1.Role
	for _, u := range objects(t, hooks) {
		if u.GetKind() == "Job" { // without nodes it would not run
			require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &job))
			continue
		}
		if u.GetKind() == "Role" {
			require.Empty(t, role.Rules, "one Role")
			require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &role))
		}
		text, err := u.MarshalJSON()
		require.NoError(t, err)
		kubectl(t, string(text), "apply", "-f", "-")
	}
	pod := job.Spec.Template.Spec
	kubeconfig, err := plane.KubeconfigFor("system:serviceaccount:"+d.Namespace+":"+pod.ServiceAccountName, "system:authenticated")
	require.NoError(t, err)
	account, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	require.NoError(t, err)
	var asked sync.Map // by verb and resource
	proxy, err := faultproxy.Start(account, func(c faultproxy.Call) *faultproxy.Fault {
		asked.Store(c.String(), true)
		return nil
	})
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, proxy.WriteKubeconfig(kubeconfig, clientcmdapi.AuthInfo{}))
	path, err := controllerproc.Path()
	require.NoError(t, err)
	args := append(pod.Containers[0].Command[1:], pod.Containers[0].Args...)
	cmd := exec.CommandContext(t.Context(), path, append(args, "--kubeconfig="+kubeconfig, "--page-set-grace-period=100ms")...)
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	assert.NotContains(t, string(text), "forbidden")
	require.Len(t, role.Rules, 4)
	for _, rule := range role.Rules {
		require.Len(t, rule.Verbs, 1)
		resource, _, _ := strings.Cut(rule.Resources[0], "/")
		_, used := asked.Load(rule.Verbs[0] + " " + resource)
		assert.True(t, used, "granted but not used: %s", rule)
	}
	return string(text)
}

// TestKustomization runs `kubectl apply -k deploy/manifests`, where the image is set in one place.
func TestKustomization(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"install.yaml", "kustomization.yaml"} {
		text, err := os.ReadFile(filepath.Join(root(t), "deploy/manifests", name))
		require.NoError(t, err)
		changed := strings.NewReplacer("newName: maintenance-controller", "newName: registry.example/mc", "newTag: dev", "newTag: v1").Replace(string(text))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(changed), 0o600))
	}
	kubectl(t, "", "apply", "-k", dir)
	kubectl(t, "", "apply", "-k", dir) // a second time works, too
	images := kubectl(t, "", "-n", "maintenance-system", "get", "deployment", "maintenance-controller", "-o",
		`jsonpath={.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].env[?(@.name=="MAINTENANCE_PAGE_IMAGE")].value}`)
	assert.Equal(t, "registry.example/mc:v1 registry.example/mc:v1", images)
	kubectl(t, "", "-n", "maintenance-system", "rollout", "status", "deployment/maintenance-controller", "--timeout=60s")
	kubectl(t, "", "delete", "-k", dir, "--wait=false")
}
