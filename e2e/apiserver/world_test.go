package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/e2e/soundness"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

var (
	ingresses     = target.Ingress().Resource
	ingressRoutes = target.IngressRoute().Resource
	configMaps    = corev1.SchemeGroupVersion.WithResource("configmaps")
	services      = corev1.SchemeGroupVersion.WithResource("services")
	pods          = corev1.SchemeGroupVersion.WithResource("pods")
	budgets       = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
)

// patience bounds every wait.
const patience = 90 * time.Second

// world is a namespace for targets and one for the controller, with clients.
type world struct {
	*testing.T
	namespace, own string
	config         *rest.Config
	client         kubernetes.Interface
	dynamic        dynamic.Interface
	sound          *soundness.Watcher
	hasTargets     bool         // some were applied
	restarts       *atomic.Bool // the test takes the API server away
}

// newWorld makes the namespaces and watches every revision of every target in
// them: whatever a test does, none may ever be without its originals.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, plane.Config(), target.Kinds()...)
}

// newWorldOn makes a world on a control plane of the test's own, which serves these
// kinds. For one that it is to serve later, the test says so with sound.Follow.
func newWorldOn(t *testing.T, config *restConfig, kinds ...target.Kind) *world {
	t.Helper()
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{} // that a test's object is in an old form
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	dyn, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	w := &world{T: t, config: config, client: client, dynamic: dyn, restarts: &atomic.Bool{}}
	// The strictest namespace there is: page Pods have to pass it in every test.
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	made, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	require.NoError(t, err)
	w.namespace, w.own = made.Name, made.Name+"-own"
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.own}}, metav1.CreateOptions{})
	require.NoError(t, err)
	w.until(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, "default", "service account", exists)
	w.watchSoundness(kinds)
	return w
}

// apply creates objects from YAML, as their author would.
func (w *world) apply(manifests ...string) {
	w.Helper()
	for _, m := range manifests {
		u := w.parse(m)
		_, isTarget := target.KindByName(u.GetKind())
		w.hasTargets = w.hasTargets || isTarget && u.GetNamespace() == w.namespace
		_, err := w.dynamic.Resource(resourceOf(u)).Namespace(u.GetNamespace()).Create(w.Context(), u, metav1.CreateOptions{FieldManager: "author"})
		require.NoError(w, err)
	}
}

func (w *world) parse(manifest string) *unstructured.Unstructured {
	raw, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		panic(err) // a manifest of the test's own
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		panic(err)
	}
	if u.GetNamespace() == "" {
		u.SetNamespace(w.namespace)
	}
	return u
}

func resourceOf(u *unstructured.Unstructured) schema.GroupVersionResource {
	if k, ok := target.KindByName(u.GetKind()); ok {
		return k.Resource
	}
	if u.GetKind() == "Gateway" { // the guess would be gatewaies
		return target.Gateways()
	}
	plural, _ := meta.UnsafeGuessKindToResource(u.GroupVersionKind())
	return plural
}

// annotate does what kubectl annotate does; nil removes a key.
func (w *world) annotate(gvr schema.GroupVersionResource, name string, pairs map[string]any) {
	w.Helper()
	require.NoError(w, w.patched(gvr, name, pairs))
}

func (w *world) patched(gvr schema.GroupVersionResource, name string, annotations map[string]any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return err
	}
	_, err = w.dynamic.Resource(gvr).Namespace(w.namespace).Patch(w.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-annotate"})
	return err
}

func (w *world) on(gvr schema.GroupVersionResource, name string) {
	w.Helper()
	w.annotate(gvr, name, map[string]any{annotations.DefaultEnabled: "true"})
}

func (w *world) off(gvr schema.GroupVersionResource, name string) {
	w.Helper()
	w.annotate(gvr, name, map[string]any{annotations.DefaultEnabled: nil, annotations.DefaultCustomPage: nil})
}

// edit updates an object as a person with an editor does, again after a conflict.
func (w *world) edit(gvr schema.GroupVersionResource, name string, change func(*unstructured.Unstructured)) {
	w.Helper()
	for {
		u := w.get(gvr, name)
		change(u)
		_, err := w.dynamic.Resource(gvr).Namespace(w.namespace).Update(w.Context(), u, metav1.UpdateOptions{FieldManager: "editor"})
		if err == nil {
			return
		}
		require.True(w, isConflict(err), "%v", err)
	}
}

