package apiserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/played"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/target"
)

// What goes wrong around the controller is told on the target, and ends when
// its cause does.

func TestMaintenanceEndsThoughTheClassIsServedNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	c := w.start()
	w.on(ingresses, "my-app")
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	c.stop()
	w.start(func(c *controllerConfig, _ *restConfig) { c.Classes = []string{"nginx"} })
	w.until(configMaps, set, "its user", usedBy("Ingress/my-app"))
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	w.untilClean()
}

func TestAPageThatIsAwayIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.apply("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none}\nspec: {hard: {pods: '0'}}\n")
	quotas := schemaGVR{Version: "v1", Resource: "resourcequotas"}
	w.until(quotas, "none", "in force", func(u *unstructured.Unstructured) bool {
		hard, _, _ := unstructured.NestedString(u.Object, "status", "hard", "pods")
		return hard == "0"
	})
	for _, p := range w.list(pods, annotations.PageSetLabel) {
		require.NoError(t, w.dynamic.Resource(pods).Namespace(w.namespace).Delete(t.Context(), p.GetName(), metav1.DeleteOptions{}))
	}
	u := w.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "exceeded quota")
	assert.Contains(t, message(w.untilEvent("my-app", "PageNotReady")), "does not serve")
	require.NoError(t, w.dynamic.Resource(quotas).Namespace(w.namespace).Delete(t.Context(), "none", metav1.DeleteOptions{}))
	w.until(ingresses, "my-app", "active again", state(annotations.Active))
}

func TestPodsThatFailAtOnceAreRemadeLaterAndLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start(image(played.ImageFails))
	began := time.Now()
	made := w.countPods()
	w.on(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "failed: Refused")
	for time.Since(began) < 6*time.Second {
		w.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
		<-after(100 * time.Millisecond)
	}
	assert.LessOrEqual(t, made(), 12, "0, 0, 1, 2, 4 s: two Pods each")
}

// countPods counts the page Pods that are made, until it is asked.
func (w *world) countPods() (made func() int) {
	w.Helper()
	stream, err := w.dynamic.Resource(pods).Namespace(w.namespace).Watch(w.Context(), metav1.ListOptions{LabelSelector: annotations.PageSetLabel})
	require.NoError(w, err)
	n := make(chan int, 1)
	go func() {
		count := 0
		for e := range stream.ResultChan() {
			if e.Type == "ADDED" {
				count++
			}
		}
		n <- count
	}()
	return func() int {
		stream.Stop()
		return <-n
	}
}

func TestABackupThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := backup.Name(target.Ref{Kind: "Ingress", Namespace: w.namespace, Name: "my-app"})
	w.apply(ingress("my-app"), fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: b}\n", name))
	before := spec(t, w.get(ingresses, "my-app"))
	w.start()
	w.on(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], name)
	assert.Equal(t, before, spec(t, u))
	assert.Contains(t, message(w.untilEvent("my-app", "NameConflict")), name)
	require.NoError(t, w.client.CoreV1().ConfigMaps(w.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
	w.until(ingresses, "my-app", "active, now that the name is free", state(annotations.Active))
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	w.untilClean()
}

func TestAServiceThatWasEditedLeadsToThePageAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	w.edit(services, set, func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedStringMap(u.Object, map[string]string{"app": "other"}, "spec", "selector"))
	})
	w.until(services, set, "its selector", func(u *unstructured.Unstructured) bool {
		selector, _, _ := unstructured.NestedStringMap(u.Object, "spec", "selector")
		return selector[annotations.PageSetLabel] == set
	})
}
