package checker

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/readiness"
)

// FuzzAnyObject: whatever object a CRD of this name admits, nothing crashes, and a status that was
// written once is not written again.
func FuzzAnyObject(f *testing.F) {
	for _, spec := range []string{
		`{"services":[{"name":"a","critical":true}]}`, `{"services":[{"name":"a","port":"http","minReady":-3},{"name":"a"}],"for":"-1s"}`,
		`{"services":"a"}`, `{"for":7}`, `{"services":[null,{}],"recoverFor":"9999h"}`, `[]`, `null`,
	} {
		f.Add([]byte(spec), []byte(`{"services":[{"name":"a","namespace":"shop","ready":true,"since":"2026-01-01T00:00:00Z","state":"Down"}]}`), uint8(3))
	}
	f.Add([]byte(`{}`), []byte(`{"conditions":[{"type":"Available"},{}],"services":[{}]}`), uint8(0))
	f.Fuzz(func(t *testing.T, spec, stored []byte, seen uint8) {
		object := map[string]any{"apiVersion": "a/v1", "kind": "b", "metadata": map[string]any{"namespace": "shop", "name": "mine", "generation": int64(2)}}
		var fields, state any
		if json.Unmarshal(spec, &fields) != nil || json.Unmarshal(stored, &state) != nil {
			return
		}
		object["spec"], object["status"] = fields, state
		s := reread(t, object)
		r := &Registry{config: Config{Namespaces: []string{""}}}
		c := &evaluated{object: s, unreadable: s.unreadable, waits: waitsOf(s.ServiceChecker)}
		c.entries = r.namedEntries(c, nil, start)
		for i := range c.entries {
			c.entries[i].judge(readiness.State{Known: seen&1 > 0, Exists: seen&2 > 0, Judgeable: seen&4 > 0, Ready: int(seen >> 4), Message: "is so"}, start.Add(time.Minute), c.waits)
		}
		c.decide(nil, start)
		want := status(2, c.entries, c.unreadable, s.Status.Conditions, start.Add(time.Minute))
		again := status(2, c.entries, c.unreadable, want.Conditions, start.Add(time.Hour))
		assert.True(t, sameStatus(want, again))
		patch, err := patchOf("1", want)
		require.NoError(t, err)
		var written map[string]any
		require.NoError(t, json.Unmarshal(patch, &written))
		object["spec"], object["status"] = map[string]any{}, written["status"]
		assert.True(t, sameStatus(want, reread(t, object).Status), "as stored")
	})
}

func reread(t *testing.T, object map[string]any) *cachedChecker {
	t.Helper()
	kept, err := toCached(&unstructured.Unstructured{Object: object})
	require.NoError(t, err)
	s, ok := kept.(*cachedChecker)
	require.True(t, ok)
	return s
}
