package apiserver

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	"maintenance-controller.io/pkg/controller"
	ids "maintenance-controller.io/pkg/installation"
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

// waitTimeout bounds every wait.
const waitTimeout = 90 * time.Second

// testEnv is a namespace for targets and one for the controller, with clients.
type testEnv struct {
	*testing.T
	namespace, controllerNamespace string
	config                         *rest.Config
	client                         kubernetes.Interface
	dynamic                        dynamic.Interface
	soundness                      *soundness.Watcher
	hasTargets                     bool         // the test has created some
	apiServerRestarts              *atomic.Bool // the test stops the API server
}

// newTestEnv creates the namespaces and checks every revision of every target in them: none
// may ever be on a page without its originals.
func newTestEnv(t *testing.T) *testEnv {
	t.Helper()
	return newTestEnvOn(t, plane.Config(), target.Kinds()...)
}

// newTestEnvOn does the same on the test's own control plane, which serves these kinds. For
// a kind that is installed later, the test calls soundness.Follow.
func newTestEnvOn(t *testing.T, config *restConfig, kinds ...target.Kind) *testEnv {
	t.Helper()
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{} // about old API versions in manifests
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	dyn, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	env := &testEnv{T: t, config: config, client: client, dynamic: dyn, apiServerRestarts: &atomic.Bool{}}
	// Page Pods must be admitted by the strictest policy in every test.
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	made, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	require.NoError(t, err)
	env.namespace, env.controllerNamespace = made.Name, made.Name+"-own"
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.controllerNamespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	env.waitFor(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, "default", "service account", exists)
	env.watchSoundness(kinds)
	return env
}

// apply creates objects from YAML, as their author would.
func (env *testEnv) apply(manifests ...string) {
	env.Helper()
	for _, m := range manifests {
		u := env.parse(m)
		_, isTarget := target.KindByName(u.GetKind())
		env.hasTargets = env.hasTargets || isTarget && u.GetNamespace() == env.namespace
		_, err := env.dynamic.Resource(resourceOf(u)).Namespace(u.GetNamespace()).Create(env.Context(), u, metav1.CreateOptions{FieldManager: "author"})
		require.NoError(env, err)
	}
}

func (env *testEnv) parse(manifest string) *unstructured.Unstructured {
	raw, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		panic(err) // the test's own manifest
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		panic(err)
	}
	if u.GetNamespace() == "" {
		u.SetNamespace(env.namespace)
	}
	return u
}

func resourceOf(u *unstructured.Unstructured) schema.GroupVersionResource {
	if k, ok := target.KindByName(u.GetKind()); ok {
		return k.Resource
	}
	if u.GetKind() == "Gateway" { // guessed as gatewaies
		return target.Gateways()
	}
	plural, _ := meta.UnsafeGuessKindToResource(u.GroupVersionKind())
	return plural
}

// annotate does what kubectl annotate does; nil removes a key.
func (env *testEnv) annotate(gvr schema.GroupVersionResource, name string, pairs map[string]any) {
	env.Helper()
	require.NoError(env, env.tryAnnotate(gvr, name, pairs))
}

func (env *testEnv) tryAnnotate(gvr schema.GroupVersionResource, name string, annotations map[string]any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return err
	}
	_, err = env.dynamic.Resource(gvr).Namespace(env.namespace).Patch(env.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-annotate"})
	return err
}

func (env *testEnv) enable(gvr schema.GroupVersionResource, name string) {
	env.Helper()
	env.annotate(gvr, name, map[string]any{annotations.DefaultEnabled: "true"})
}

func (env *testEnv) disable(gvr schema.GroupVersionResource, name string) {
	env.Helper()
	env.annotate(gvr, name, map[string]any{annotations.DefaultEnabled: nil, annotations.DefaultCustomPage: nil})
}

// edit updates an object as a person with an editor does, and retries after a conflict.
func (env *testEnv) edit(gvr schema.GroupVersionResource, name string, change func(*unstructured.Unstructured)) {
	env.Helper()
	for {
		u := env.get(gvr, name)
		change(u)
		_, err := env.dynamic.Resource(gvr).Namespace(env.namespace).Update(env.Context(), u, metav1.UpdateOptions{FieldManager: "editor"})
		if err == nil {
			return
		}
		require.True(env, isConflict(err), "%v", err)
	}
}