func (w *world) get(gvr schema.GroupVersionResource, name string) *unstructured.Unstructured {
	w.Helper()
	u, err := w.dynamic.Resource(gvr).Namespace(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
	require.NoError(w, err)
	return u
}

func (w *world) list(gvr schema.GroupVersionResource, selector string) []unstructured.Unstructured {
	w.Helper()
	l, err := w.dynamic.Resource(gvr).Namespace(w.namespace).List(w.Context(), metav1.ListOptions{LabelSelector: selector})
	require.NoError(w, err)
	return l.Items
}

// condition looks at an object; nil means that it is not there.
type condition func(*unstructured.Unstructured) bool

func exists(u *unstructured.Unstructured) bool { return u != nil }
func absent(u *unstructured.Unstructured) bool { return u == nil }

func state(want string) condition {
	return func(u *unstructured.Unstructured) bool {
		return u != nil && u.GetAnnotations()[annotations.State] == want
	}
}

// restored: as if the controller had never been there.
func restored(u *unstructured.Unstructured) bool {
	if u == nil || annotations.HasWritten(u.GetAnnotations()) {
		return false
	}
	k, _ := target.KindByName(u.GetKind())
	slots, err := k.Slots(u.Object)
	return err == nil && !swap.OnPage(slots)
}

// until watches an object until the condition holds.
func (w *world) until(gvr schema.GroupVersionResource, name, what string, ok condition) *unstructured.Unstructured {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	last, reached := w.reaches(ctx, gvr, name, ok)
	if !reached {
		shown := "absent"
		if last != nil {
			last.SetManagedFields(nil)
			raw, _ := yaml.Marshal(last.Object)
			shown = string(raw)
		}
		w.Fatalf("%s %s: %s did not come; it is\n%s", gvr.Resource, name, what, shown)
	}
	return last
}

// reaches watches an object until the condition holds or ctx ends.
func (w *world) reaches(ctx context.Context, gvr schema.GroupVersionResource, name string, ok condition) (last *unstructured.Unstructured, reached bool) {
	resource := w.dynamic.Resource(gvr).Namespace(w.namespace)
	for ctx.Err() == nil {
		list, err := resource.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		if err != nil {
			continue // ctx has ended, or the API server is away
		}
		last = nil
		if len(list.Items) > 0 {
			last = &list.Items[0]
		}
		if ok(last) {
			return last, true
		}
		watch, err := resource.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: list.GetResourceVersion()})
		if err != nil {
			continue
		}
		for e := range watch.ResultChan() {
			u, is := e.Object.(*unstructured.Unstructured)
			if !is {
				break
			}
			if last = u; e.Type == "DELETED" {
				last = nil
			}
			if ok(last) {
				watch.Stop()
				return last, true
			}
		}
		watch.Stop()
	}
	return last, false
}

// untilEvent watches for an Event on an object.
func (w *world) untilEvent(name, reason string) *unstructured.Unstructured {
	w.Helper()
	return w.untilEventWith(name, reason, "")
}

// untilTold watches for an Event whose message has these words, and gives it.
func (w *world) untilTold(name, reason, words string) string {
	w.Helper()
	return message(w.untilEventWith(name, reason, words))
}

func (w *world) untilEventWith(name, reason, words string) *unstructured.Unstructured {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	resource := w.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("events")).Namespace(w.namespace)
	selector := fmt.Sprintf("involvedObject.name=%s,reason=%s", name, reason)
	list, err := resource.List(ctx, metav1.ListOptions{FieldSelector: selector})
	require.NoError(w, err)
	for i := range list.Items {
		if strings.Contains(message(&list.Items[i]), words) {
			return &list.Items[i]
		}
	}
	watch, err := resource.Watch(ctx, metav1.ListOptions{FieldSelector: selector, ResourceVersion: list.GetResourceVersion()})
	require.NoError(w, err)
	defer watch.Stop()
	for e := range watch.ResultChan() {
		if u, ok := e.Object.(*unstructured.Unstructured); ok && strings.Contains(message(u), words) {
			return u
		}
	}
	w.Fatalf("no event %s on %s with %q", reason, name, words)
	return nil
}

func message(event *unstructured.Unstructured) string {
	s, _, _ := unstructured.NestedString(event.Object, "message")
	return s
}

// untilClean waits until nothing of ours is left in the namespace.
func (w *world) untilClean() {
	w.Helper()
	for _, gvr := range []schema.GroupVersionResource{configMaps, services, pods, budgets, networkPolicies} {
		for _, u := range w.list(gvr, annotations.ManagedByLabel+"="+annotations.ManagedBy) {
			w.until(gvr, u.GetName(), "its end", absent)
		}
	}
}

// spec is the canonical JSON of the object's spec.
func spec(t require.TestingT, u *unstructured.Unstructured) string {
	raw, err := json.Marshal(u.Object["spec"])
	require.NoError(t, err)
	return string(raw)
}

// setsOf lists the page sets that the slots of a target point at, and at nothing beside.
func setsOf(u *unstructured.Unstructured) []string {
	k, ok := target.KindByName(u.GetKind())
	if !ok {
		return nil
	}
	slots, err := k.Slots(u.Object)
	if err != nil {
		return []string{err.Error()}
	}
	var sets []string
	for _, s := range slots {
		if s.PageSet != "" && s.Merge == nil {
			sets = append(sets, s.PageSet)
		}
	}
	return sets
}

// allOn: every slot points at the set that the annotation names.
func allOn(t require.TestingT, u *unstructured.Unstructured) string {
	k, _ := target.KindByName(u.GetKind())
	slots, err := k.Slots(u.Object)
	require.NoError(t, err)
	for _, s := range slots {
		if !s.AnyPage {
			require.Equal(t, u.GetAnnotations()[annotations.PageSet], s.PageSet, "%s", s.ID)
		}
	}
	return u.GetAnnotations()[annotations.PageSet]
}
