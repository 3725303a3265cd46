package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/e2e/helm"
	"maintenance-controller.io/pkg/annotations"
)

// earlierChart is the chart of commit 3c36e71, packed by helm package. Nothing checks this,
// since a shallow clone does not have that commit. The tests use it with today's image: they
// test upgrades between charts; TestTwoVersionsTakeTurns tests two versions of the program.
const earlierChart = "testdata/maintenance-controller-0.1.0-3c36e71.tgz"

// release is the installation that all tests share, for a test that changes it. Such a test
// must not be parallel.
type release struct {
	*env
	helm *helm.Helm
}

func newRelease(e *env) *release {
	e.Helper()
	h, err := helm.New(e.Context(), site.Kubeconfig())
	require.NoError(e, err)
	e.Cleanup(func() { assert.NoError(e, install(context.WithoutCancel(e.Context()), site.image, nil)) })
	return &release{env: e, helm: h}
}

// upgrade upgrades to a chart and an image, with a page called spring, and returns the
// release's revision.
func (r *release) upgrade(chart, image, title string) (revision string) {
	r.Helper()
	return r.installOrUpgrade("upgrade", chart, image, title)
}

// installOrUpgrade runs helm with the verb "upgrade" or "install".
func (r *release) installOrUpgrade(verb, chart, image, title string) (revision string) {
	r.Helper()
	values := valuesWith(nil)
	if controller, ok := values["controller"].(map[string]any); ok && chart == earlierChart { // it does not know the other kinds
		controller["targets"] = []string{"Ingress", "IngressRoute", "Service"}
	}
	values["maintenance"] = map[string]any{"customPages": map[string]any{"spring": map[string]any{
		"html": fmt.Sprintf("<!doctype html><title>%[1]s</title><h1>%[1]s</h1>", title),
		"json": fmt.Sprintf(`{"title": %q}`, title),
		"xml":  fmt.Sprintf("<maintenance><title>%s</title></maintenance>", title),
		"text": title, "retryAfter": 60,
	}}}
	text, err := yaml.Marshal(values)
	require.NoError(r, err)
	args := append([]string{verb, helm.Release, chart, "--wait", "--timeout", waitTimeout.String(), "--values", "-", "-o", "json"}, helm.Image(image)...)
	out, err := r.helm.RunWithInput(r.Context(), string(text), args...)
	require.NoError(r, err)
	var status struct{ Version int }
	require.NoError(r, json.Unmarshal([]byte(out), &status), out)
	return fmt.Sprint(status.Version)
}

// untilPage waits until the Ingress is active on the page with this title, and returns its page set.
func (r *release) untilPage(name, title string) (set string) {
	r.Helper()
	r.until(ingresses, name, title, func(u *unstructured.Unstructured) bool {
		if !active(u) {
			return false
		}
		set = u.GetAnnotations()[annotations.PageSet]
		out, err := r.try(r.Context(), "", "get", "configmap", set, "-o", `jsonpath={.data.page\.txt}`)
		return err == nil && out == title
	})
	r.untilAnswer(r.host(name), from(set))
	for kind, body := range r.requirePage(r.host(name), set, 60) {
		assert.Contains(r, body, title, kind)
	}
	return set
}

// ofImage returns a function that reports whether a Pod is ready and runs the image.
func ofImage(image string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return ready(p) && p.Spec.Containers[0].Image == image }
}

// TestHelmReleaseLifecycle upgrades the release from an earlier chart, changes
// the page and the image, rolls back, and uninstalls, all during maintenance and under load.
func TestHelmReleaseLifecycle(t *testing.T) {
	e := newEnv(t)
	r := newRelease(e)
	chart, err := helm.Chart()
	require.NoError(t, err)
	r.upgrade(earlierChart, site.image, "The first page")

	targets := map[string]string{"shop": "ingress/shop", "route": "ingressroute/route", "api": "service/api"}
	hosts := []string{e.host("shop"), e.host("route"), e.host("api")}
	e.deploy(hosts, app("my-app"), app("api"), ingress("shop", hosts[0], "my-app", 80), ingressRoute("route", hosts[1], "name: my-app, port: 80"), ingress("api", hosts[2], "api", 80))
	specs := map[string]string{}
	for _, object := range targets {
		specs[object] = e.spec(object)
	}
	l := e.visitors(50, hosts...)
	l.await(50)
	l.phase("switching on")
	for _, object := range targets {
		e.on(object, annotations.DefaultCustomPage+"=spring")
	}
	first := r.untilPage("shop", "The first page")
	e.untilActive(ingressRoutes, "route")
	e.untilActive(services, "api")
	l.untilAnswer(from(first))
	l.phase("earlier chart")
	l.await(50)

	l.phase("upgrade")
	this := r.upgrade(chart, site.image, "The second page")
	second := r.untilPage("shop", "The second page")
	l.untilAnswer(from(second))
	l.phase("upgraded")
	e.untilPods(second, "two ready Pods", ready)
	fewest := e.watchReady(second)
	r.upgrade(chart, site.nextImage, "The second page")
	e.untilPods(second, "two ready Pods of the new image, and no others", ofImage(site.nextImage))
	assert.Equal(t, 2, fewest(), "fewer than two Pods were ready: a new one must be ready before an old one ends")
	_, err = r.helm.Run(t.Context(), "rollback", helm.Release, this, "--wait", "--timeout", waitTimeout.String())
	require.NoError(t, err)
	e.untilPods(second, "two ready Pods of the image before, and no others", ofImage(site.image))

	l.phase("downgrade")
	r.upgrade(earlierChart, site.image, "The first page")
	require.Equal(t, first, r.untilPage("shop", "The first page"))
	l.untilAnswer(from(first))
	l.phase("earlier chart again")
	l.await(50)
	l.phase("second upgrade")
	r.upgrade(chart, site.image, "The second page")
	require.Equal(t, second, r.untilPage("shop", "The second page"))
	l.untilAnswer(from(second))

	l.phase("uninstall")
	out, err := r.helm.Run(t.Context(), "uninstall", helm.Release, "--wait")
	require.NoError(t, err)
	l.untilAnswer(fromApp)
	l.phase("uninstalled")
	for name, object := range targets {
		kind, _, _ := strings.Cut(object, "/")
		assert.Regexp(t, "(?mi)still annotated with maintenance/enabled: "+kind+" "+e.namespace+"/"+name+";", out, "helm prints what is still annotated after a successful uninstall")
		assert.Equal(t, specs[object], e.spec(object), name)
		assert.ElementsMatch(t, []string{"maintenance/enabled", "maintenance/custom-page"}, ourAnnotations(e, object))
	}
	r.requireNothingLeft()
	l.await(50)
	l.stop()
	l.assertOnly("before", fromApp)
	l.assertOnly("switching on", fromApp, from(first))
	l.assertOnly("earlier chart", from(first))
	l.assertOnly("upgrade", from(first), from(second))
	l.assertOnly("upgraded", from(second))
	l.assertOnly("downgrade", from(first), from(second))
	l.assertOnly("earlier chart again", from(first))
	l.assertOnly("second upgrade", from(first), from(second))
	l.assertOnly("uninstall", from(second), fromApp)
	l.assertOnly("uninstalled", fromApp)

	// After a new installation, what is still annotated goes into maintenance again, with the page from the values.
	r.installOrUpgrade("install", chart, site.image, "The first page")
	require.Equal(t, first, r.untilPage("shop", "The first page"))
	for _, object := range targets {
		e.off(object)
	}
}

