package apiserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/played"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

const (
	accountName      = "maintenance-controller"
	accountNamespace = "maintenance-system"
	account          = "system:serviceaccount:" + accountNamespace + ":" + accountName
)

// rendered are the manifests that grant the controller its rights.
var rendered = []string{"install.yaml", "service-targets.yaml"}

// right is what a rule grants, or what a call needs.
type right struct{ verb, group, resource, name string }

func (r right) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%s %s.%s/%s", r.verb, r.resource, r.group, r.name), "/")
}

// granted reads the rights out of the manifests, as roles give them.
func granted(t *testing.T) map[right]bool {
	t.Helper()
	all := map[right]bool{}
	for _, name := range rendered {
		text, err := os.ReadFile("../../deploy/manifests/" + name)
		require.NoError(t, err)
		for _, document := range strings.Split(string(text), "\n---\n") {
			var role rbacv1.ClusterRole // a Role has the same fields
			require.NoError(t, yaml.Unmarshal([]byte(document), &role))
			if !strings.HasSuffix(role.Kind, "Role") {
				continue
			}
			for _, rule := range role.Rules {
				require.Empty(t, rule.NonResourceURLs)
				for _, verb := range rule.Verbs {
					for _, group := range rule.APIGroups {
						for _, resource := range rule.Resources {
							for _, name := range append(rule.ResourceNames, "")[:max(1, len(rule.ResourceNames))] {
								all[right{verb, group, resource, name}] = true
							}
						}
					}
				}
			}
		}
	}
	return all
}

// audit is an API server's record of what one user asked of it.
type audit struct{ policy, log string }

func newAudit(t *testing.T, user string) audit {
	t.Helper()
	a := audit{policy: filepath.Join(t.TempDir(), "policy.yaml"), log: filepath.Join(t.TempDir(), "audit.log")}
	policy := "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- {level: Metadata, users: ['" + user + "']}\n- {level: None}\n"
	require.NoError(t, os.WriteFile(a.policy, []byte(policy), 0o600))
	return a
}

// flags of the API server. It streams no lists, as older ones do not: a client
// that can have them otherwise lists nothing.
func (a audit) flags() []string {
	return []string{"--audit-policy-file=" + a.policy, "--audit-log-path=" + a.log, "--feature-gates=WatchList=false"}
}

// call is a line of the record.
type call struct {
	Verb, RequestURI string
	ObjectRef        struct{ APIGroup, Resource, Subresource, Name, Namespace string }
	Annotations      map[string]string
}

func (c call) forbidden() bool { return c.Annotations["authorization.k8s.io/decision"] == "forbid" }

func (c call) writes() bool { return !slices.Contains([]string{"get", "list", "watch"}, c.Verb) }

func (a audit) calls(t *testing.T) []call {
	t.Helper()
	record, err := os.ReadFile(a.log)
	require.NoError(t, err)
	var calls []call
	for line := range strings.Lines(string(record)) {
		var c call
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		calls = append(calls, c)
	}
	return calls
}

