package apiserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	"maintenance-controller.io/pkg/target"
)

// Other tools write targets during maintenance. kubectl and Helm are the real programs.

// tool writes objects.
type tool struct {
	// manager is the tool's field manager.
	manager string
	// write creates or changes an object to what the manifest says.
	write func(env *testEnv, want *unstructured.Unstructured)
	// replacesAll: fields that are not in the manifest are removed, annotations included.
	replacesAll bool
	// hidesBase: only the tool knows what it wrote before.
	hidesBase bool
	// unforced is how the tool checks its own result afterwards; nil = write.
	unforced func(env *testEnv, want *unstructured.Unstructured)
}

func tools() map[string]tool {
	return map[string]tool{
		"kubectl apply":               {manager: "kubectl-client-side-apply", write: apply()},
		"kubectl apply --server-side": {manager: "kubectl", write: apply("--server-side", "--force-conflicts"), unforced: apply("--server-side")},
		"kubectl edit":                {manager: "kubectl-edit", write: createOr("kubectl-edit", edit)},
		"kubectl replace":             {manager: "kubectl-replace", write: createOr("kubectl-replace", replace), replacesAll: true},
		"kubectl patch --type=merge":  {manager: "kubectl-patch", write: createOr("kubectl-patch", patchMerge)},
		"kubectl patch --type=json":   {manager: "kubectl-patch", write: createOr("kubectl-patch", patchJSON)},
		"helm upgrade":                {manager: "helm", write: helm, hidesBase: true},
		// Argo CD runs kubectl apply, client-side by default.
		"like Argo CD": {manager: "argocd-controller", write: apply("--field-manager=argocd-controller")},
		"like Argo CD, server-side": {manager: "argocd-controller", write: apply("--server-side", "--force-conflicts", "--field-manager=argocd-controller"),
			unforced: apply("--server-side", "--field-manager=argocd-controller")},
		"like Flux": {manager: "kustomize-controller", write: apply("--server-side", "--force-conflicts", "--field-manager=kustomize-controller"),
			unforced: apply("--server-side", "--field-manager=kustomize-controller")},
		"like Terraform": {manager: "HashiCorp", write: terraform, replacesAll: true},
	}
}

// kubectl runs the real kubectl in the namespace, with an object on stdin.
func (env *testEnv) kubectl(object *unstructured.Unstructured, args ...string) string {
	env.Helper()
	return env.mustRun(binaries.Kubectl(), object, append([]string{"--namespace=" + env.namespace}, args...)...)
}

// mustRun runs a program against the API server. It must succeed.
func (env *testEnv) mustRun(p binaries.Program, object *unstructured.Unstructured, args ...string) string {
	env.Helper()
	out, err := env.run(p, object, args...)
	require.NoError(env, err, "%s %s: %s", p.Name, strings.Join(args, " "), out)
	return out
}

