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

// earlierChart is the chart of commit 3c36e71, packed by helm package: a shallow clone
// has no earlier commits, for which reason nothing checks that it is. It runs today's
// image: what is tested is the way between two charts, and not that between two
// versions of the program, which is TestTwoVersionsHandOver.
const earlierChart = "testdata/maintenance-controller-0.1.0-3c36e71.tgz"

// release is the installation that all tests share, in the hands of one of them:
// a test with a release must not be parallel.
type release struct {
	*world
	helm *helm.Helm
}

func newRelease(w *world) *release {
	w.Helper()
	h, err := helm.New(w.Context(), site.Kubeconfig())
	require.NoError(w, err)
	w.Cleanup(func() { assert.NoError(w, install(context.WithoutCancel(w.Context()), site.image, nil)) })
	return &release{world: w, helm: h}
}

// upgrade goes to a chart and an image, with a page called spring, and gives the
// revision.
func (r *release) upgrade(chart, image, title string) (revision string) {
	r.Helper()
	return r.puts("upgrade", chart, image, title)
}

// puts is helm upgrade, or helm install where there is no release.
func (r *release) puts(verb, chart, image, title string) (revision string) {
	r.Helper()
	values := valuesWith(nil)
	if controller, ok := values["controller"].(map[string]any); ok && chart == earlierChart { // which knows no other kinds
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
	args := append([]string{verb, helm.Release, chart, "--wait", "--timeout", patience.String(), "--values", "-", "-o", "json"}, helm.Image(image)...)
	out, err := r.helm.Give(r.Context(), string(text), args...)
	require.NoError(r, err)
	var status struct{ Version int }
	require.NoError(r, json.Unmarshal([]byte(out), &status), out)
	return fmt.Sprint(status.Version)
}

// untilOn waits until the Ingress is active on the page of a title, and gives its set.
func (r *release) untilOn(name, title string) (set string) {
	r.Helper()
	r.until(ingresses, name, title, func(u *unstructured.Unstructured) bool {
		if !active(u) {
			return false
		}
		set = u.GetAnnotations()[annotations.PageSet]
		out, err := r.try(r.Context(), "", "get", "configmap", set, "-o", `jsonpath={.data.page\.txt}`)
		return err == nil && out == title
	})
	r.arrives(r.host(name), from(set))
	for kind, body := range r.requirePage(r.host(name), set, 60) {
		assert.Contains(r, body, title, kind)
	}
	return set
}

func ofImage(image string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return ready(p) && p.Spec.Containers[0].Image == image }
}

// TestAReleaseFromItsInstallationToItsEnd is what becomes of visitors while the
// release is upgraded, from an earlier chart to this one, to another page, to another
// image, back by one, and uninstalled in the middle of maintenance.
func TestAReleaseFromItsInstallationToItsEnd(t *testing.T) {
	w := newWorld(t)
	r := newRelease(w)
	chart, err := helm.Chart()
	require.NoError(t, err)
	r.upgrade(earlierChart, site.image, "The first page")

	targets := map[string]string{"shop": "ingress/shop", "route": "ingressroute/route", "api": "service/api"}
	hosts := []string{w.host("shop"), w.host("route"), w.host("api")}
	w.serve(hosts, app("my-app"), app("api"), ingress("shop", hosts[0], "my-app", 80), ingressRoute("route", hosts[1], "name: my-app, port: 80"), ingress("api", hosts[2], "api", 80))
	specs := map[string]string{}
	for _, object := range targets {
		specs[object] = w.spec(object)
	}
	l := w.visitors(50, hosts...)
	l.await(50)
	l.phase("switching on")
	for _, object := range targets {
		w.on(object, annotations.DefaultCustomPage+"=spring")
	}
	first := r.untilOn("shop", "The first page")
	w.untilActive(ingressRoutes, "route")
	w.untilActive(services, "api")
	l.arrives(from(first))
	l.phase("earlier chart")
	l.await(50)

	l.phase("upgrade")
	this := r.upgrade(chart, site.image, "The second page")
	second := r.untilOn("shop", "The second page")
	l.arrives(from(second))
	l.phase("upgraded")
	w.untilPods(second, "two ready Pods", ready)
	fewest := w.watchReady(second)
	r.upgrade(chart, site.nextImage, "The second page")
	w.untilPods(second, "two ready Pods of the new image, and no others", ofImage(site.nextImage))
	assert.Equal(t, 2, fewest(), "new before old: never fewer than two Pods were ready")
	_, err = r.helm.Run(t.Context(), "rollback", helm.Release, this, "--wait", "--timeout", patience.String())
	require.NoError(t, err)
	w.untilPods(second, "two ready Pods of the image before, and no others", ofImage(site.image))

	l.phase("back")
	r.upgrade(earlierChart, site.image, "The first page")
	require.Equal(t, first, r.untilOn("shop", "The first page"))
	l.arrives(from(first))
	l.phase("earlier chart again")
	l.await(50)
	l.phase("and forth")
	r.upgrade(chart, site.image, "The second page")
	require.Equal(t, second, r.untilOn("shop", "The second page"))
	l.arrives(from(second))

	l.phase("uninstall")
	out, err := r.helm.Run(t.Context(), "uninstall", helm.Release, "--wait")
	require.NoError(t, err)
	l.arrives(fromApp)
	l.phase("uninstalled")
	for name, object := range targets {
		kind, _, _ := strings.Cut(object, "/")
		assert.Regexp(t, "(?mi)still annotated with maintenance/enabled: "+kind+" "+w.namespace+"/"+name+";", out, "helm says so though all went well")
		assert.Equal(t, specs[object], w.spec(object), name)
		assert.ElementsMatch(t, []string{"maintenance/enabled", "maintenance/custom-page"}, ourAnnotations(w, object))
	}
	r.requireNothingLeft()
	l.await(50)
	l.stop()
	l.only("before", fromApp)
	l.only("switching on", fromApp, from(first))
	l.only("earlier chart", from(first))
	l.only("upgrade", from(first), from(second))
	l.only("upgraded", from(second))
	l.only("back", from(first), from(second))
	l.only("earlier chart again", from(first))
	l.only("and forth", from(first), from(second))
	l.only("uninstall", from(second), fromApp)
	l.only("uninstalled", fromApp)

	// What is still annotated goes in again, with the page of the values.
	r.puts("install", chart, site.image, "The first page")
	require.Equal(t, first, r.untilOn("shop", "The first page"))
	for _, object := range targets {
		w.off(object)
	}
}

