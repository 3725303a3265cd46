package apiserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
)

func TestSameContentSharesAPageSet(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(customPage("one", "page.html", "<h1>same</h1>"), customPage("two", "page.html", "<h1>same</h1>"))
	for i := range 20 {
		env.apply(ingress(fmt.Sprintf("app-%d", i)))
	}
	env.startController()
	for i := range 20 {
		env.annotate(ingresses, fmt.Sprintf("app-%d", i), map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: []string{"one", "two"}[i%2]})
	}
	sets := map[string]bool{}
	for i := range 20 {
		sets[requireOnPage(t, env.waitFor(ingresses, fmt.Sprintf("app-%d", i), "active", state(annotations.Active)))] = true
	}
	assert.Len(t, sets, 1)
	assert.Len(t, env.list(services, annotations.ManagedByLabel), 1)
	for set := range sets {
		env.waitFor(configMaps, set, "all users in used-by", func(u *unstructured.Unstructured) bool {
			return strings.Count(u.GetAnnotations()[annotations.UsedBy], "Ingress/") == 20
		})
	}
}

// TestReusedPageSetIsNeverCollected enables a target just when the grace period of its page
// set ends.
func TestReusedPageSetIsNeverCollected(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	serves := env.checkServing(ingresses, "my-app")
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Grace = 0; c.Settings.Settle = 300 * time.Millisecond })
	for range 10 {
		env.enable(ingresses, "my-app")
		serves.waitForCheckOf(requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active))))
		env.disable(ingresses, "my-app")
		env.waitFor(ingresses, "my-app", "restored", restored)
	}
	env.waitForCleanup()
}

func TestNothingIsCollectedWhileAKindCannotBeListed(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	failures := &requestFailures{}
	env.startController(failures.wrap)
	env.enable(ingresses, "my-app")
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	failures.set(func(method, path string) bool { return method == "GET" && strings.HasSuffix(path, "/ingressroutes") })
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	collected := make(chan struct{})
	go func() {
		if _, ok := env.tryWaitFor(t.Context(), configMaps, set, absent); ok {
			close(collected)
		}
	}()
	failures.waitForRefused(t, 3, collected) // it tried to list the users several times
	assert.NotEmpty(t, env.get(configMaps, set).GetUID())
	failures.set(nil)
	env.waitForCleanup()
}

func TestPageSetStaysForTheGracePeriod(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	const grace = 5 * time.Second
	env.apply(ingress("my-app"))
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Grace = grace })
	env.enable(ingresses, "my-app")
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	leaving := time.Now()
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	env.waitFor(configMaps, set, "deletion", absent)
	assert.Greater(t, time.Since(leaving), grace)
	env.waitForCleanup()
}

func TestDeletedPageSetIsRecreated(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	for _, gvr := range []schemaGVR{services, configMaps} {
		uid := env.get(gvr, set).GetUID()
		require.NoError(t, env.dynamic.Resource(gvr).Namespace(env.namespace).Delete(t.Context(), set, metav1.DeleteOptions{}))
		env.waitFor(gvr, set, "a new one", func(u *unstructured.Unstructured) bool { return u != nil && u.GetUID() != uid })
	}
	env.waitForPods(2, func(p *unstructured.Unstructured) bool {
		return metav1.GetControllerOf(p).UID == env.get(configMaps, set).GetUID()
	})
}

// TestPageSetIsCollectedDespiteLateBackupEvents: the watch of ConfigMaps lags behind that
// of targets. So the last trace of a user of the set is a backup that moves to another set.
func TestPageSetIsCollectedDespiteLateBackupEvents(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingress("other"), customPage("spring", "page.html", "<h1>spring</h1>"))
	p := env.newProxied()
	gate := faultproxy.NewGate()
	p.proxy.SetFaults(func(c faultproxy.Call) *faultproxy.Fault {
		if c.Verb == "watch" && c.Resource == "configmaps" {
			return gate.Hold()
		}
		return nil
	})
	p.restart()
	env.enable(ingresses, "my-app")
	env.annotate(ingresses, "other", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	for _, name := range []string{"my-app", "other"} {
		env.waitFor(ingresses, name, "active", state(annotations.Active))
	}
	gate.Shut()
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultCustomPage: "spring"})
	env.waitFor(ingresses, "my-app", "active on the other's set", and(namesSet(setOfPage("<h1>spring</h1>")), state(annotations.Active)))
	gate.Open()
	env.waitFor(configMaps, defaultSet(), "deletion", absent)
}

// TestServiceIsFittedToTheClassBeforeTheSwap: an ALB in instance mode needs a NodePort. The
// page set already serves another class.
func TestServiceIsFittedToTheClassBeforeTheSwap(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	classes := func(c *controllerConfig, _ *restConfig) {
		c.Template.ServiceClasses = map[string]pageset.ServiceOptions{"alb": {Type: corev1.ServiceTypeNodePort, Annotations: map[string]string{"alb/health": "/x"}}}
		c.Grace = 2 * time.Second
	}
	env.apply(withClass("usual", "nginx"), withClass("cloud", "alb"))
	c := env.startController(classes)
	env.enable(ingresses, "usual")
	set := requireOnPage(t, env.waitFor(ingresses, "usual", "active", state(annotations.Active)))
	assert.Equal(t, corev1.ServiceTypeClusterIP, toService(env.get(services, set)).Spec.Type)

	fitted := func() bool {
		svc := toService(env.get(services, set))
		return svc.Spec.Type == corev1.ServiceTypeNodePort && svc.Annotations["alb/health"] == "/x"
	}
	looked := env.watchRevisions(ingresses, "cloud", func(u *unstructured.Unstructured) {
		if len(pageSetsOf(u)) > 0 && !fitted() {
			t.Errorf("at %s it leads to a Service that its class cannot reach", u.GetResourceVersion())
		}
	})
	env.enable(ingresses, "cloud")
	env.waitFor(ingresses, "cloud", "active", state(annotations.Active))
	assert.GreaterOrEqual(t, looked(), 2)

	// Its ingress controller may lag, and another replica may lead: the Service stays as it is.
	env.disable(ingresses, "cloud")
	env.waitFor(ingresses, "cloud", "restored", restored)
	c.stop()
	env.startController(classes)
	env.waitFor(configMaps, set, "the remaining user in used-by", usedBy("Ingress/usual"))
	assert.True(t, fitted())
	assert.True(t, state(annotations.Active)(env.get(ingresses, "usual")))
	env.disable(ingresses, "usual")
	env.waitForCleanup()
}