// run runs a program that may fail.
func (env *testEnv) run(p binaries.Program, object *unstructured.Unstructured, args ...string) (string, error) {
	env.Helper()
	cache, err := binaries.NewCache(os.Stderr)
	require.NoError(env, err)
	require.NoError(env, cache.Build(env.Context(), p))
	path, err := cache.Path(p)
	require.NoError(env, err)
	cmd := exec.CommandContext(env.Context(), path, args...)
	home := env.TempDir()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig(), "KUBECACHEDIR="+home, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	if object != nil {
		raw, err := yaml.Marshal(object.Object)
		require.NoError(env, err)
		cmd.Stdin = strings.NewReader(string(raw))
		// An editor needs stdin for itself, so it gets a file.
		file := filepath.Join(home, "want.yaml")
		require.NoError(env, os.WriteFile(file, raw, 0o600))
		cmd.Env = append(cmd.Env, editorWants+"="+file, "KUBE_EDITOR="+os.Args[0])
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func apply(flags ...string) func(*testEnv, *unstructured.Unstructured) {
	return func(env *testEnv, want *unstructured.Unstructured) {
		env.Helper()
		env.kubectl(want, append([]string{"apply", "--filename=-"}, flags...)...)
	}
}

// createOr creates the object with kubectl, or changes it if it exists.
func createOr(manager string, change func(*testEnv, *unstructured.Unstructured)) func(*testEnv, *unstructured.Unstructured) {
	return func(env *testEnv, want *unstructured.Unstructured) {
		env.Helper()
		if len(env.existing(want)) > 0 {
			change(env, want)
			return
		}
		env.kubectl(want, "create", "--filename=-", "--field-manager="+manager)
	}
}

func (env *testEnv) existing(want *unstructured.Unstructured) []unstructured.Unstructured {
	env.Helper()
	list, err := env.dynamic.Resource(resourceOf(want)).Namespace(env.namespace).List(env.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + want.GetName()})
	require.NoError(env, err)
	return list.Items
}

func edit(env *testEnv, want *unstructured.Unstructured) {
	env.Helper()
	env.kubectl(want, "edit", want.GetKind(), want.GetName())
}

// editorWants tells this program to act as an editor, see TestMain.
const editorWants = "MAINTENANCE_E2E_EDITOR_WANTS"

// actAsEditor changes a file as a person does in an editor: it replaces labels and spec by
// those of another file and keeps all other text.
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

// replace retries after a conflict.
func replace(env *testEnv, want *unstructured.Unstructured) {
	env.Helper()
	for {
		out, err := env.run(binaries.Kubectl(), want, "replace", "--namespace="+env.namespace, "--filename=-")
		if err == nil {
			return
		}
		require.Contains(env, out, "(Conflict)")
	}
}

func patchMerge(env *testEnv, want *unstructured.Unstructured) {
	env.Helper()
	env.kubectl(nil, "patch", want.GetKind(), want.GetName(), "--type=merge", "--patch="+fmt.Sprintf(`{"metadata":{"labels":%s},"spec":%s}`, toJSON(want.GetLabels()), toJSON(want.Object["spec"])))
}

func patchJSON(env *testEnv, want *unstructured.Unstructured) {
	env.Helper()
	patch := fmt.Sprintf(`{"op":"add","path":"/metadata/labels","value":%s}`, toJSON(want.GetLabels()))
	for field, value := range want.Object["spec"].(map[string]any) {
		patch += fmt.Sprintf(`,{"op":"add","path":"/spec/%s","value":%s}`, field, toJSON(value))
	}
	env.kubectl(nil, "patch", want.GetKind(), want.GetName(), "--type=json", "--patch=["+patch+"]")
}

// helm releases a chart that has only this object.
func helm(env *testEnv, want *unstructured.Unstructured) {
	env.Helper()
	env.mustRun(binaries.Helm(), nil, "upgrade", "--install", "--namespace="+env.namespace, want.GetName(), env.chartOf(want))
}

func (env *testEnv) chartOf(want *unstructured.Unstructured) (chart string) {
	env.Helper()
	chart = env.TempDir()
	require.NoError(env, os.Mkdir(filepath.Join(chart, "templates"), 0o700))
	for file, content := range map[string]any{"Chart.yaml": map[string]any{"apiVersion": "v2", "name": "app", "version": "1.0.0"}, "templates/object.yaml": want.Object} {
		raw, err := yaml.Marshal(content)
		require.NoError(env, err)
		require.NoError(env, os.WriteFile(filepath.Join(chart, file), raw, 0o600))
	}
	return chart
}

// terraform writes like kubernetes_ingress_v1 of the kubernetes provider: the whole object
// without a resourceVersion, by a client that sets no field manager.
func terraform(env *testEnv, want *unstructured.Unstructured) {
	env.Helper()
	config := rest.CopyConfig(env.config)
	config.UserAgent = "HashiCorp/1.0 Terraform/1.11.4"
	client, err := dynamic.NewForConfig(config)
	require.NoError(env, err)
	resource := client.Resource(resourceOf(want)).Namespace(env.namespace)
	there := env.existing(want)
	if len(there) == 0 {
		_, err = resource.Create(env.Context(), want, metav1.CreateOptions{})
		require.NoError(env, err)
		return
	}
	u := want.DeepCopy()
	if k, _ := target.KindByName(u.GetKind()); k.Custom {
		u.SetResourceVersion(there[0].GetResourceVersion()) // required for custom resources
	}
	if _, err = resource.Update(env.Context(), u, metav1.UpdateOptions{}); isConflict(err) {
		terraform(env, want)
		return
	}
	require.NoError(env, err)
}

// releases returns two versions of a manifest. The second one has another label, a renamed
// host or label value, another backend, and one label less in the selector.
func (env *testEnv) releases(kind, name string) (first, second *unstructured.Unstructured) {
	first = env.parse(strings.ReplaceAll(manifests[kind](name), "tier: web}", "tier: web, old: label}"))
	first.SetLabels(map[string]string{"app": "shop", "release": "one"})
	second = env.parse(strings.NewReplacer("name: api,", "name: api-v2,", "b.example", "c.example", "name: canary", "name: canary-v2",
		"tier: web", "tier: v2", "targetPort: 8080", "targetPort: 9090").Replace(manifests[kind](name)))
	second.SetLabels(map[string]string{"app": "shop", "release": "two"})
	return first, second
}

// TestReleaseByEveryTool: every tool releases a new version of every kind during
// maintenance. All of it takes effect, the page stays, and in the end the object equals a
// twin that was never in maintenance: spec, labels, annotations, and who owns which field.
func TestReleaseByEveryTool(t *testing.T) {
	t.Parallel()
	for name, tool := range tools() {
		for _, k := range target.Kinds() {
			t.Run(name+" "+k.Name, func(t *testing.T) {
				t.Parallel()
				tool.releaseDuringMaintenance(newTestEnv(t), k)
			})
		}
	}
}

func (tool tool) releaseDuringMaintenance(env *testEnv, k target.Kind) {
	env.startController()
	// The annotation maintenance/enabled of the object and of its twin, whose value means off.
	switches := map[string]string{"my-app": "true", "twin": "false"}
	release := func(n int, inMaintenance bool) map[string]*unstructured.Unstructured {
		all := map[string]*unstructured.Unstructured{}
		for name, on := range switches {
			one, two := env.releases(k.Name, name)
			if all[name] = one; n == 2 {
				all[name] = two
			}
			if tool.hidesBase && k.Name == "Service" { // it cannot be known that the release removes a label
				require.NoError(env, unstructured.SetNestedField(two.Object, "label", "spec", "selector", "old"))
			}
			if tool.replacesAll && inMaintenance { // such a tool needs the annotation in its manifest
				all[name].SetAnnotations(map[string]string{annotations.DefaultEnabled: on})
			}
			tool.write(env, all[name])
		}
		return all
	}
	release(1, false)
	for name, on := range switches {
		env.addUnmanagedFields(k, name)
		env.annotate(k.Resource, name, map[string]any{annotations.DefaultEnabled: on})
	}
	env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))

	// The first release again, as by a nightly pipeline.
	release(1, true)
	env.waitFor(k.Resource, "my-app", "the first release on the page", and(entirelyOnPage, state(annotations.Active)))
	wanted := release(2, true)["my-app"]
	env.waitFor(k.Resource, "my-app", "the second release on the page", func(u *unstructured.Unstructured) bool {
		return u.GetLabels()["release"] == "two" && entirelyOnPage(u) && annotations.HasWritten(u.GetAnnotations())
	})
	text := message(env.waitForEvent("my-app", "BackendReverted"))
	assert.Contains(env, text, fmt.Sprintf("field manager %q", tool.manager))
	assert.Contains(env, text, plan.ToolOf(tool.manager).Section.String())

	for name := range switches {
		env.disable(k.Resource, name)
	}
	after, twin := env.waitFor(k.Resource, "my-app", "restored", restored), env.get(k.Resource, "twin")
	assert.Equal(env, env.authoredState(twin), env.authoredState(after))
	assert.NotContains(env, env.owners(after), ownership.Manager)

	// The tool finds nothing to do, and no conflict.
	if wanted.SetAnnotations(nil); tool.unforced == nil {
		tool.unforced = tool.write
	}
	tool.unforced(env, wanted)
	assert.Equal(env, after.GetResourceVersion(), env.get(k.Resource, "my-app").GetResourceVersion())
}

// addUnmanagedFields writes fields that are in no manifest: a label, a label of the
// selector, a host, a port.
func (env *testEnv) addUnmanagedFields(k target.Kind, name string) {
	env.Helper()
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
	env.patch(k.Resource, name, types.JSONPatchType, patches[k.Name]+`{"op":"add","path":"/metadata/labels/unknown","value":"yes"}]`)
}