func (env *testEnv) get(gvr schema.GroupVersionResource, name string) *unstructured.Unstructured {
	env.Helper()
	u, err := env.dynamic.Resource(gvr).Namespace(env.namespace).Get(env.Context(), name, metav1.GetOptions{})
	require.NoError(env, err)
	return u
}

func (env *testEnv) list(gvr schema.GroupVersionResource, selector string) []unstructured.Unstructured {
	env.Helper()
	l, err := env.dynamic.Resource(gvr).Namespace(env.namespace).List(env.Context(), metav1.ListOptions{LabelSelector: selector})
	require.NoError(env, err)
	return l.Items
}

type (
	schemaGVR        = schema.GroupVersionResource
	controllerConfig = controller.Config
	restConfig       = rest.Config
)

// servingImage is an image whose Pods become ready, see package fakekubelet.
const servingImage = "page"

// installationFlag makes all controllers and commands one installation. Without it, the
// controller's namespace would be part of the installation's id, and so of the names of page sets.
const installationFlag = "--installation-id=" + ids.Default

func isConflict(err error) bool { return apierrors.IsConflict(err) }

func (env *testEnv) patch(gvr schemaGVR, name string, kind types.PatchType, patch string) {
	env.Helper()
	_, err := env.dynamic.Resource(gvr).Namespace(env.namespace).Patch(env.Context(), name, kind, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-patch"})
	require.NoError(env, err)
}

func (env *testEnv) serverSideApply(gvr schemaGVR, manager, manifest string) {
	env.Helper()
	raw, err := env.parse(manifest).MarshalJSON()
	require.NoError(env, err)
	_, err = env.dynamic.Resource(gvr).Namespace(env.namespace).Patch(env.Context(), "my-app", types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: manager})
	require.NoError(env, err)
}

// owners is who owns which field, without the times.
func (env *testEnv) owners(u *unstructured.Unstructured) string {
	entries := u.GetManagedFields()
	for i := range entries {
		entries[i].Time = nil
	}
	slices.SortFunc(entries, func(a, b metav1.ManagedFieldsEntry) int {
		return cmp.Or(strings.Compare(a.Manager, b.Manager), strings.Compare(string(a.Operation), string(b.Operation)), strings.Compare(a.Subresource, b.Subresource))
	})
	raw, err := json.MarshalIndent(entries, "", " ")
	require.NoError(env, err)
	return string(raw)
}

// authoredSpec is the spec without what the API server assigns.
func (env *testEnv) authoredSpec(u *unstructured.Unstructured) string {
	u = u.DeepCopy()
	unstructured.RemoveNestedField(u.Object, "spec", "clusterIP")
	unstructured.RemoveNestedField(u.Object, "spec", "clusterIPs")
	return spec(env, u)
}

// authoredState is everything of an object that people wrote, and who wrote it, for the
// comparison with a twin of another name.
func (env *testEnv) authoredState(u *unstructured.Unstructured) string {
	u = u.DeepCopy()
	for _, assigned := range []string{"clusterIP", "clusterIPs"} {
		unstructured.RemoveNestedField(u.Object, "spec", assigned)
	}
	parts := toJSON(u.GetLabels()) + toJSON(u.GetAnnotations()) + toJSON(u.Object["spec"]) + env.owners(u)
	return strings.ReplaceAll(parts, u.GetName(), "my-app")
}

func toJSON(value any) string {
	raw, err := yaml.Marshal(value)
	if err == nil {
		raw, err = yaml.YAMLToJSON(raw)
	}
	if err != nil {
		panic(err) // the test's own manifest
	}
	return string(raw)
}

func withImage(name string) controllerOption {
	return func(c *controllerConfig, _ *restConfig) { c.Template.Image = name }
}

var httpRoutes = target.HTTPRoute().Resource

func merged(a, b map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}
