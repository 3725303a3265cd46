package ownership

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func entry(manager, operation, fields string, second int) metav1.ManagedFieldsEntry {
	at := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC))
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationType(operation), APIVersion: "networking.k8s.io/v1",
		Time: &at, FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)},
	}
}

var rulesPath = Path{"spec", "rules", 0, "http", "paths", 0, "backend"}

func TestOwnersOf(t *testing.T) {
	owners, err := OwnersOf([]metav1.ManagedFieldsEntry{
		entry("argocd", "Apply", `{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:rules":{},"f:tls":{}}}`, 1),
		entry("kubectl", "Update", `{"f:metadata":{"f:annotations":{"f:x":{}}}}`, 2),
		entry(Manager, "Update", `{"f:spec":{"f:rules":{}}}`, 3),
	}, []Path{rulesPath})
	require.NoError(t, err)
	require.Len(t, owners, 1)
	assert.Equal(t, "argocd", owners[0].Manager)
	assert.JSONEq(t, `{"f:spec":{"f:rules":{}}}`, string(owners[0].Fields))
}

func TestGiveBack(t *testing.T) {
	argo := Owner{Manager: "argocd", Operation: "Apply", APIVersion: "networking.k8s.io/v1", Fields: json.RawMessage(`{"f:spec":{"f:rules":{},"f:defaultBackend":{"f:service":{"f:name":{}}}}}`)}
	ours := entry(Manager, "Update", `{"f:metadata":{"f:annotations":{"f:maintenance/state":{}}},"f:spec":{"f:rules":{}}}`, 5)
	for name, tc := range map[string]struct {
		give   []metav1.ManagedFieldsEntry
		owners []Owner
		want   map[string]string
	}{
		"to the entry that is there": {
			give:   []metav1.ManagedFieldsEntry{entry("argocd", "Apply", `{"f:spec":{"f:tls":{}}}`, 1), ours},
			owners: []Owner{argo},
			want:   map[string]string{"argocd": `{"f:spec":{"f:rules":{},"f:tls":{}}}`},
		},
		"to an entry that had lost all": {
			give:   []metav1.ManagedFieldsEntry{ours},
			owners: []Owner{argo},
			want:   map[string]string{"argocd": `{"f:spec":{"f:rules":{}}}`},
		},
		"not what somebody has taken meanwhile": {
			give:   []metav1.ManagedFieldsEntry{entry("helm", "Update", `{"f:spec":{"f:rules":{}}}`, 4), entry(Manager, "Update", `{"f:metadata":{"f:annotations":{"f:maintenance/state":{}}}}`, 5)},
			owners: []Owner{argo},
			want:   map[string]string{"helm": `{"f:spec":{"f:rules":{}}}`},
		},
		"nobody had them: nobody gets them": {
			give: []metav1.ManagedFieldsEntry{entry("kubectl", "Update", `{"f:metadata":{"f:labels":{}}}`, 1), ours},
			want: map[string]string{"kubectl": `{"f:metadata":{"f:labels":{}}}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := GiveBack(tc.give, tc.owners)
			require.NoError(t, err)
			assert.Len(t, got, len(tc.want))
			for _, e := range got {
				assert.JSONEq(t, tc.want[e.Manager], string(e.FieldsV1.Raw), e.Manager)
			}
		})
	}
}

func TestGiveBackLeavesTheStatusEntryAlone(t *testing.T) {
	status := entry(Manager, "Update", `{"f:status":{}}`, 1)
	status.Subresource = "status"
	got, err := GiveBack([]metav1.ManagedFieldsEntry{status}, nil)
	require.NoError(t, err)
	assert.Equal(t, []metav1.ManagedFieldsEntry{status}, got)
}

func TestMergeTheLastOwnerWins(t *testing.T) {
	older := []Owner{
		{Manager: "helm", Operation: "Update", Fields: json.RawMessage(`{"f:spec":{"f:rules":{}}}`)},
		{Manager: "argocd", Operation: "Apply", Fields: json.RawMessage(`{"f:spec":{"f:defaultBackend":{}}}`)},
	}
	newer := []Owner{{Manager: "argocd", Operation: "Apply", Fields: json.RawMessage(`{"f:spec":{"f:rules":{}}}`)}}
	merged, err := Merge(older, newer)
	require.NoError(t, err)
	require.Len(t, merged, 1)
	assert.Equal(t, "argocd", merged[0].Manager)
	assert.JSONEq(t, `{"f:spec":{"f:rules":{},"f:defaultBackend":{}}}`, string(merged[0].Fields))
}

func TestLastWriter(t *testing.T) {
	for name, tc := range map[string]struct {
		give []metav1.ManagedFieldsEntry
		want string
	}{
		"nobody":               {nil, ""},
		"the later one":        {[]metav1.ManagedFieldsEntry{entry("helm", "Update", `{"f:spec":{"f:rules":{}}}`, 1), entry("argocd", "Apply", `{"f:spec":{"f:rules":{}}}`, 2)}, "argocd"},
		"not who owns the map": {[]metav1.ManagedFieldsEntry{entry("helm", "Update", `{"f:spec":{"f:rules":{}}}`, 1), entry("late", "Update", `{"f:spec":{".":{},"f:tls":{}}}`, 2)}, "helm"},
		"in the same second":   {[]metav1.ManagedFieldsEntry{entry(Manager, "Update", `{"f:spec":{"f:rules":{}}}`, 1), entry("helm", "Update", `{"f:spec":{"f:rules":{}}}`, 1)}, "helm"},
		"the controller":       {[]metav1.ManagedFieldsEntry{entry("helm", "Update", `{"f:spec":{"f:tls":{}}}`, 1), entry(Manager, "Update", `{"f:spec":{"f:rules":{}}}`, 2)}, Manager},
		"unreadable":           {[]metav1.ManagedFieldsEntry{entry("helm", "Update", `[`, 1)}, ""},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tc.want, LastWriter(tc.give, []Path{rulesPath})) })
	}
}

// FuzzGiveBack: recorded owners come from an annotation that anybody who can edit the
// target can write.
func FuzzGiveBack(f *testing.F) {
	f.Add(`{"f:spec":{"f:rules":{}}}`, "argocd")
	f.Fuzz(func(t *testing.T, fields, manager string) {
		give := []metav1.ManagedFieldsEntry{entry("helm", "Update", `{"f:spec":{"f:tls":{}}}`, 1), entry(Manager, "Update", `{"f:spec":{"f:rules":{}}}`, 2)}
		got, err := GiveBack(give, []Owner{{Manager: manager, Operation: "Apply", APIVersion: "v1", Fields: json.RawMessage(fields)}})
		if err != nil {
			return
		}
		if len(got) == 0 || got[0].Manager != "helm" || string(got[0].FieldsV1.Raw) != `{"f:spec":{"f:tls":{}}}` {
			t.Fatalf("another manager's entry changed: %v", got)
		}
	})
}

// TestListEntriesHaveSeparateOwners: two ports of a Service can have two owners.
func TestListEntriesHaveSeparateOwners(t *testing.T) {
	entries := []metav1.ManagedFieldsEntry{
		entry("web", "Apply", `{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{},"f:targetPort":{}}}}}`, 1),
		entry("mail", "Apply", `{"f:spec":{"f:ports":{"k:{\"port\":25,\"protocol\":\"TCP\"}":{".":{},"f:targetPort":{}},"k:{\"port\":80,\"protocol\":\"UDP\"}":{"f:targetPort":{}}}}}`, 2),
		entry("list", "Apply", `{"f:spec":{"f:ports":{}}}`, 0),
	}
	port := Path{"spec", "ports", Key{"port": int64(80), "protocol": "TCP"}, "targetPort"}
	owners, err := OwnersOf(entries, []Path{port})
	require.NoError(t, err)
	require.Len(t, owners, 2)
	assert.Equal(t, "web", owners[0].Manager)
	assert.JSONEq(t, `{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:targetPort":{}}}}}`, string(owners[0].Fields))
	assert.Equal(t, "list", owners[1].Manager)
	assert.Equal(t, "web", LastWriter(entries, []Path{port}))

	for name, other := range map[string]Path{
		"another value":     {"spec", "ports", Key{"port": int64(81), "protocol": "TCP"}},
		"another key":       {"spec", "ports", Key{"port": int64(80), "name": "TCP"}},
		"a part of the key": {"spec", "ports", Key{"port": int64(80)}},
	} {
		owners, err := OwnersOf(entries[:1], []Path{other})
		require.NoError(t, err)
		assert.Empty(t, owners, name)
	}
	owners, err = OwnersOf(entries[:2], []Path{{"spec", "ports", 0, "targetPort"}})
	require.NoError(t, err)
	assert.Len(t, owners, 2, "an index does not say which entry it is")
}