// tokenKubeconfig is of a service account, with a token as a Pod has it.
func (w *world) tokenKubeconfig(namespace, name string) string {
	w.Helper()
	token, err := w.client.CoreV1().ServiceAccounts(namespace).CreateToken(w.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(w, err)
	config := clientcmdapi.Config{
		Clusters:  map[string]*clientcmdapi.Cluster{"it": {Server: w.config.Host, CertificateAuthorityData: w.config.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"it": {Token: token.Status.Token}},
		Contexts:  map[string]*clientcmdapi.Context{"it": {Cluster: "it", AuthInfo: "it"}}, CurrentContext: "it",
	}
	path := filepath.Join(w.TempDir(), "kubeconfig")
	require.NoError(w, clientcmd.WriteToFile(config, path))
	return path
}

// TestRightsAreThoseThatAreUsed runs the program as its service account through
// all that it does: no call is forbidden, and no right is there for nothing.
func TestRightsAreThoseThatAreUsed(t *testing.T) {
	t.Parallel()
	record := newAudit(t, account)
	own, err := cluster.StartControlPlane(t.Context(), cluster.Options{CRDs: true, APIServerArgs: record.flags()})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	require.NoError(t, played.Kubelet(t.Context(), own.Config()))
	installed(t, own, rendered[1:]...)
	w, taken, bystander := newWorldOn(t, own.Config(), target.Kinds()...), newWorldOn(t, own.Config(), target.Kinds()...), newWorldOn(t, own.Config(), target.Kinds()...)
	bystander.apply(ingress("my-app"), customPage("spring", "page.html", "another team's"))
	everythingItDoes(w, taken, w.tokenKubeconfig(accountNamespace, accountName))

	used, rights := map[right]bool{}, granted(t)
	for _, c := range record.calls(t) {
		assert.False(t, c.forbidden(), "%s %s", c.Verb, c.RequestURI)
		resource := strings.TrimSuffix(c.ObjectRef.Resource+"/"+c.ObjectRef.Subresource, "/")
		for _, name := range []string{c.ObjectRef.Name, ""} {
			if r := (right{c.Verb, c.ObjectRef.APIGroup, resource, name}); rights[r] {
				used[r] = true
			}
		}
		if c.writes() {
			where := c.ObjectRef.Namespace
			assert.True(t, where == w.namespace || where == taken.namespace || c.ObjectRef.Resource == "leases" || c.ObjectRef.Resource == "events" && where != bystander.namespace,
				"%s %s: nothing crosses a namespace", c.Verb, c.RequestURI)
		}
	}
	for r := range rights {
		assert.True(t, used[r], "granted for nothing: %s", r)
	}
	require.Greater(t, len(used), 30, "%v", slices.Collect(maps.Keys(used)))
}

// everythingItDoes has the controller do all that it can do in two namespaces;
// what it needs in the second one is taken by others.
func everythingItDoes(w, taken *world, kubeconfig string) {
	flags := []string{"--leader-elect=true", "--targets=Ingress,IngressRoute,HTTPRoute,GRPCRoute,Service", `--settle-time-classes={"traefik": "1s"}`}
	p := runProgram(w.T, kubeconfig, flags...)
	w.apply("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: default-deny}\nspec: {podSelector: {}, policyTypes: [Ingress]}\n")
	for _, k := range target.Kinds() {
		w.apply(manifests[k.Name]("my-app"))
	}
	each := func(do func(schemaGVR)) {
		for _, k := range target.Kinds() {
			do(k.Resource)
		}
	}
	w.apply(serviceChecker("my-checker", "{services: [{name: my-app}]}"))
	w.until(checkers, "my-checker", "a status", checkerSees("Available", "True"))
	for range 2 { // the second time an event of the first is counted up
		each(func(gvr schemaGVR) { w.on(gvr, "my-app") })
		each(func(gvr schemaGVR) { w.until(gvr, "my-app", "active", state(annotations.Active)) })
		w.mendsWhatIsSpoilt()
		each(func(gvr schemaGVR) { w.off(gvr, "my-app") })
		each(func(gvr schemaGVR) { w.until(gvr, "my-app", "restored", restored) })
	}
	// A Lease that nobody renews is asked for itself before it ends anything.
	w.apply(w.leaseNamed("run", "{maintenance/lease: ''}", 1))
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.Lease: "run"})
	w.until(ingresses, "my-app", "its end", func(u *unstructured.Unstructured) bool {
		return restored(u) && u.GetAnnotations()[annotations.Lease] == ""
	})
	w.untilClean()

	for _, object := range []string{"apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: 1}]}\n",
		"apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: %s}\nspec: {minAvailable: 1}\n"} {
		object = fmt.Sprintf(object, defaultSet())
		taken.apply(ingress("my-app"), object)
		taken.on(ingresses, "my-app")
		taken.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
		u := taken.parse(object)
		resource := resourceOf(u)
		require.NoError(w, taken.dynamic.Resource(resource).Namespace(taken.namespace).Delete(w.Context(), u.GetName(), metav1.DeleteOptions{}))
		taken.until(ingresses, "my-app", "active", state(annotations.Active))
		require.NoError(w, taken.dynamic.Resource(ingresses).Namespace(taken.namespace).Delete(w.Context(), "my-app", metav1.DeleteOptions{}))
		taken.untilClean()
	}

	// With one Pod there is no budget: that of an earlier setting goes.
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	p.Stop()
	p = runProgram(w.T, kubeconfig, append(flags, "--page-replicas=1")...)
	w.until(budgets, defaultSet(), "its end", absent)
	w.off(ingresses, "my-app")
	w.untilClean()
	p.Stop()
	assert.NotContains(w, p.log.String(), "forbidden")
}

// mendsWhatIsSpoilt has others change parts of a page set, and waits until they
// are as they were.
func (w *world) mendsWhatIsSpoilt() {
	w.Helper()
	set := defaultSet()
	policies := schemaGVR{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
	for gvr, field := range map[schemaGVR][]string{services: {"spec", "selector"}, policies: {"spec", "podSelector", "matchLabels"}} {
		before := spec(w, w.until(gvr, set, "being there", exists))
		w.edit(gvr, set, func(u *unstructured.Unstructured) {
			require.NoError(w, unstructured.SetNestedStringMap(u.Object, map[string]string{"app": "other"}, field...))
		})
		w.until(gvr, set, "as it was", func(u *unstructured.Unstructured) bool { return spec(w, u) == before })
	}
	failed := w.list(pods, annotations.PageSetLabel)[0].DeepCopy()
	require.NoError(w, unstructured.SetNestedField(failed.Object, "Failed", "status", "phase"))
	_, err := w.dynamic.Resource(pods).Namespace(w.namespace).UpdateStatus(w.Context(), failed, metav1.UpdateOptions{})
	require.NoError(w, err)
	w.until(pods, failed.GetName(), "its end", absent)
	w.untilPods(2, exists)
}
