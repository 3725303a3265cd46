package apiserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
)

// Whether a page set can be reached is more than that it serves.

var networkPolicies = networkingv1.SchemeGroupVersion.WithResource("networkpolicies")

const denyAll = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
`

// letsIn says whether a policy lets everybody reach the page Pods of the set.
func letsIn(set string) condition {
	return func(u *unstructured.Unstructured) bool {
		var p networkingv1.NetworkPolicy
		if u == nil || runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &p) != nil {
			return false
		}
		return p.Spec.PodSelector.MatchLabels[annotations.PageSetLabel] == set && len(p.Spec.PolicyTypes) == 1 &&
			len(p.Spec.Ingress) == 1 && len(p.Spec.Ingress[0].From) == 0 && p.Spec.Ingress[0].Ports[0].Port.IntValue() == 8080
	}
}

func TestWhereOthersDenyThePageSetsPolicyLetsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("a"))
	w.start()
	w.on(ingresses, "a")
	set := allOn(t, w.until(ingresses, "a", "active", state(annotations.Active)))
	assert.Empty(t, w.list(networkPolicies, ""), "nobody is kept out")

	resource := w.dynamic.Resource(networkPolicies).Namespace(w.namespace)
	_, err := resource.Create(t.Context(), w.parse(denyAll), metav1.CreateOptions{})
	require.NoError(t, err)
	w.until(networkPolicies, set, "in", letsIn(set))
	w.edit(networkPolicies, set, func(u *unstructured.Unstructured) {
		unstructured.RemoveNestedField(u.Object, "spec", "ingress")
	})
	w.until(networkPolicies, set, "mended", letsIn(set))
	uid := w.get(networkPolicies, set).GetUID()
	require.NoError(t, resource.Delete(t.Context(), set, metav1.DeleteOptions{}))
	w.until(networkPolicies, set, "made again", func(u *unstructured.Unstructured) bool { return letsIn(set)(u) && u.GetUID() != uid })

	w.off(ingresses, "a")
	w.until(networkPolicies, set, "gone with its set", absent)
	assert.Len(t, w.list(networkPolicies, ""), 1, "theirs stays")
}

// TestThePolicyIsThereBeforeThePods: a set that serves can be reached.
func TestThePolicyIsThereBeforeThePods(t *testing.T) {
	t.Parallel()
	for mode, deny := range map[pageset.PolicyMode]bool{pageset.PolicyAuto: true, pageset.PolicyAlways: false} {
		w := newWorld(t)
		w.apply(ingress("a"))
		if deny {
			_, err := w.dynamic.Resource(networkPolicies).Namespace(w.namespace).Create(t.Context(), w.parse(denyAll), metav1.CreateOptions{})
			require.NoError(t, err)
		}
		c := w.start(func(c *controllerConfig, _ *restConfig) { c.Template.NetworkPolicy = mode })
		w.on(ingresses, "a")
		set := allOn(t, w.until(ingresses, "a", "active", state(annotations.Active)))
		made := w.get(networkPolicies, set)
		assert.True(t, letsIn(set)(made), "%s", mode)
		for _, p := range w.list(pods, annotations.PageSetLabel+"="+set) {
			assert.False(t, p.GetCreationTimestamp().Time.Before(made.GetCreationTimestamp().Time), "%s", mode)
		}
		c.stop()
	}
}

func TestNoPolicyIfNoneIsWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("a"))
	_, err := w.dynamic.Resource(networkPolicies).Namespace(w.namespace).Create(t.Context(), w.parse(denyAll), metav1.CreateOptions{})
	require.NoError(t, err)
	w.start(func(c *controllerConfig, _ *restConfig) { c.Template.NetworkPolicy = pageset.PolicyNever })
	w.on(ingresses, "a")
	w.until(ingresses, "a", "active", state(annotations.Active))
	assert.Len(t, w.list(networkPolicies, ""), 1)
}

func TestAPolicyThatIsNotOursIsNeverTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("a"))
	theirs := w.parse(denyAll)
	theirs.SetName(defaultSet())
	_, err := w.dynamic.Resource(networkPolicies).Namespace(w.namespace).Create(t.Context(), theirs, metav1.CreateOptions{})
	require.NoError(t, err)
	w.start()
	w.on(ingresses, "a")
	u := w.until(ingresses, "a", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "NetworkPolicy "+w.namespace+"/"+defaultSet()+" is in the way")
	assert.False(t, letsIn(defaultSet())(w.get(networkPolicies, defaultSet())))
	require.NoError(t, w.dynamic.Resource(networkPolicies).Namespace(w.namespace).Delete(t.Context(), defaultSet(), metav1.DeleteOptions{}))
	w.until(ingresses, "a", "active", state(annotations.Active))
}

func withClass(name, class string) string {
	return "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: " + name + "}, spec: {ingressClassName: " + class +
		", defaultBackend: {service: {name: app, port: {number: 80}}}}}"
}

// TestAServiceIsFittedToAClassBeforeItIsSentVisitors: an ALB in instance mode
// reaches a NodePort only. The set serves another class already.
func TestAServiceIsFittedToAClassBeforeItIsSentVisitors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	classes := func(c *controllerConfig, _ *restConfig) {
		c.Template.ServiceClasses = map[string]pageset.ServiceOptions{"alb": {Type: corev1.ServiceTypeNodePort, Annotations: map[string]string{"alb/health": "/x"}}}
		c.Grace = 2 * time.Second
	}
	w.apply(withClass("usual", "nginx"), withClass("cloud", "alb"))
	c := w.start(classes)
	w.on(ingresses, "usual")
	set := allOn(t, w.until(ingresses, "usual", "active", state(annotations.Active)))
	assert.Equal(t, corev1.ServiceTypeClusterIP, asService(w.get(services, set)).Spec.Type)

	fitted := func() bool {
		svc := asService(w.get(services, set))
		return svc.Spec.Type == corev1.ServiceTypeNodePort && svc.Annotations["alb/health"] == "/x"
	}
	looked := w.watchRevisions(ingresses, "cloud", func(u *unstructured.Unstructured) {
		if len(setsOf(u)) > 0 && !fitted() {
			t.Errorf("at %s it is on a Service that the class cannot reach", u.GetResourceVersion())
		}
	})
	w.on(ingresses, "cloud")
	w.until(ingresses, "cloud", "active", state(annotations.Active))
	assert.GreaterOrEqual(t, looked(), 2)

	// Its ingress controller may lag, and who works may change: it stays fitted.
	w.off(ingresses, "cloud")
	w.until(ingresses, "cloud", "restored", restored)
	c.stop()
	w.start(classes)
	w.until(configMaps, set, "the user that is left", usedBy("Ingress/usual"))
	assert.True(t, fitted())
	assert.True(t, state(annotations.Active)(w.get(ingresses, "usual")))
	w.off(ingresses, "usual")
	w.untilClean()
}
