package apiserver

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/plan"
)

// webhook answers admission reviews for one namespace.
type webhook struct {
	at    string
	roots []byte
	where *metav1.LabelSelector
	asked *atomic.Bool
}

// webhook starts an admission webhook server with these answers.
func (env *testEnv) webhook(answer func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) webhook {
	env.Helper()
	var asked atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(rw, "no review", http.StatusBadRequest)
			return
		}
		asked.Store(true)
		review.Response = answer(review.Request)
		review.Response.UID = review.Request.UID
		_ = json.NewEncoder(rw).Encode(review) // a client that has disconnected needs no answer
	}))
	env.Cleanup(server.Close)
	return webhook{
		at:    server.URL,
		roots: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		where: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: env.namespace}},
		asked: &asked,
	}
}

// waitUntilAsked makes a request, in a dry run, until the API server asks the webhook, which it
// learns of by a watch.
func (env *testEnv) waitUntilAsked(h webhook, request func() error) {
	env.Helper()
	env.eventually("the API server does not ask the webhook", func() bool {
		_ = request() // the webhook may refuse it
		return h.asked.Load()
	})
}

func (h webhook) config() admissionregistrationv1.WebhookClientConfig {
	return admissionregistrationv1.WebhookClientConfig{URL: &h.at, CABundle: h.roots}
}

func ruleFor(group, version, resource string, operations ...admissionregistrationv1.OperationType) []admissionregistrationv1.RuleWithOperations {
	return []admissionregistrationv1.RuleWithOperations{{Operations: operations,
		Rule: admissionregistrationv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}}}}
}

// registerValidating registers the webhook for the creation of Pods, until the test ends.
func (env *testEnv) registerValidating(h webhook) {
	env.Helper()
	none := admissionregistrationv1.SideEffectClassNone
	client := env.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := client.Create(env.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: env.namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{Name: "policy.example.org", ClientConfig: h.config(), NamespaceSelector: h.where,
			Rules: ruleFor("", "v1", "pods", admissionregistrationv1.Create), SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}},
	}, metav1.CreateOptions{})
	require.NoError(env, err)
	env.Cleanup(func() { _ = client.Delete(env.Context(), env.namespace, metav1.DeleteOptions{}) })
	env.waitUntilAsked(h, func() error {
		_, err := env.dynamic.Resource(pods).Namespace(env.namespace).Create(env.Context(), env.parse(appPodManifest), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
}

// registerMutating registers the webhook for updates of Ingresses, of which there must be one
// called my-app. The returned function removes it.
func (env *testEnv) registerMutating(h webhook) (remove func()) {
	env.Helper()
	none := admissionregistrationv1.SideEffectClassNone
	client := env.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := client.Create(env.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: env.namespace},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{Name: "policy.example.org", ClientConfig: h.config(), NamespaceSelector: h.where,
			Rules: ruleFor("networking.k8s.io", "v1", "ingresses", admissionregistrationv1.Update), SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}},
	}, metav1.CreateOptions{})
	require.NoError(env, err)
	env.waitUntilAsked(h, func() error {
		_, err := env.dynamic.Resource(ingresses).Namespace(env.namespace).Update(env.Context(), env.get(ingresses, "my-app"), metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
	return sync.OnceFunc(func() { require.NoError(env, client.Delete(env.Context(), env.namespace, metav1.DeleteOptions{})) })
}

// updateCounter counts the updates that a controller sends, by resource.
type updateCounter struct {
	mu   sync.Mutex
	sent map[string]int
}

func (u *updateCounter) wrap(_ *controllerConfig, config *restConfig) {
	u.sent = map[string]int{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if call := faultproxy.CallOf(req); call.Verb == "update" {
				u.mu.Lock()
				u.sent[call.Resource]++
				u.mu.Unlock()
			}
			return next.RoundTrip(req)
		})
	})
}

func (u *updateCounter) count(resource string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sent[resource]
}

// countDuring counts the updates in the next while.
func (u *updateCounter) countDuring(d time.Duration, resource string) int {
	before := u.count(resource)
	<-after(d)
	return u.count(resource) - before
}

func allowed() *admissionv1.AdmissionResponse { return &admissionv1.AdmissionResponse{Allowed: true} }

// patchedResponse allows the request and applies a JSON patch.
func patchedResponse(patch string) *admissionv1.AdmissionResponse {
	kind := admissionv1.PatchTypeJSONPatch
	return &admissionv1.AdmissionResponse{Allowed: true, Patch: []byte(patch), PatchType: &kind}
}

