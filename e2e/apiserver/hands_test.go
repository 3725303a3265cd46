package apiserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// Others write the targets while they are in maintenance, with the programs that
// people use: kubectl and Helm are the real ones.

// hand is somebody who writes objects.
type hand struct {
	// manager is the field manager that the hand writes as.
	manager string
	// write brings about what the object says: it makes the object, or changes it.
	write func(w *world, want *unstructured.Unstructured)
	// whole says that what the object does not say goes, annotations included.
	whole bool
	// adds says that nobody but the hand knows what it had written before.
	adds bool
	// again is how the hand finds its own work unchanged afterwards; nil if write is.
	again func(w *world, want *unstructured.Unstructured)
}

func hands() map[string]hand {
	return map[string]hand{
		"kubectl apply":               {manager: "kubectl-client-side-apply", write: apply()},
		"kubectl apply --server-side": {manager: "kubectl", write: apply("--server-side", "--force-conflicts"), again: apply("--server-side")},
		"kubectl edit":                {manager: "kubectl-edit", write: orMake("kubectl-edit", edit)},
		"kubectl replace":             {manager: "kubectl-replace", write: orMake("kubectl-replace", replace), whole: true},
		"kubectl patch --type=merge":  {manager: "kubectl-patch", write: orMake("kubectl-patch", patchMerge)},
		"kubectl patch --type=json":   {manager: "kubectl-patch", write: orMake("kubectl-patch", patchJSON)},
		"helm upgrade":                {manager: "helm", write: helm, adds: true},
		// Argo CD runs kubectl's own apply: client-side, or server-side if it is told to.
		"like Argo CD": {manager: "argocd-controller", write: apply("--field-manager=argocd-controller")},
		"like Argo CD, server-side": {manager: "argocd-controller", write: apply("--server-side", "--force-conflicts", "--field-manager=argocd-controller"),
			again: apply("--server-side", "--field-manager=argocd-controller")},
		"like Flux": {manager: "kustomize-controller", write: apply("--server-side", "--force-conflicts", "--field-manager=kustomize-controller"),
			again: apply("--server-side", "--field-manager=kustomize-controller")},
		"like Terraform": {manager: "HashiCorp", write: terraform, whole: true},
	}
}

// kubectl runs the real one in the world's namespace, with an object to read.
func (w *world) kubectl(object *unstructured.Unstructured, args ...string) string {
	w.Helper()
	return w.tool(binaries.Kubectl(), object, append([]string{"--namespace=" + w.namespace}, args...)...)
}

// tool runs a program against the API server. It must succeed.
func (w *world) tool(p binaries.Program, object *unstructured.Unstructured, args ...string) string {
	w.Helper()
	out, err := w.tries(p, object, args...)
	require.NoError(w, err, "%s %s: %s", p.Name, strings.Join(args, " "), out)
	return out
}

