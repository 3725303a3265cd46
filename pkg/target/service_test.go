package target_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

func serviceFrom(t *testing.T, text string) map[string]any {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	u := &unstructured.Unstructured{}
	require.NoError(t, u.UnmarshalJSON([]byte(`{"apiVersion":"v1","kind":"Service",`+string(raw[1:]))))
	return u.Object
}

func TestRefusedServices(t *testing.T) {
	const ports = `ports: [{port: 80, targetPort: 8080}]`
	for name, tc := range map[string]struct{ object, refused string }{
		"plain":                          {`{spec: {selector: {app: a}, ` + ports + `}}`, ""},
		"session affinity":               {`{spec: {sessionAffinity: ClientIP, selector: {app: a}, ` + ports + `}}`, ""},
		"node port":                      {`{spec: {type: NodePort, externalTrafficPolicy: Cluster, internalTrafficPolicy: Cluster, selector: {app: a}, ` + ports + `}}`, ""},
		"dual stack":                     {`{spec: {ipFamilies: [IPv4, IPv6], ipFamilyPolicy: RequireDualStack, selector: {app: a}, ` + ports + `}}`, ""},
		"a colour that people switch":    {`{spec: {selector: {app: a, color: blue}, ` + ports + `}}`, ""},
		"one of several ports speaks":    {`{spec: {selector: {app: a}, ports: [{port: 1, protocol: SCTP}, {port: 80}]}}`, ""},
		"external name":                  {`{spec: {type: ExternalName, externalName: a}}`, "ExternalName"},
		"headless":                       {`{spec: {clusterIP: None, selector: {app: a}, ` + ports + `}}`, "headless"},
		"no selector":                    {`{spec: {` + ports + `}}`, "no selector"},
		"not ready":                      {`{spec: {publishNotReadyAddresses: true, selector: {app: a}, ` + ports + `}}`, "publishNotReadyAddresses"},
		"local from outside":             {`{spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: a}, ` + ports + `}}`, "externalTrafficPolicy"},
		"local from inside":              {`{spec: {internalTrafficPolicy: Local, selector: {app: a}, ` + ports + `}}`, "internalTrafficPolicy"},
		"UDP alone":                      {`{spec: {selector: {app: a}, ports: [{port: 53, protocol: UDP}]}}`, "HTTP"},
		"a database":                     {`{spec: {selector: {app: a}, ports: [{port: 1, appProtocol: mysql}]}}`, "HTTP"},
		"Argo Rollouts":                  {`{spec: {selector: {app: a, rollouts-pod-template-hash: x}, ` + ports + `}}`, "rollouts-pod-template-hash"},
		"Argo Rollouts, not rolled out":  {`{metadata: {annotations: {argo-rollouts.argoproj.io/managed-by-rollouts: shop}}, spec: {selector: {app: a}, ` + ports + `}}`, `Rollout "shop"`},
		"a ReplicaSet":                   {`{spec: {selector: {app: a, pod-template-hash: x}, ` + ports + `}}`, "pod-template-hash"},
		"Kruise Rollouts":                {`{spec: {selector: {app: a, rollouts.kruise.io/x: z}, ` + ports + `}}`, "Kruise"},
		"Flagger":                        {`{metadata: {ownerReferences: [{kind: Canary, name: shop, controller: true}]}, spec: {selector: {app: a-primary}, ` + ports + `}}`, `Canary "shop"`},
		"Flagger, on one of the user's":  {`{metadata: {managedFields: [{manager: flagger, operation: Update, fieldsV1: {"f:spec": {"f:selector": {}}}}]}, spec: {selector: {app: a-primary}, ` + ports + `}}`, "Flagger"},
		"an owner that does not keep it": {`{metadata: {ownerReferences: [{kind: App, name: shop}]}, spec: {selector: {app: a}, ` + ports + `}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			object := serviceFrom(t, tc.object)
			slots, err := target.Service().Slots(object)
			require.NoError(t, err)
			notes := target.Service().Note(object)
			assert.Equal(t, tc.refused == "", len(slots) > 0)
			assert.Equal(t, tc.refused == "", notes.Refused == "", notes.Refused)
			assert.Contains(t, notes.Refused, tc.refused)
		})
	}
}

// TestRefusedServiceOnAPageCanBeRestored although it would be refused now.
func TestRefusedServiceOnAPageCanBeRestored(t *testing.T) {
	object := serviceFrom(t, `{spec: {selector: {app: a}, ports: [{port: 80, targetPort: 8080}, {port: 81, targetPort: 8081}]}}`)
	swapped, record := swapTo(t, target.Service(), object, swap.Record{}, setA)
	for path, value := range map[string]any{"publishNotReadyAddresses": true, "type": "ExternalName", "externalTrafficPolicy": "Local"} {
		changed := runtime.DeepCopyJSON(swapped)
		changed["spec"].(map[string]any)[path] = value
		restored := undo(t, target.Service(), changed, record)
		delete(restored["spec"].(map[string]any), path)
		assert.Equal(t, object, restored)
		assert.Empty(t, target.Service().Note(changed).Refused)
	}
	changed := runtime.DeepCopyJSON(swapped)
	changed["spec"].(map[string]any)["ports"].([]any)[1].(map[string]any)["appProtocol"] = "mysql"
	restored := undo(t, target.Service(), changed, record)
	assert.Equal(t, int64(8081), restored["spec"].(map[string]any)["ports"].([]any)[1].(map[string]any)["targetPort"])
}

func TestPortsThatAreSkipped(t *testing.T) {
	object := serviceFrom(t, `{spec: {selector: {app: a}, ports: [{port: 80}, {port: 443, appProtocol: HTTPS}, {port: 90, appProtocol: kubernetes.io/wss},
		{port: 91, appProtocol: example.com/own}, {port: 92, appProtocol: grpc}, {port: 53, protocol: UDP}, {port: 3306, appProtocol: mysql}, {port: 22, appProtocol: ssh}]}}`)
	slots, err := target.Service().Slots(object)
	require.NoError(t, err)
	var names []string
	for _, s := range slots {
		names = append(names, s.ID.String())
	}
	assert.Equal(t, []string{"selector", "targetPort 80/TCP", "targetPort 443/TCP", "targetPort 90/TCP", "targetPort 91/TCP", "targetPort 92/TCP"}, names)
	assert.Len(t, target.Service().Note(object).LeftAlone, 3)
	assert.Equal(t, ownership.Path{"spec", "ports", ownership.Key{"port": int64(80), "protocol": "TCP"}, "targetPort"}, slots[1].OwnershipPath())
}

// TestMergedSelector leads nowhere, and is repaired on the way to the page and back.
func TestMergedSelector(t *testing.T) {
	for name, tc := range map[string]struct {
		app     string // selector before
		before  string // selector of the manifest that kubectl had applied when it was swapped
		merged  string // into the page's selector
		applied string // selector of the manifest that kubectl applied last
		by      string // field manager of all of it
		want    string
	}{
		"one label":                               {`app: a, tier: web`, `{}`, `tier: v2`, `{}`, "kubectl-patch", `{"app":"a","tier":"v2"}`},
		"all labels":                              {`app: a, tier: web`, `{}`, `app: b, tier: v2`, `{}`, "kubectl-patch", `{"app":"b","tier":"v2"}`},
		"a new label":                             {`app: a, tier: web`, `{}`, `track: canary`, `{}`, "kubectl-patch", `{"app":"a","tier":"web","track":"canary"}`},
		"no original is known":                    {``, ``, `app: b`, `{}`, "kubectl-patch", `{"app":"b"}`},
		"kubectl apply took one away":             {`app: a, tier: web`, `{"app":"a","tier":"web"}`, `app: a`, `{"app":"a"}`, "kubectl-client-side-apply", `{"app":"a"}`},
		"and one that it did not own":             {`app: a, tier: v2`, `{"app":"a","tier":"web"}`, `app: a`, `{"app":"a"}`, "kubectl-client-side-apply", `{"app":"a"}`},
		"one that it knows nothing of":            {`app: a, color: blue`, `{"app":"a"}`, `app: a`, `{"app":"a"}`, "kubectl-client-side-apply", `{"app":"a","color":"blue"}`},
		"both":                                    {`app: a, tier: web, color: blue`, `{"app":"a","tier":"web"}`, `app: b`, `{"app":"b"}`, "kubectl-client-side-apply", `{"app":"b","color":"blue"}`},
		"kubectl apply was long before":           {`app: a, tier: web`, `{"app":"a","tier":"web"}`, `tier: v2`, `{"app":"a","tier":"web"}`, "kubectl-patch", `{"app":"a","tier":"v2"}`},
		"kubectl apply for the first time":        {`app: a, tier: web`, `{}`, `app: a`, `{"app":"a"}`, "kubectl-client-side-apply", `{"app":"a","tier":"web"}`},
		"Helm says nothing of what it had before": {`app: a, tier: web`, `{}`, `app: a`, `{}`, "helm", `{"app":"a","tier":"web"}`},
	} {
		t.Run(name, func(t *testing.T) {
			object := func(selector, applied, port string) map[string]any {
				return serviceFrom(t, `{metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"selector":`+applied+`}}'},
					managedFields: [{manager: `+tc.by+`, operation: Update, fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:selector": {}}}}]},
					spec: {selector: {`+selector+`}, ports: [{port: 80, targetPort: `+port+`}]}}`)
			}
			known := swap.Record{}
			if tc.app != "" {
				_, known = swapTo(t, target.Service(), object(tc.app, tc.before, "8080"), swap.Record{}, setA)
			}
			slots, err := target.Service().Slots(object(`maintenance/page-set: `+setA+`, `+tc.merged, tc.applied, "maintenancepage"))
			require.NoError(t, err)
			assert.True(t, swap.OnPage(slots))
			assert.Equal(t, setA, slots[0].PageSet, "the set has to stay")
			assertJSON(t, tc.want, selectorOf(swap.Back(slots, known)))
			for range 2 { // a plan may be delayed, and is then made again
				plan, err := swap.To(setB, slots, known, roomy)
				require.NoError(t, err)
				assert.JSONEq(t, tc.want, string(plan.Record.Slots[0].Value))
				assert.Equal(t, map[string]any{"maintenance/page-set": setB}, selectorOf(plan))
				assert.Equal(t, tc.app != "", len(plan.Reverted) > 0)
				assertJSON(t, tc.want, selectorOf(swap.Back(slots, plan.Record)))
				known, tc.app = plan.Record, "known"
			}
		})
	}
}

// TestPageSetLabelWithoutAPageSet is somebody's mistake, and leads to no app.
func TestPageSetLabelWithoutAPageSet(t *testing.T) {
	app := serviceFrom(t, `{spec: {selector: {app: a}, ports: [{port: 80, targetPort: 8080}]}}`)
	_, known := swapTo(t, target.Service(), app, swap.Record{}, setA)
	for _, slip := range []string{`maintenance/page-set: slip`, `maintenance/page-set: ""`} {
		slots, err := target.Service().Slots(serviceFrom(t, `{spec: {selector: {`+slip+`}, ports: [{port: 80, targetPort: maintenancepage}]}}`))
		require.NoError(t, err)
		assertJSON(t, `{"app":"a"}`, selectorOf(swap.Back(slots, known)))
		plan, err := swap.To(setA, slots, known, roomy)
		require.NoError(t, err)
		assert.Equal(t, map[string]any{"maintenance/page-set": setA}, selectorOf(plan))
		assert.JSONEq(t, `{"app":"a"}`, string(plan.Record.Slots[0].Value))
		assert.Len(t, plan.Reverted, 1)
		assert.Len(t, swap.Back(slots, swap.Record{}).Lost, 2, "nothing is known, so people are asked")
	}
}

func selectorOf(p swap.Plan) any {
	for _, write := range p.Writes {
		if len(write.Path) == 2 {
			return write.Value
		}
	}
	return nil
}

func assertJSON(t *testing.T, want string, got any) {
	t.Helper()
	raw, err := json.Marshal(got)
	require.NoError(t, err)
	assert.JSONEq(t, want, string(raw))
}

func TestOriginOfAService(t *testing.T) {
	object := serviceFrom(t, `{spec: {type: LoadBalancer, clusterIP: 10.0.0.1, loadBalancerClass: x, healthCheckNodePort: 3, ipFamilies: [IPv6], ipFamilyPolicy: SingleStack,
		selector: {app: a}, ports: [{name: web, port: 80, targetPort: http, nodePort: 30001, appProtocol: http}, {name: dns, port: 53, protocol: UDP, targetPort: 53}]}}`)
	spec := target.Service().Origin(object)
	require.NotNil(t, spec)
	assert.Equal(t, corev1.ServiceTypeClusterIP, spec.Type)
	assert.Empty(t, spec.ClusterIP)
	assert.Equal(t, map[string]string{"app": "a"}, spec.Selector)
	assert.Equal(t, []corev1.IPFamily{"IPv6"}, spec.IPFamilies)
	require.Len(t, spec.Ports, 2)
	assert.Zero(t, spec.Ports[0].NodePort)
	assert.Equal(t, "http", spec.Ports[0].TargetPort.StrVal)
	assert.Equal(t, corev1.ProtocolUDP, spec.Ports[1].Protocol)
	swapped, _ := swapTo(t, target.Service(), object, swap.Record{}, setA)
	assert.Nil(t, target.Service().Origin(swapped), "a page is no way to the app")
}
