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

// webhook answers admission reviews of a world's namespace.
type webhook struct {
	at    string
	roots []byte
	where *metav1.LabelSelector
}

// webhook starts a server whose answers are those of a function.
func (w *world) webhook(answer func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) webhook {
	w.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(rw, "no review", http.StatusBadRequest)
			return
		}
		review.Response = answer(review.Request)
		review.Response.UID = review.Request.UID
		_ = json.NewEncoder(rw).Encode(review) // who hangs up has no answer
	}))
	w.Cleanup(server.Close)
	return webhook{
		at:    server.URL,
		roots: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		where: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}},
	}
}

func (h webhook) config() admissionregistrationv1.WebhookClientConfig {
	return admissionregistrationv1.WebhookClientConfig{URL: &h.at, CABundle: h.roots}
}

func on(group, version, resource string, operations ...admissionregistrationv1.OperationType) []admissionregistrationv1.RuleWithOperations {
	return []admissionregistrationv1.RuleWithOperations{{Operations: operations,
		Rule: admissionregistrationv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}}}}
}

// validates registers the webhook for Pods that are made, until the test ends.
func (w *world) validates(h webhook) {
	w.Helper()
	none := admissionregistrationv1.SideEffectClassNone
	client := w.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := client.Create(w.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{Name: "policy.example.org", ClientConfig: h.config(), NamespaceSelector: h.where,
			Rules: on("", "v1", "pods", admissionregistrationv1.Create), SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}},
	}, metav1.CreateOptions{})
	require.NoError(w, err)
	w.Cleanup(func() { _ = client.Delete(w.Context(), w.namespace, metav1.DeleteOptions{}) })
}

// mutates registers the webhook for updates of Ingresses, and returns what takes it away.
func (w *world) mutates(h webhook) (remove func()) {
	w.Helper()
	none := admissionregistrationv1.SideEffectClassNone
	client := w.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := client.Create(w.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{Name: "policy.example.org", ClientConfig: h.config(), NamespaceSelector: h.where,
			Rules: on("networking.k8s.io", "v1", "ingresses", admissionregistrationv1.Update), SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}},
	}, metav1.CreateOptions{})
	require.NoError(w, err)
	return sync.OnceFunc(func() { require.NoError(w, client.Delete(w.Context(), w.namespace, metav1.DeleteOptions{})) })
}

// updates counts the updates that a controller sends, by resource.
type updates struct {
	mu   sync.Mutex
	sent map[string]int
}

func (u *updates) wrap(_ *controllerConfig, config *restConfig) {
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

func (u *updates) of(resource string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sent[resource]
}

// during is how many more there are once some time has passed.
func (u *updates) during(d time.Duration, resource string) int {
	before := u.of(resource)
	<-after(d)
	return u.of(resource) - before
}

func allowed() *admissionv1.AdmissionResponse { return &admissionv1.AdmissionResponse{Allowed: true} }

// patched answers with a JSON patch.
func patched(patch string) *admissionv1.AdmissionResponse {
	kind := admissionv1.PatchTypeJSONPatch
	return &admissionv1.AdmissionResponse{Allowed: true, Patch: []byte(patch), PatchType: &kind}
}

// TestAPolicyThatExplainsItselfOnSeveralLines refuses the page Pods: what it says is
// written on the target once.
func TestAPolicyThatExplainsItselfOnSeveralLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.validates(w.webhook(func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		return &admissionv1.AdmissionResponse{Result: &metav1.Status{Code: http.StatusForbidden, Message: "no Pods of this image:\n\task the platform team"}}
	}))
	w.apply(ingress("my-app"))
	sent := &updates{}
	w.start(sent.wrap)
	w.on(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], `no Pods of this image:\n\task the platform team`)
	assert.LessOrEqual(t, sent.during(3*time.Second, "ingresses"), 1)
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
}

// TestAWebhookPutsTheBackendBack in the controller's own request: it is met as anybody
// who does, later and later, and told.
func TestAWebhookPutsTheBackendBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	remove := w.mutates(w.webhook(func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		if r.Name != "my-app" || r.SubResource != "" {
			return allowed()
		}
		return patched(`[{"op": "replace", "path": "/spec/defaultBackend/service", "value": {"name": "app", "port": {"number": 80}}}]`)
	}))
	w.apply(withClass("my-app", "nginx"), withClass("other", "nginx"))
	sent := &updates{}
	w.start(sent.wrap)
	w.on(ingresses, "other")
	w.until(ingresses, "other", "active", state(annotations.Active))
	w.on(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "contested", state(annotations.Contested))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "an admission webhook keeps writing the backends back")
	message := w.untilTold("my-app", string(plan.BackendReverted), "admission webhook")
	assert.NotContains(t, message, ownership.Manager+`"`)
	assert.LessOrEqual(t, sent.during(3*time.Second, "ingresses"), 3, "after 1 s, 2 s, 4 s")
	assert.Less(t, sent.of("ingresses"), 20)
	remove()
	w.until(ingresses, "my-app", "on the page", func(u *unstructured.Unstructured) bool { return len(setsOf(u)) == 1 })
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
}

// TestAWebhookThatUndoesAllIsBackedOffFrom: an update that is answered with the version
// that was sent is no progress.
func TestAWebhookThatUndoesAllIsBackedOffFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	remove := w.mutates(w.webhook(func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
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
		return patched(string(patch))
	}))
	w.apply(withClass("my-app", "nginx"))
	sent := &updates{}
	w.start(sent.wrap)
	w.on(ingresses, "my-app")
	w.untilTold("my-app", string(plan.PageNotReady), "stored nothing of it")
	// Four swaps at once; then the state, after 50 ms, doubled each time, five times in
	// the second until the next swap, and six times in the two seconds after that.
	assert.LessOrEqual(t, sent.during(3*time.Second, "ingresses"), 4+5+1+6)
	assert.Empty(t, w.get(ingresses, "my-app").GetAnnotations()[annotations.State])
	remove()
	w.until(ingresses, "my-app", "on the page", func(u *unstructured.Unstructured) bool { return len(setsOf(u)) == 1 })
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
}

// TestAWebhookThatStampsAndTakesOurStateOff gives each update a new version, and none is
// progress: the status is not sent again at once.
func TestAWebhookThatStampsAndTakesOurStateOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var stamps atomic.Int64
	remove := w.mutates(w.webhook(func(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
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
		return patched(string(patch))
	}))
	w.apply(withClass("my-app", "nginx"))
	sent := &updates{}
	w.start(sent.wrap)
	w.on(ingresses, "my-app")
	w.untilTold("my-app", string(plan.InvalidAnnotation), "an admission webhook changes them")
	w.until(ingresses, "my-app", "on the page", func(u *unstructured.Unstructured) bool { return len(setsOf(u)) == 1 })
	// The swap and switching at most, and active once it has settled.
	assert.LessOrEqual(t, sent.during(3*time.Second, "ingresses"), 3)
	remove()
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
}

// TestAClassThatIsServedNoMoreWhilePending: what has begun is taken back, the claim on
// the page set too.
func TestAClassThatIsServedNoMoreWhilePending(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(withClass("my-app", "nginx"), withClass("stays", "nginx"))
	w.start(image("stalls"), func(c *controllerConfig, _ *restConfig) { c.Classes = []string{"nginx"} })
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "pending", state(annotations.Pending))
	w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, "alb", "spec", "ingressClassName"))
	})
	u := w.until(ingresses, "my-app", "restored", restored)
	assert.Equal(t, "true", u.GetAnnotations()[annotations.DefaultEnabled], "what people wrote stays")
	w.untilClean()
}
