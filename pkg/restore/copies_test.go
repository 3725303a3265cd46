package restore

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/companion"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

const (
	set            = "maintenance-0123456789abcdef"
	knownOriginals = `{"v":1,"slots":[{"type":"defaultBackend","at":0,"value":{"service":{"name":"app","port":{"number":80}}}}]}`
	laterVersion   = `{"v":2,"slots":[]}`
)

// TestUnreadableCopies: the other copy is enough. If there is none, nothing is lost, and the error
// says why.
func TestUnreadableCopies(t *testing.T) {
	for name, tc := range map[string]struct {
		annotation, backup string
		restored           bool
	}{
		"the annotation, and the backup is there": {laterVersion, knownOriginals, true},
		"the backup, and the annotation is there": {knownOriginals, laterVersion, true},
		"the annotation alone":                    {laterVersion, "", false},
		"the backup alone":                        {"", laterVersion, false},
		"both":                                    {laterVersion, laterVersion, false},
	} {
		t.Run(name, func(t *testing.T) {
			ref := target.Ref{Kind: "Ingress", Namespace: "shop", Name: "my-app"}
			client := fake.NewClientset()
			if tc.backup != "" {
				storeBackup(t, client, ref, tc.backup)
			}
			ingress := &unstructured.Unstructured{}
			require.NoError(t, ingress.UnmarshalJSON([]byte(`{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"my-app","namespace":"shop"},
				"spec":{"defaultBackend":{"service":{"name":"`+set+`","port":{"number":80}}}}}`)))
			ingress.SetAnnotations(map[string]string{annotations.State: annotations.Active, annotations.PageSet: set})
			if tc.annotation != "" {
				ingress.SetAnnotations(map[string]string{annotations.State: annotations.Active, annotations.PageSet: set, annotations.Original: tc.annotation})
			}
			dynamic := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), ingress)
			r := &Restorer{Config: Config{Client: client, Dynamic: dynamic, Kinds: target.Kinds(), Keys: annotations.DefaultKeys()}}
			out := r.Target(t.Context(), ref)

			now, err := dynamic.Resource(target.Ingress().Resource).Namespace("shop").Get(t.Context(), "my-app", metav1.GetOptions{})
			require.NoError(t, err)
			leadsTo, _, err := unstructured.NestedString(now.Object, "spec", "defaultBackend", "service", "name")
			require.NoError(t, err)
			copied, err := backup.Get(t.Context(), client.CoreV1(), ref)
			require.NoError(t, err)
			if tc.restored {
				require.NoError(t, out.Err)
				assert.Equal(t, "app", leadsTo)
				assert.False(t, annotations.HasWritten(now.GetAnnotations()))
				assert.Nil(t, copied)
				return
			}
			require.ErrorIs(t, out.Err, errNotRestored)
			assert.ErrorContains(t, out.Err, "cannot be read (format version 2")
			assert.ErrorContains(t, out.Err, "no original backend is known")
			assert.Equal(t, set, leadsTo)
			assert.Equal(t, tc.annotation, now.GetAnnotations()[annotations.Original])
			if tc.backup != "" {
				require.NotNil(t, copied)
				assert.Equal(t, tc.backup, copied.Data["originals"])
			}
		})
	}
}

// storeBackup stores a backup with this text as its record.
func storeBackup(t *testing.T, client *fake.Clientset, ref target.Ref, text string) {
	t.Helper()
	var record swap.Record
	require.NoError(t, json.Unmarshal([]byte(knownOriginals), &record))
	require.NoError(t, backup.Put(t.Context(), client.CoreV1(), companion.Owner{Ref: ref, APIVersion: "networking.k8s.io/v1", UID: "uid"}, plan.Backup{Set: set, Record: record}))
	maps := client.CoreV1().ConfigMaps(ref.Namespace)
	cm, err := maps.Get(t.Context(), backup.Name(ref), metav1.GetOptions{})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(cm.Data["originals"], `{"v":1`))
	cm.Data["originals"] = text
	_, err = maps.Update(t.Context(), cm, metav1.UpdateOptions{})
	require.NoError(t, err)
}
