package apiserver

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/target"
)

// manifests are an object of each kind, by its name.
var manifests = map[string]func(name string) string{
	"Ingress": ingress, "IngressRoute": ingressRoute, "HTTPRoute": httpRoute, "GRPCRoute": grpcRoute, "Service": service,
}

func service(name string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata:
  name: %s
  labels: {app: shop}
spec:
  selector: {app: shop, tier: web}
  ports:
    - {name: web, port: 80, targetPort: 8080}
    - {name: secure, port: 443, targetPort: https, appProtocol: https}
    - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
`, name)
}

func originOf(name string) string { return origin.Name(target.Ref{Kind: "Service", Name: name}) }

func and(all ...condition) condition {
	return func(u *unstructured.Unstructured) bool {
		for _, ok := range all {
			if !ok(u) {
				return false
			}
		}
		return true
	}
}

// asService decodes a Service.
func asService(u *unstructured.Unstructured) *corev1.Service {
	svc := &corev1.Service{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, svc); err != nil {
		panic(err) // the API server's own
	}
	return svc
}

// way is where a Service leads: its selector, and each port's targetPort.
func way(svc *corev1.Service) string {
	ports := map[string]string{}
	for _, p := range svc.Spec.Ports {
		ports[p.Name] = p.TargetPort.String()
	}
	raw, err := json.Marshal([]any{svc.Spec.Selector, ports})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// leadsToApp: where the manifest leads.
func leadsToApp(manifest string) condition {
	want := way(asService((&world{}).parse(manifest)))
	return func(u *unstructured.Unstructured) bool { return u != nil && way(asService(u)) == want }
}

// leadsToPage: the selector and all ports but the UDP one.
func leadsToPage(set string) condition {
	return func(u *unstructured.Unstructured) bool {
		svc := asService(u)
		if len(svc.Spec.Selector) != 1 || svc.Spec.Selector[annotations.PageSetLabel] != set {
			return false
		}
		for _, p := range svc.Spec.Ports {
			if p.Protocol == corev1.ProtocolTCP && p.TargetPort.String() != page.PortName {
				return false
			}
		}
		return true
	}
}

func (w *world) patch(gvr schemaGVR, name string, kind types.PatchType, patch string) {
	w.Helper()
	_, err := w.dynamic.Resource(gvr).Namespace(w.namespace).Patch(w.Context(), name, kind, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-patch"})
	require.NoError(w, err)
}

// untilEndpoints waits until the Service's endpoints are page Pods, all on the page port.
func (w *world) untilEndpoints(name string) {
	w.Helper()
	slices := schemaGVR{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	deadline := time.Now().Add(patience)
	for {
		ready := 0
		for _, slice := range w.list(slices, "kubernetes.io/service-name="+name) {
			ports, _, _ := unstructured.NestedSlice(slice.Object, "ports")
			endpoints, _, _ := unstructured.NestedSlice(slice.Object, "endpoints")
			for _, p := range ports {
				if p.(map[string]any)["port"] == int64(page.Port) {
					ready += len(endpoints)
				}
			}
		}
		if ready > 0 {
			return
		}
		require.True(w, time.Now().Before(deadline), "no page Pods behind %s", name)
		<-after(20 * time.Millisecond)
	}
}

func TestServiceIsSwitchedAndItsOriginStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(service("my-app"))
	before := spec(t, w.get(services, "my-app"))
	w.start()
	serves := w.watchServing(services, "my-app")
	early := make(chan string, 100) // revisions on the page without an origin
	seen := w.watchRevisions(services, "my-app", func(u *unstructured.Unstructured) {
		if len(setsOf(u)) == 0 {
			return
		}
		if _, err := w.client.CoreV1().Services(w.namespace).Get(t.Context(), originOf("my-app"), metav1.GetOptions{}); err != nil && len(setsOf(w.get(services, "my-app"))) > 0 {
			early <- err.Error()
		}
	})
	w.on(services, "my-app")
	u := w.until(services, "my-app", "active", state(annotations.Active))
	set := allOn(t, u)
	serves.until(set)
	assert.True(t, leadsToPage(set)(u), "%s", way(asService(u)))
	w.untilEndpoints("my-app")
	w.until(configMaps, set, "its user", usedBy("Service/my-app"))
	assert.Contains(t, message(w.untilEvent("my-app", "BackendLeftAlone")), "53/UDP")

	there := w.get(services, originOf("my-app"))
	assert.True(t, leadsToApp(service("my-app"))(there), "%s", way(asService(there)))
	assert.Equal(t, annotations.ManagedBy, there.GetLabels()[annotations.ManagedByLabel])
	assert.Equal(t, u.GetUID(), there.GetOwnerReferences()[0].UID)

	// Whatever becomes of the origin, it comes back as it should be.
	require.NoError(t, w.client.CoreV1().Services(w.namespace).Delete(t.Context(), originOf("my-app"), metav1.DeleteOptions{}))
	w.until(services, originOf("my-app"), "a new one", and(exists, leadsToApp(service("my-app"))))
	w.patch(services, originOf("my-app"), types.MergePatchType, `{"spec":{"selector":{"evil":"yes"}}}`)
	w.until(services, originOf("my-app"), "the app's selector", leadsToApp(service("my-app")))

	w.off(services, "my-app")
	assert.Equal(t, before, spec(t, w.until(services, "my-app", "restored", restored)))
	w.until(services, originOf("my-app"), "its end", absent)
	w.untilClean()
	assert.GreaterOrEqual(t, seen(), 4)
	assert.Empty(t, early, "the origin is there before the swap")
}

// TestServiceIsWrittenBack by the tools that people use, each in its own way.
func TestServiceIsWrittenBack(t *testing.T) {
	t.Parallel()
	app := service("my-app")
	v2 := strings.ReplaceAll(app, "tier: web", "tier: v2")
	for name, tc := range map[string]struct {
		revert func(*world)
		want   string // manifest of what is restored
	}{
		"an editor": {func(w *world) {
			w.edit(services, "my-app", func(u *unstructured.Unstructured) {
				want := w.parse(v2)
				for _, field := range []string{"selector", "ports"} {
					u.Object["spec"].(map[string]any)[field] = want.Object["spec"].(map[string]any)[field]
				}
			})
		}, v2},
		"a merge patch of the whole selector": {func(w *world) {
			w.patch(services, "my-app", types.StrategicMergePatchType, `{"spec":{"selector":{"app":"shop","tier":"v2"}}}`)
		}, v2},
		"a merge patch of one label": {func(w *world) {
			w.patch(services, "my-app", types.MergePatchType, `{"spec":{"selector":{"tier":"v2"}}}`)
		}, v2},
		"one port": {func(w *world) {
			w.patch(services, "my-app", types.StrategicMergePatchType, `{"spec":{"ports":[{"port":80,"targetPort":9000}]}}`)
		}, strings.ReplaceAll(app, "8080", "9000")},
		"one port, to where page Pods listen": {func(w *world) {
			w.patch(services, "my-app", types.StrategicMergePatchType, fmt.Sprintf(`{"spec":{"ports":[{"port":443,"targetPort":%d}]}}`, page.Port))
		}, strings.ReplaceAll(app, "targetPort: https", fmt.Sprintf("targetPort: %d", page.Port))},
		"a new port": {func(w *world) {
			w.patch(services, "my-app", types.StrategicMergePatchType, `{"spec":{"ports":[{"name":"new","port":8080,"targetPort":"new"}]}}`)
		}, app + "    - {name: new, port: 8080, targetPort: new}\n"},
		"a forced server-side apply": {func(w *world) {
			raw, err := w.parse(v2).MarshalJSON()
			require.NoError(w, err)
			force := true
			_, err = w.dynamic.Resource(services).Namespace(w.namespace).Patch(w.Context(), "my-app", types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: "gitops", Force: &force})
			require.NoError(w, err)
		}, v2},
	} {
		for _, watched := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, controller up %v", name, watched), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.apply(app)
				c := w.start()
				w.on(services, "my-app")
				set := allOn(t, w.until(services, "my-app", "active", state(annotations.Active)))
				if watched {
					tc.revert(w)
					w.until(services, "my-app", "the page again", leadsToPage(set))
					w.until(services, originOf("my-app"), "the new way to the app", leadsToApp(tc.want))
					w.off(services, "my-app")
				} else {
					c.stop()
					tc.revert(w)
					w.off(services, "my-app")
					w.start()
				}
				u := w.until(services, "my-app", "restored", restored)
				assert.True(t, leadsToApp(tc.want)(u), "%s", way(asService(u)))
				w.untilClean()
			})
		}
	}
}

// TestServiceThatIsContestedServesTheAppInBetween: a merge patch leaves a
// selector that finds nothing. When the next swap is put off, visitors get the app.
func TestServiceThatIsContestedServesTheAppInBetween(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(service("my-app"))
	w.start()
	w.on(services, "my-app")
	set := allOn(t, w.until(services, "my-app", "active", state(annotations.Active)))
	for i := range 4 {
		w.patch(services, "my-app", types.MergePatchType, fmt.Sprintf(`{"metadata":{"annotations":{"n":"%d"}},"spec":{"selector":{"app":"shop","tier":"web"}}}`, i))
		if i == 3 {
			u := w.until(services, "my-app", "contested", state(annotations.Contested))
			assert.True(t, leadsToApp(service("my-app"))(u), "%s", way(asService(u)))
		}
		w.until(services, "my-app", "swapped again", leadsToPage(set))
	}
	w.off(services, "my-app")
	assert.True(t, leadsToApp(service("my-app"))(w.until(services, "my-app", "restored", restored)))
	w.untilClean()
}

// TestServiceAndItsIngress in any order, on and off.
func TestServiceAndItsIngress(t *testing.T) {
	t.Parallel()
	kinds := []schemaGVR{ingresses, services}
	for _, on := range [][]schemaGVR{{kinds[0], kinds[1]}, {kinds[1], kinds[0]}} {
		for _, off := range [][]schemaGVR{{kinds[0], kinds[1]}, {kinds[1], kinds[0]}} {
			t.Run(fmt.Sprintf("on %s first, off %s first", on[0].Resource, off[0].Resource), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.apply(strings.ReplaceAll(ingress("my-app"), "name: app,", "name: my-app,"), service("my-app"))
				before := map[schemaGVR]string{}
				for _, gvr := range kinds {
					before[gvr] = spec(t, w.get(gvr, "my-app"))
				}
				w.start()
				sets := map[string]bool{}
				for _, gvr := range on {
					w.on(gvr, "my-app")
					sets[allOn(t, w.until(gvr, "my-app", "active", state(annotations.Active)))] = true
				}
				assert.Len(t, sets, 1, "the same content, one page set")
				w.until(configMaps, defaultSet(), "both users", usedBy("Ingress/my-app,Service/my-app"))
				own := spec(t, w.get(services, defaultSet()))
				w.off(off[0], "my-app")
				assert.Equal(t, before[off[0]], spec(t, w.until(off[0], "my-app", "restored", restored)))
				allOn(t, w.get(off[1], "my-app"))
				assert.Equal(t, own, spec(t, w.get(services, defaultSet())), "the page set's own Service is as it was")
				w.off(off[1], "my-app")
				assert.Equal(t, before[off[1]], spec(t, w.until(off[1], "my-app", "restored", restored)))
				w.untilClean()
			})
		}
	}
}

func TestServiceOfOursIsNeverATarget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(service("my-app"))
	w.start()
	w.on(services, "my-app")
	set := allOn(t, w.until(services, "my-app", "active", state(annotations.Active)))
	own := []string{set, originOf("my-app")}
	before := map[string]string{}
	for _, name := range own {
		before[name] = way(asService(w.get(services, name)))
		w.on(services, name)
	}
	// Something that is done after both were seen.
	w.apply(service("other"))
	w.on(services, "other")
	w.until(services, "other", "active", state(annotations.Active))
	for _, name := range own {
		u := w.get(services, name)
		assert.Equal(t, before[name], way(asService(u)))
		assert.Empty(t, u.GetAnnotations()[annotations.State])
	}
	w.off(services, "my-app")
	w.off(services, "other")
	w.untilClean()
}

func TestServiceOriginNameThatIsTakenBlocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(service("my-app"), service(originOf("my-app")))
	foreign := w.get(services, originOf("my-app")).GetResourceVersion()
	w.start()
	w.on(services, "my-app")
	u := w.until(services, "my-app", "blocked", state(annotations.Blocked))
	assert.True(t, leadsToApp(service("my-app"))(u), "the app is served")
	assert.Contains(t, message(w.untilEvent("my-app", "NameConflict")), originOf("my-app"))
	assert.Equal(t, foreign, w.get(services, originOf("my-app")).GetResourceVersion())
	require.NoError(t, w.client.CoreV1().Services(w.namespace).Delete(t.Context(), originOf("my-app"), metav1.DeleteOptions{}))
	w.until(services, "my-app", "active, now that the name is free", state(annotations.Active))
}

func TestServiceThatIsDeletedTakesItsOriginAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(service("my-app"))
	w.start()
	w.on(services, "my-app")
	w.until(services, "my-app", "active", state(annotations.Active))
	require.NoError(t, w.client.CoreV1().Services(w.namespace).Delete(t.Context(), "my-app", metav1.DeleteOptions{}))
	w.untilClean()
}

func TestServiceShowsACustomPageAndFollowsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(service("my-app"), customPage("spring", "page.html", "<h1>one</h1>"))
	before := spec(t, w.get(services, "my-app"))
	serves := w.watchServing(services, "my-app")
	w.start()
	w.annotate(services, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	first := allOn(t, w.until(services, "my-app", "active", state(annotations.Active)))
	serves.until(first)
	w.edit(configMaps, "page-spring", func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, "<h1>two</h1>", "data", "page.html"))
	})
	u := w.until(services, "my-app", "the new page", func(u *unstructured.Unstructured) bool {
		return u.GetAnnotations()[annotations.PageSet] != first && state(annotations.Active)(u)
	})
	assert.True(t, leadsToPage(allOn(t, u))(u))
	serves.until(allOn(t, u))
	w.off(services, "my-app")
	assert.Equal(t, before, spec(t, w.until(services, "my-app", "restored", restored)))
	w.untilClean()
}

// TestServiceTargetsAreOffUnlessNamed runs the program with the manifests' own rights.
func TestServiceTargetsAreOffUnlessNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kubeconfig := installed(t, plane, "service-targets.yaml")
	w.apply(service("my-app"), ingress("my-app"))
	before := spec(t, w.get(services, "my-app"))
	args := []string{"--watch-namespaces=" + w.namespace, "--leader-elect=false"}
	p := runProgram(t, kubeconfig, args...)
	w.on(services, "my-app")
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	assert.Equal(t, before, spec(t, w.get(services, "my-app")))
	p.Stop()

	p = runProgram(t, kubeconfig, append(args, "--targets=Ingress,IngressRoute,Service")...)
	w.until(services, "my-app", "active", state(annotations.Active))
	w.off(services, "my-app")
	w.off(ingresses, "my-app")
	assert.Equal(t, before, spec(t, w.until(services, "my-app", "restored", restored)))
	w.untilClean()
	assert.NotContains(t, p.log.String(), "forbidden", "the manifests grant all that is needed")
}