// TestAnUninstallThatCannotRestoreSaysSo: it fails with the name of the target, whose
// visitors keep the page, and all others have their apps. Once a person has given it
// a backend, the uninstall goes through.
func TestAnUninstallThatCannotRestoreSaysSo(t *testing.T) {
	w := newWorld(t)
	r := newRelease(w)
	hosts := []string{w.host("lost"), w.host("kept")}
	w.serve(hosts, app("my-app"), ingress("lost", hosts[0], "my-app", 80), ingress("kept", hosts[1], "my-app", 80))
	for _, name := range []string{"lost", "kept"} {
		w.on("ingress/" + name)
		w.untilActive(ingresses, name)
	}
	// Both copies of the originals, while no controller is there to put one back.
	w.kubectl("-n", ownNamespace, "scale", "deployment", helm.Release, "--replicas=0")
	w.watch(ownNamespace, pods, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + helm.Release}, "the end of the controllers", none)
	w.kubectl("delete", "configmap", "maintenance-backup-ingress.lost")
	w.kubectl("annotate", "ingress", "lost", annotations.Original+"-")

	out, err := r.helm.Run(t.Context(), "uninstall", helm.Release, "--wait")
	require.Error(t, err, out)
	assert.Contains(t, out, w.namespace+"/lost", "the target that could not be restored is named")
	w.arrives(hosts[1], fromApp)
	w.arrives(hosts[0], fromPage)
	assert.Contains(t, w.kubectl("-n", ownNamespace, "get", "deployment", helm.Release, "-o", "name"), helm.Release, "nothing else was deleted")

	w.kubectl("patch", "ingress", "lost", "--type=json", "-p",
		`[{"op": "replace", "path": "/spec/rules/0/http/paths/0/backend", "value": {"service": {"name": "my-app", "port": {"number": 80}}}}]`)
	_, err = r.helm.Run(t.Context(), "uninstall", helm.Release, "--wait")
	require.NoError(t, err)
	w.arrives(hosts[0], fromApp)
	r.requireNothingLeft()
	w.off("ingress/lost")
	w.off("ingress/kept")
}

// requireNothingLeft of the release, nor of what the controller made.
func (r *release) requireNothingLeft() {
	r.Helper()
	r.untilClean()
	for _, selector := range []string{"app.kubernetes.io/instance=" + helm.Release, "owner=helm"} {
		left := r.kubectl("get", "deployments,jobs,pods,services,configmaps,serviceaccounts,poddisruptionbudgets,roles,rolebindings,secrets", "--all-namespaces", "-l", selector, "-o", "name")
		for line := range strings.Lines(left) { // Pods take their time to end
			r.kubectl("-n", ownNamespace, "wait", "--for=delete", strings.TrimSpace(line), "--timeout="+patience.String())
		}
	}
	assert.Empty(r, r.kubectl("get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/instance="+helm.Release, "-o", "name"))
	assert.Empty(r, r.kubectl("-n", ownNamespace, "get", "leases", "-o", "name"))
}

// ourAnnotations are the keys of ours that an object has.
func ourAnnotations(w *world, object string) (keys []string) {
	w.Helper()
	var all map[string]string
	require.NoError(w, json.Unmarshal([]byte(w.kubectl("get", object, "-o", "jsonpath={.metadata.annotations}")), &all))
	for key := range all {
		if strings.HasPrefix(key, annotations.Prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}
