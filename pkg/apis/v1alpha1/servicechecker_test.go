package v1alpha1_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/pkg/apis/v1alpha1"
)

// TestDecodeAndDeepCopy: a manifest is decoded from YAML and from what a dynamic client returns, and
// a deep copy shares nothing with it.
func TestDecodeAndDeepCopy(t *testing.T) {
	const text = `
apiVersion: maintenance-controller.io/v1alpha1
kind: ServiceChecker
metadata: {name: shop}
spec:
  for: 1m30s
  services:
  - {name: web, critical: true, port: http, minReady: 2}
  - {name: db, namespace: data, port: 5432}
`
	var object map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &object))
	var c, twin v1alpha1.ServiceChecker
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &c))
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(object, &twin))
	assert.Equal(t, c, twin)
	assert.Equal(t, 90*time.Second, c.Spec.For.Duration.Duration)
	assert.Nil(t, c.Spec.RecoverFor)
	assert.Equal(t, intstr.FromString("http"), *c.Spec.Services[0].Port)
	assert.Equal(t, v1alpha1.CheckedService{Name: "db", Namespace: "data", Port: c.Spec.Services[1].Port}, c.Spec.Services[1])

	twin.DeepCopy().Spec.Services[0].Port.StrVal = "other"
	twin.DeepCopy().Spec.For.Duration.Duration = 0
	assert.Equal(t, c, twin)
}