// TestUninstallReportsFailedRestore uninstalls while one target cannot be restored. The
// uninstall fails and names the target, which keeps its page, and all others are restored.
// Once a person sets a backend, the uninstall succeeds.
func TestUninstallReportsFailedRestore(t *testing.T) {
	e := newEnv(t)
	r := newRelease(e)
	hosts := []string{e.host("lost"), e.host("kept")}
	e.deploy(hosts, app("my-app"), ingress("lost", hosts[0], "my-app", 80), ingress("kept", hosts[1], "my-app", 80))
	for _, name := range []string{"lost", "kept"} {
		e.on("ingress/" + name)
		e.untilActive(ingresses, name)
	}
	// Delete both copies of the originals while no controller runs that would write one again.
	e.kubectl("-n", ownNamespace, "scale", "deployment", helm.Release, "--replicas=0")
	e.watch(ownNamespace, pods, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + helm.Release}, "no controller Pods", noObjects)
	e.kubectl("delete", "configmap", "maintenance-backup-ingress.lost")
	e.kubectl("annotate", "ingress", "lost", annotations.Original+"-")

	out, err := r.helm.Run(t.Context(), "uninstall", helm.Release, "--wait")
	require.Error(t, err, out)
	assert.Contains(t, out, e.namespace+"/lost", "the output does not name the target that could not be restored")
	e.untilAnswer(hosts[1], fromApp)
	e.untilAnswer(hosts[0], fromPage)
	assert.Contains(t, e.kubectl("-n", ownNamespace, "get", "deployment", helm.Release, "-o", "name"), helm.Release, "the Deployment was deleted although a target could not be restored")

	e.kubectl("patch", "ingress", "lost", "--type=json", "-p",
		`[{"op": "replace", "path": "/spec/rules/0/http/paths/0/backend", "value": {"service": {"name": "my-app", "port": {"number": 80}}}}]`)
	_, err = r.helm.Run(t.Context(), "uninstall", helm.Release, "--wait")
	require.NoError(t, err)
	e.untilAnswer(hosts[0], fromApp)
	r.requireNothingLeft()
	e.off("ingress/lost")
	e.off("ingress/kept")
}

// requireNothingLeft checks that nothing is left of the release and of what the controller made.
func (r *release) requireNothingLeft() {
	r.Helper()
	r.untilClean()
	for _, selector := range []string{"app.kubernetes.io/instance=" + helm.Release, "owner=helm"} {
		left := r.kubectl("get", "deployments,jobs,pods,services,configmaps,serviceaccounts,poddisruptionbudgets,roles,rolebindings,secrets", "--all-namespaces", "-l", selector, "-o", "name")
		for line := range strings.Lines(left) { // Pods may still be terminating
			r.kubectl("-n", ownNamespace, "wait", "--for=delete", strings.TrimSpace(line), "--timeout="+waitTimeout.String())
		}
	}
	assert.Empty(r, r.kubectl("get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/instance="+helm.Release, "-o", "name"))
	assert.Empty(r, r.kubectl("-n", ownNamespace, "get", "leases", "-o", "name"))
}

// ourAnnotations returns the keys of the project's annotations on an object.
func ourAnnotations(e *env, object string) (keys []string) {
	e.Helper()
	var all map[string]string
	require.NoError(e, json.Unmarshal([]byte(e.kubectl("get", object, "-o", "jsonpath={.metadata.annotations}")), &all))
	for key := range all {
		if strings.HasPrefix(key, annotations.Prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}