// TestMultiLineRefusalIsWrittenOnce: a policy refuses the page Pods with a message of
// several lines. It is written to the target once.
func TestMultiLineRefusalIsWrittenOnce(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.registerValidating(env.webhook(func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		return &admissionv1.AdmissionResponse{Result: &metav1.Status{Code: http.StatusForbidden, Message: "no Pods of this image:\n\task the platform team"}}
	}))
	env.apply(ingress("my-app"))
	sent := &updateCounter{}
	env.startController(sent.wrap)
	env.enable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], `no Pods of this image:\n\task the platform team`)
	assert.LessOrEqual(t, sent.countDuring(3*time.Second, "ingresses"), 1)
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
}

// TestWebhookThatRevertsTheBackend in the controller's own request: it is reported, and the
// controller backs off as with any other writer.
func TestWebhookThatRevertsTheBackend(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(withClass("my-app", "nginx"), withClass("other", "nginx"))
	remove := env.registerMutating(env.webhook(func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		if r.Name != "my-app" || r.SubResource != "" {
			return allowed()
		}
		return patchedResponse(`[{"op": "replace", "path": "/spec/defaultBackend/service", "value": {"name": "app", "port": {"number": 80}}}]`)
	}))
	sent := &updateCounter{}
	env.startController(sent.wrap)
	env.enable(ingresses, "other")
	env.waitFor(ingresses, "other", "active", state(annotations.Active))
	env.enable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "contested", state(annotations.Contested))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "an admission webhook keeps writing the backends back")
	message := env.waitForMessage("my-app", string(plan.BackendReverted), "admission webhook")
	assert.NotContains(t, message, ownership.Manager+`"`)
	assert.LessOrEqual(t, sent.countDuring(3*time.Second, "ingresses"), 3, "after 1 s, 2 s, 4 s")
	assert.Less(t, sent.count("ingresses"), 20)
	remove()
	env.waitFor(ingresses, "my-app", "on the page", func(u *unstructured.Unstructured) bool { return len(pageSetsOf(u)) == 1 })
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
}

// TestWebhookThatUndoesUpdates: an update that changes nothing is retried with backoff.
func TestWebhookThatUndoesUpdates(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(withClass("my-app", "nginx"))
	remove := env.registerMutating(env.webhook(func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		if r.UserInfo.Username == "" || !strings.Contains(string(r.Object.Raw), annotations.State) {
			return allowed()
		}
		var sent, there unstructured.Unstructured
		if sent.UnmarshalJSON(r.Object.Raw) != nil || there.UnmarshalJSON(r.OldObject.Raw) != nil || there.GetAnnotations()[annotations.State] != "" {
			return allowed()
		}
		patch, err := json.Marshal([]map[string]any{
			{"op": "replace", "path": "/metadata", "value": there.Object["metadata"]}, {"op": "replace", "path": "/spec", "value": there.Object["spec"]},
		})
		if err != nil {
			return allowed()
		}
		return patchedResponse(string(patch))
	}))
	sent := &updateCounter{}
	env.startController(sent.wrap)
	env.enable(ingresses, "my-app")
	env.waitForMessage("my-app", string(plan.PageNotReady), "stored nothing of it")
	// Four swaps at once. Then the status is retried after 50 ms, doubled each time: five
	// times in the second until the next swap, and six times in the two seconds after that.
	counting := time.Now()
	updates := sent.countDuring(3*time.Second, "ingresses")
	late := int(time.Since(counting).Seconds()) - 3
	assert.LessOrEqual(t, updates, 4+5+1+6+7*late)
	assert.Empty(t, env.get(ingresses, "my-app").GetAnnotations()[annotations.State])
	remove()
	env.waitFor(ingresses, "my-app", "on the page", func(u *unstructured.Unstructured) bool { return len(pageSetsOf(u)) == 1 })
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
}

// TestWebhookThatRemovesTheState and stamps the object: each update gets a new version
// although it achieves nothing. The status is not sent again at once.
func TestWebhookThatRemovesTheState(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(withClass("my-app", "nginx"))
	var stamps atomic.Int64
	remove := env.registerMutating(env.webhook(func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		var sent unstructured.Unstructured
		if r.SubResource != "" || sent.UnmarshalJSON(r.Object.Raw) != nil || sent.GetAnnotations()[annotations.State] == "" {
			return allowed()
		}
		all := sent.GetAnnotations()
		delete(all, annotations.State)
		all["stamp"] = strconv.FormatInt(stamps.Add(1), 10)
		patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/metadata/annotations", "value": all}})
		if err != nil {
			return allowed()
		}
		return patchedResponse(string(patch))
	}))
	sent := &updateCounter{}
	env.startController(sent.wrap)
	env.enable(ingresses, "my-app")
	env.waitForMessage("my-app", string(plan.InvalidAnnotation), "an admission webhook changes them")
	env.waitFor(ingresses, "my-app", "on the page", func(u *unstructured.Unstructured) bool { return len(pageSetsOf(u)) == 1 })
	// At most the swap, switching, and active after the settle time.
	assert.LessOrEqual(t, sent.countDuring(3*time.Second, "ingresses"), 3)
	remove()
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
}