// tries runs a program that may fail.
func (w *world) tries(p binaries.Program, object *unstructured.Unstructured, args ...string) (string, error) {
	w.Helper()
	cache, err := binaries.NewCache(os.Stderr)
	require.NoError(w, err)
	require.NoError(w, cache.Build(w.Context(), p))
	path, err := cache.Path(p)
	require.NoError(w, err)
	cmd := exec.CommandContext(w.Context(), path, args...)
	home := w.TempDir()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig(), "KUBECACHEDIR="+home, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	if object != nil {
		raw, err := yaml.Marshal(object.Object)
		require.NoError(w, err)
		cmd.Stdin = strings.NewReader(string(raw))
		// An editor has the terminal for itself.
		file := filepath.Join(home, "want.yaml")
		require.NoError(w, os.WriteFile(file, raw, 0o600))
		cmd.Env = append(cmd.Env, editorWants+"="+file, "KUBE_EDITOR="+os.Args[0])
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func apply(flags ...string) func(*world, *unstructured.Unstructured) {
	return func(w *world, want *unstructured.Unstructured) {
		w.Helper()
		w.kubectl(want, append([]string{"apply", "--filename=-"}, flags...)...)
	}
}

// orMake has kubectl create the object if it is not there, and change it if it is.
func orMake(manager string, change func(*world, *unstructured.Unstructured)) func(*world, *unstructured.Unstructured) {
	return func(w *world, want *unstructured.Unstructured) {
		w.Helper()
		if len(w.namedIn(want)) > 0 {
			change(w, want)
			return
		}
		w.kubectl(want, "create", "--filename=-", "--field-manager="+manager)
	}
}

func (w *world) namedIn(want *unstructured.Unstructured) []unstructured.Unstructured {
	w.Helper()
	list, err := w.dynamic.Resource(resourceOf(want)).Namespace(w.namespace).List(w.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + want.GetName()})
	require.NoError(w, err)
	return list.Items
}

func edit(w *world, want *unstructured.Unstructured) {
	w.Helper()
	w.kubectl(want, "edit", want.GetKind(), want.GetName())
}

// editorWants names a file to an editor: this very program, see TestMain.
const editorWants = "MAINTENANCE_E2E_EDITOR_WANTS"

// actAsEditor does what a person does in an editor: the labels and the spec are
// changed to those of another file, and all the rest of the text stays.
func actAsEditor(file, wants string) error {
	is, want := map[string]any{}, map[string]any{}
	for from, into := range map[string]*map[string]any{file: &is, wants: &want} {
		raw, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := yaml.Unmarshal(raw, into); err != nil {
			return err
		}
	}
	spec, _ := is["spec"].(map[string]any)
	for field, value := range want["spec"].(map[string]any) {
		spec[field] = value
	}
	is["metadata"].(map[string]any)["labels"] = want["metadata"].(map[string]any)["labels"]
	raw, err := yaml.Marshal(is)
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}

// replace is tried again if somebody wrote the object while kubectl did.
func replace(w *world, want *unstructured.Unstructured) {
	w.Helper()
	for {
		out, err := w.tries(binaries.Kubectl(), want, "replace", "--namespace="+w.namespace, "--filename=-")
		if err == nil {
			return
		}
		require.Contains(w, out, "(Conflict)")
	}
}

func patchMerge(w *world, want *unstructured.Unstructured) {
	w.Helper()
	w.kubectl(nil, "patch", want.GetKind(), want.GetName(), "--type=merge", "--patch="+fmt.Sprintf(`{"metadata":{"labels":%s},"spec":%s}`, text(want.GetLabels()), text(want.Object["spec"])))
}

func patchJSON(w *world, want *unstructured.Unstructured) {
	w.Helper()
	patch := fmt.Sprintf(`{"op":"add","path":"/metadata/labels","value":%s}`, text(want.GetLabels()))
	for field, value := range want.Object["spec"].(map[string]any) {
		patch += fmt.Sprintf(`,{"op":"add","path":"/spec/%s","value":%s}`, field, text(value))
	}
	w.kubectl(nil, "patch", want.GetKind(), want.GetName(), "--type=json", "--patch=["+patch+"]")
}

func text(value any) string {
	raw, err := yaml.Marshal(value)
	if err == nil {
		raw, err = yaml.YAMLToJSON(raw)
	}
	if err != nil {
		panic(err) // a manifest of the test's own
	}
	return string(raw)
}

// helm releases a chart that holds the object and nothing else.
func helm(w *world, want *unstructured.Unstructured) {
	w.Helper()
	w.tool(binaries.Helm(), nil, "upgrade", "--install", "--namespace="+w.namespace, want.GetName(), w.chartOf(want))
}

func (w *world) chartOf(want *unstructured.Unstructured) (chart string) {
	w.Helper()
	chart = w.TempDir()
	require.NoError(w, os.Mkdir(filepath.Join(chart, "templates"), 0o700))
	for file, content := range map[string]any{"Chart.yaml": map[string]any{"apiVersion": "v2", "name": "app", "version": "1.0.0"}, "templates/object.yaml": want.Object} {
		raw, err := yaml.Marshal(content)
		require.NoError(w, err)
		require.NoError(w, os.WriteFile(filepath.Join(chart, file), raw, 0o600))
	}
	return chart
}

// terraform writes as the kubernetes provider's kubernetes_ingress_v1 does: the
// whole object without a resourceVersion, by a client that names no field manager.
func terraform(w *world, want *unstructured.Unstructured) {
	w.Helper()
	config := rest.CopyConfig(w.config)
	config.UserAgent = "HashiCorp/1.0 Terraform/1.11.4"
	client, err := dynamic.NewForConfig(config)
	require.NoError(w, err)
	resource := client.Resource(resourceOf(want)).Namespace(w.namespace)
	there := w.namedIn(want)
	if len(there) == 0 {
		_, err = resource.Create(w.Context(), want, metav1.CreateOptions{})
		require.NoError(w, err)
		return
	}
	u := want.DeepCopy()
	if k, _ := target.KindByName(u.GetKind()); k.Custom {
		u.SetResourceVersion(there[0].GetResourceVersion()) // custom resources want one
	}
	if _, err = resource.Update(w.Context(), u, metav1.UpdateOptions{}); isConflict(err) {
		terraform(w, want)
		return
	}
	require.NoError(w, err)
}

// releases are two versions of what is written down of an object somewhere: the
// second has another label, a renamed host or label value, another backend, and a
// label less in its selector.
func (w *world) releases(kind, name string) (first, second *unstructured.Unstructured) {
	first = w.parse(strings.ReplaceAll(manifests[kind](name), "tier: web}", "tier: web, old: label}"))
	first.SetLabels(map[string]string{"app": "shop", "release": "one"})
	second = w.parse(strings.NewReplacer("name: api,", "name: api-v2,", "b.example", "c.example", "name: canary", "name: canary-v2",
		"tier: web", "tier: v2", "targetPort: 8080", "targetPort: 9090").Replace(manifests[kind](name)))
	second.SetLabels(map[string]string{"app": "shop", "release": "two"})
	return first, second
}

// TestOtherHands: a new release goes out in the middle of maintenance, by every
// hand, of every kind. All that it says holds; the page is shown on; and in the
// end all is as it is with a twin that never was in maintenance: spec, labels,
// annotations, and who owns which field.
func TestOtherHands(t *testing.T) {
	t.Parallel()
	for name, h := range hands() {
		for _, k := range target.Kinds() {
			t.Run(name+" "+k.Name, func(t *testing.T) {
				t.Parallel()
				h.meets(newWorld(t), k)
			})
		}
	}
}

func (h hand) meets(w *world, k target.Kind) {
	w.start()
	// The switch of an object and of its twin, which only seems to be one.
	switches := map[string]string{"my-app": "true", "twin": "false"}
	release := func(n int, inMaintenance bool) map[string]*unstructured.Unstructured {
		all := map[string]*unstructured.Unstructured{}
		for name, on := range switches {
			one, two := w.releases(k.Name, name)
			if all[name] = one; n == 2 {
				all[name] = two
			}
			if h.adds && k.Name == "Service" { // it is not known what it takes away
				require.NoError(w, unstructured.SetNestedField(two.Object, "label", "spec", "selector", "old"))
			}
			if h.whole && inMaintenance { // then Git is the place for the switch
				all[name].SetAnnotations(map[string]string{annotations.DefaultEnabled: on})
			}
			h.write(w, all[name])
		}
		return all
	}
	release(1, false)
	for name, on := range switches {
		w.unknown(k, name)
		w.annotate(k.Resource, name, map[string]any{annotations.DefaultEnabled: on})
	}
	w.until(k.Resource, "my-app", "active", state(annotations.Active))

	// The same again, as a pipeline does that runs each night.
	release(1, true)
	w.until(k.Resource, "my-app", "the first release on the page", and(allOnPage, state(annotations.Active)))
	wanted := release(2, true)["my-app"]
	w.until(k.Resource, "my-app", "the second release on the page", func(u *unstructured.Unstructured) bool {
		return u.GetLabels()["release"] == "two" && allOnPage(u) && annotations.HasWritten(u.GetAnnotations())
	})
	told := message(w.untilEvent("my-app", "BackendReverted"))
	assert.Contains(w, told, fmt.Sprintf("field manager %q", h.manager))
	assert.Contains(w, told, "README.md#"+plan.ToolOf(h.manager).Section)

	for name := range switches {
		w.off(k.Resource, name)
	}
	after, twin := w.until(k.Resource, "my-app", "restored", restored), w.get(k.Resource, "twin")
	assert.Equal(w, w.shape(twin), w.shape(after))
	assert.NotContains(w, w.owners(after), ownership.Manager)

	// The hand finds nothing to do, and no conflict with anybody.
	if wanted.SetAnnotations(nil); h.again == nil {
		h.again = h.write
	}
	h.again(w, wanted)
	assert.Equal(w, after.GetResourceVersion(), w.get(k.Resource, "my-app").GetResourceVersion())
}

// allOnPage: every slot is on a page, and nothing beside it.
func allOnPage(u *unstructured.Unstructured) bool {
	k, _ := target.KindByName(u.GetKind())
	slots, err := k.Slots(u.Object)
	return err == nil && len(slots) > 0 && !slices.ContainsFunc(slots, func(s swap.Slot) bool { return !s.OnPage() || s.Merge != nil })
}

// unknown has a script write what no manifest knows of: a label of the object, another
// of a selector, a host, a port, a field.
func (w *world) unknown(k target.Kind, name string) {
	w.Helper()
	patches := map[string]string{
		"Ingress": `[{"op":"add","path":"/spec/rules/-","value":{"host":"unknown.example","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"unknown","port":{"number":81}}}}]}}},
			{"op":"add","path":"/spec/tls/-","value":{"hosts":["unknown.example"]}},`,
		"IngressRoute": `[{"op":"add","path":"/spec/routes/-","value":{"kind":"Rule","match":"Host(` + "`unknown.example`" + `)","services":[{"name":"unknown","port":81}]}},
			{"op":"add","path":"/spec/tls","value":{"secretName":"unknown"}},`,
		"HTTPRoute": `[{"op":"add","path":"/spec/rules/-","value":{"name":"unknown","matches":[{"path":{"type":"Exact","value":"/unknown"}}],"backendRefs":[{"name":"unknown","port":81}]}},
			{"op":"add","path":"/spec/hostnames/-","value":"unknown.example"},`,
		"GRPCRoute": `[{"op":"add","path":"/spec/rules/-","value":{"name":"unknown","matches":[{"method":{"service":"unknown"}}],"backendRefs":[{"name":"unknown","port":81}]}},
			{"op":"add","path":"/spec/hostnames/-","value":"unknown.example"},`,
		"Service": `[{"op":"add","path":"/spec/selector/color","value":"blue"},{"op":"add","path":"/spec/sessionAffinity","value":"ClientIP"},
			{"op":"add","path":"/spec/ports/-","value":{"name":"unknown","port":81,"targetPort":8181}},`,
	}
	w.patch(k.Resource, name, types.JSONPatchType, patches[k.Name]+`{"op":"add","path":"/metadata/labels/unknown","value":"yes"}]`)
}

// shape is all of an object that a person wrote, and who did, for comparison
// with a twin of another name.
func (w *world) shape(u *unstructured.Unstructured) string {
	u = u.DeepCopy()
	for _, assigned := range []string{"clusterIP", "clusterIPs"} {
		unstructured.RemoveNestedField(u.Object, "spec", assigned)
	}
	parts := text(u.GetLabels()) + text(u.GetAnnotations()) + text(u.Object["spec"]) + w.owners(u)
	return strings.ReplaceAll(parts, u.GetName(), "my-app")
}
