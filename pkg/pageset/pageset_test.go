package pageset

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/target"
)

var plain = page.Page{Bodies: map[string]string{"page.html": "<h1>soon</h1>"}}

func idOf(p page.Page) ID { return ID{Namespace: "shop", Name: page.SetName(p.Hash())} }

func configMap() *corev1.ConfigMap {
	cm := ConfigMap(idOf(plain), plain, "Ingress/a")
	cm.UID = "cm"
	return cm
}

func TestPodMeetsRestricted(t *testing.T) {
	pod := Pod(configMap(), Template{Image: "image", Replicas: 2, Labels: map[string]string{"team": "web", annotations.PageSetLabel: "forged"}})
	assert.Equal(t, "web", pod.Labels["team"])
	assert.Equal(t, idOf(plain).Name, pod.Labels[annotations.PageSetLabel], "no label of the configuration takes the place of ours")
	assert.True(t, *pod.Spec.SecurityContext.RunAsNonRoot)
	assert.Nil(t, pod.Spec.SecurityContext.RunAsUser, "OpenShift assigns one")
	c := pod.Spec.Containers[0]
	assert.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
	assert.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
	assert.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
	assert.False(t, *pod.Spec.AutomountServiceAccountToken)
	assert.False(t, *pod.Spec.EnableServiceLinks)
	assert.True(t, Owns("cm", pod))
}

func TestConfigurationReachesThePods(t *testing.T) {
	tpl := Template{
		Image: "registry.example/page:1", PullPolicy: corev1.PullAlways, PullSecrets: []string{"pull"}, PriorityClass: "high", Drain: 20 * time.Second,
		Annotations: map[string]string{"team": "web"}, NodeSelector: map[string]string{"disk": "ssd"}, Tolerations: []corev1.Toleration{{Key: "dedicated"}},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}},
		Service:   ServiceOptions{Type: corev1.ServiceTypeNodePort, Annotations: map[string]string{"lb": "internal"}},
	}
	pod, svc := Pod(configMap(), tpl), Service(configMap(), tpl, nil)
	spec, c := pod.Spec, pod.Spec.Containers[0]
	assert.Equal(t, tpl.Image, c.Image)
	assert.Equal(t, corev1.PullAlways, c.ImagePullPolicy)
	assert.Equal(t, tpl.Resources, c.Resources)
	assert.Equal(t, []corev1.LocalObjectReference{{Name: "pull"}}, spec.ImagePullSecrets)
	assert.Equal(t, "high", spec.PriorityClassName)
	assert.Equal(t, tpl.NodeSelector, spec.NodeSelector)
	assert.Equal(t, tpl.Tolerations, spec.Tolerations)
	assert.Equal(t, "web", pod.Annotations["team"])
	assert.Equal(t, int64(30), *spec.TerminationGracePeriodSeconds, "longer than the drain")
	assert.Equal(t, corev1.LabelHostname, spec.TopologySpreadConstraints[0].TopologyKey, "spread over nodes")
	assert.Equal(t, corev1.ServiceTypeNodePort, svc.Spec.Type)
	assert.Equal(t, "internal", svc.Annotations["lb"])
	assert.Equal(t, int32(80), svc.Spec.Ports[0].Port)
	assert.Equal(t, "http", svc.Spec.Ports[0].Name, "Traefik would speak TLS to another")
}

// TestBusyNodeKeepsEndpoints: probes of a node that stands still for some seconds fail for all Pods at
// the same time.
func TestBusyNodeKeepsEndpoints(t *testing.T) {
	probe := Pod(configMap(), Template{}).Spec.Containers[0].ReadinessProbe
	assert.GreaterOrEqual(t, probe.PeriodSeconds*probe.FailureThreshold, int32(10), "seconds without an answer")
	assert.Equal(t, int32(1), probe.PeriodSeconds, "a new Pod serves as soon as it can")
}

func TestTemplateHashDiffersByTemplate(t *testing.T) {
	of := func(change func(*Template)) string {
		tpl := Template{Image: "image", Replicas: 2}
		change(&tpl)
		return Pod(configMap(), tpl).Annotations[annotations.Template]
	}
	same := of(func(*Template) {})
	assert.Equal(t, same, of(func(t *Template) { t.Replicas = 3 }), "more Pods are no other Pods")
	for name, change := range map[string]func(*Template){
		"image":  func(t *Template) { t.Image = "image:2" },
		"labels": func(t *Template) { t.Labels = map[string]string{"a": "b"} },
		"drain":  func(t *Template) { t.Drain = time.Second },
	} {
		assert.NotEqual(t, same, of(change), name)
	}
}

// TestTemplateHashesAreStable: changing these values replaces every page Pod, and writes to
// every Service of a set, at the next update of the controller.
func TestTemplateHashesAreStable(t *testing.T) {
	tpl := Template{Image: "image", Replicas: 2}
	assert.Equal(t, "maintenance-6a4bb36aa05914be", idOf(plain).Name)
	assert.Equal(t, "de2acd542f047cdc", Pod(configMap(), tpl).Annotations[annotations.Template])
	assert.Equal(t, "f52c210ef0734e90", Service(configMap(), tpl, nil).Annotations[annotations.Template])
}

func TestForeign(t *testing.T) {
	assert.Empty(t, Foreign(configMap()))
	for name, change := range map[string]func(*corev1.ConfigMap){
		"nothing of ours":   func(cm *corev1.ConfigMap) { cm.Labels, cm.Annotations = nil, nil },
		"another's content": func(cm *corev1.ConfigMap) { cm.Data["page.html"] = "tampered" },
		"content and hash": func(cm *corev1.ConfigMap) {
			cm.Data["page.html"] = "tampered"
			cm.Annotations[annotations.ContentHash] = page.HashData(cm.Data)
		},
		"another installation's name": func(cm *corev1.ConfigMap) {
			cm.Name = installation.Installation{ID: "a"}.SetName(cm.Annotations[annotations.ContentHash])
			cm.Annotations[annotations.Installation] = "b"
		},
		"binary data": func(cm *corev1.ConfigMap) { cm.BinaryData = map[string][]byte{"a": {1}} },
	} {
		cm := configMap()
		change(cm)
		assert.NotEmpty(t, Foreign(cm), name)
	}
}

// TestLostLabels: a set without its labels is still that set, and they can be restored next
// to labels that others have added.
func TestLostLabels(t *testing.T) {
	made := configMap()
	for key := range made.Labels {
		cm := configMap()
		delete(cm.Labels, key)
		cm.Labels["team"] = "shop"
		assert.Empty(t, Foreign(cm))
		assert.False(t, HasLabels(cm, made), key)
		RestoreLabels(cm, made)
		assert.True(t, HasLabels(cm, made), key)
		assert.Equal(t, "shop", cm.Labels["team"])
	}
	installation.Installation{ID: "a"}.Mark(made)
	assert.True(t, HasLabels(configMap(), made), "one from before there were ids is not written for that")
}

// TestPartsInheritTheInstallationID, and the page Pods check the content hash, which the
// name of a set with an id does not contain.
func TestPartsInheritTheInstallationID(t *testing.T) {
	before := configMap()
	p, err := page.Parse(before.Data)
	require.NoError(t, err)
	own := installation.Installation{ID: "blue"}
	cm := ConfigMap(ID{Namespace: "shop", Name: own.SetName(p.Hash())}, p, "")
	own.Mark(cm)
	assert.Empty(t, Foreign(cm))
	tmpl := Template{Image: "image"}
	for _, part := range []metav1.Object{Pod(cm, tmpl), Service(cm, tmpl, nil), Budget(cm), Policy(cm)} {
		assert.Equal(t, "blue", installation.Of(part), "%T", part)
		assert.Equal(t, installation.Label("blue"), part.GetLabels()[annotations.Installation], "%T", part)
	}
	for _, part := range []metav1.Object{Pod(before, tmpl), Service(before, tmpl, nil), Budget(before), Policy(before)} {
		assert.Empty(t, installation.Of(part), "%T", part)
	}
	assert.Contains(t, Pod(cm, tmpl).Spec.Containers[0].Args, "--content-hash="+p.Hash())
	now := before.DeepCopy()
	installation.Installation{ID: installation.Default}.Mark(now)
	assert.Equal(t, Pod(before, tmpl).Spec, Pod(now, tmpl).Spec)
	assert.Equal(t, Pod(before, tmpl).Annotations[annotations.Template], Pod(now, tmpl).Annotations[annotations.Template], "no Pod is rolled for an id")
}

func TestShowsContent(t *testing.T) {
	cm := configMap()
	hash := cm.Annotations[annotations.ContentHash]
	own := installation.Installation{ID: "blue"}
	assert.True(t, ShowsContent(cm, hash, own), "from before there were ids")
	assert.False(t, ShowsContent(cm, hash[:16]+hash[:48], own), "the name is the same, the content is not")
	assert.False(t, ShowsContent(nil, hash, own))
	cm.Annotations[annotations.Installation] = "red"
	assert.False(t, ShowsContent(cm, hash, own))
	assert.True(t, ShowsContent(cm, hash, installation.Installation{ID: "blue", Adopted: []string{"red"}}))
}

// pod gives a Pod of the set, ready unless changed.
func pod(name string, changes ...func(*corev1.Pod)) *corev1.Pod {
	p := Pod(configMap(), Template{Image: "image"})
	p.Name, p.UID, p.CreationTimestamp = name, types.UID(name), metav1.NewTime(time.Unix(1, 0))
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	p.Annotations[annotations.Template] = "current"
	for _, change := range changes {
		change(p)
	}
	return p
}

func starting(p *corev1.Pod) { p.Status.Conditions = nil }
func outdated(p *corev1.Pod) { p.Annotations[annotations.Template] = "old" }
func failed(p *corev1.Pod)   { p.Status.Phase = corev1.PodFailed }
func going(p *corev1.Pod)    { now := metav1.Now(); p.DeletionTimestamp = &now }
func newer(p *corev1.Pod)    { p.CreationTimestamp = metav1.NewTime(time.Unix(2, 0)) }

func TestChangePods(t *testing.T) {
	for name, tc := range map[string]struct {
		give    []*corev1.Pod
		create  int
		deletes []string
	}{
		"none yet":                            {nil, 2, nil},
		"as it should be":                     {[]*corev1.Pod{pod("a"), pod("b")}, 0, nil},
		"starting is not doubled":             {[]*corev1.Pod{pod("a", starting), pod("b", starting)}, 0, nil},
		"a failed one":                        {[]*corev1.Pod{pod("a", failed), pod("b")}, 1, []string{"a"}},
		"an evicted one on its way out":       {[]*corev1.Pod{pod("a", going), pod("b")}, 1, nil},
		"outdated: new ones first":            {[]*corev1.Pod{pod("a", outdated), pod("b", outdated)}, 2, nil},
		"outdated: while new ones start":      {[]*corev1.Pod{pod("a", outdated), pod("b", outdated), pod("c", starting), pod("d")}, 0, nil},
		"outdated: when new ones are ready":   {[]*corev1.Pod{pod("a", outdated), pod("b", outdated), pod("c"), pod("d")}, 0, []string{"a", "b"}},
		"outdated that never served":          {[]*corev1.Pod{pod("a", outdated, starting), pod("b", outdated)}, 2, []string{"a"}},
		"too many: the newest not ready goes": {[]*corev1.Pod{pod("a", newer), pod("b", starting), pod("c", starting, newer)}, 0, []string{"c"}},
		"too many ready: the newest goes":     {[]*corev1.Pod{pod("a", newer), pod("b"), pod("c")}, 0, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := ChangePods(tc.give, "current", 2)
			assert.Equal(t, tc.create, got.Create)
			var deletes []string
			for _, p := range got.Delete {
				deletes = append(deletes, p.Name)
			}
			assert.Equal(t, tc.deletes, deletes)
		})
	}
}

func slice(owner types.UID, pods ...types.UID) *discoveryv1.EndpointSlice {
	yes := true
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{UID: owner, Controller: &yes}}}}
	for _, uid := range pods {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &yes}, TargetRef: &corev1.ObjectReference{UID: uid}})
	}
	return s
}

// TestServicePortHasNoAppProtocol: implementations of the Gateway API assume that a port
// without an appProtocol speaks what the route speaks. Traefik refuses http for a
// GRPCRoute.
func TestServicePortHasNoAppProtocol(t *testing.T) {
	ports := Service(configMap(), Template{}, nil).Spec.Ports
	require.Len(t, ports, 1)
	assert.Nil(t, ports[0].AppProtocol)
}

// TestStatus: leftovers of a deleted set of the same name do not count.
func TestStatus(t *testing.T) {
	service := func() *corev1.Service {
		s := Service(configMap(), Template{}, nil)
		s.UID = "svc"
		return s
	}
	whole := func() Observed {
		return Observed{ConfigMap: configMap(), Service: service(), Pods: []*corev1.Pod{pod("a")}, Slices: []*discoveryv1.EndpointSlice{slice("svc", "a")}}
	}
	assert.Equal(t, Status{Phase: Serving}, whole().Status())
	no := false
	for name, tc := range map[string]struct {
		change func(*Observed)
		want   Phase
	}{
		"no ConfigMap":                      {func(o *Observed) { o.ConfigMap = nil }, Absent},
		"a ConfigMap that is going":         {func(o *Observed) { now := metav1.Now(); o.ConfigMap.DeletionTimestamp = &now }, Starting},
		"nobody uses it":                    {func(o *Observed) { o.ConfigMap.Annotations[annotations.UsedBy] = "" }, Starting},
		"the namesake's Service":            {func(o *Observed) { o.Service.OwnerReferences[0].UID = "earlier" }, Starting},
		"the namesake's EndpointSlice":      {func(o *Observed) { o.Slices = []*discoveryv1.EndpointSlice{slice("earlier", "a")} }, Starting},
		"the namesake's Pod":                {func(o *Observed) { o.Pods[0].OwnerReferences[0].UID = "earlier" }, Starting},
		"a Pod that is going":               {func(o *Observed) { going(o.Pods[0]) }, Starting},
		"an endpoint that is not ready":     {func(o *Observed) { o.Slices[0].Endpoints[0].Conditions.Ready = &no }, Starting},
		"an endpoint that is no Pod":        {func(o *Observed) { o.Slices[0].Endpoints[0].TargetRef = nil }, Starting},
		"no endpoints, and a stuck image":   {func(o *Observed) { o.Slices = nil; stuckPod(o.Pods[0]) }, Blocked},
		"no endpoints, and no node to take": {func(o *Observed) { o.Slices = nil; unschedulable(o.Pods[0]) }, Blocked},
	} {
		t.Run(name, func(t *testing.T) {
			o := whole()
			tc.change(&o)
			got := o.Status()
			assert.Equal(t, tc.want, got.Phase)
			assert.NotEmpty(t, got.Message)
		})
	}
}

func stuckPod(p *corev1.Pod) {
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}
}

func unschedulable(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes"}}
}

// TestMessageNamesTheSamePodEachTime regardless of map order: the message is written to all
// users.
func TestMessageNamesTheSamePodEachTime(t *testing.T) {
	stuck := func(p *corev1.Pod) {
		starting(p)
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}
	}
	cm := configMap()
	cm.UID = "cm"
	svc := Service(cm, Template{}, nil)
	one, other := pod("a", stuck), pod("b", stuck)
	one.OwnerReferences, other.OwnerReferences = owner(cm), owner(cm)
	want := Observed{ConfigMap: cm, Service: svc, Pods: []*corev1.Pod{one, other}}.Status()
	assert.Equal(t, Status{Phase: Blocked, Message: "page Pod a: ImagePullBackOff"}, want)
	assert.Equal(t, want, Observed{ConfigMap: cm, Service: svc, Pods: []*corev1.Pod{other, one}}.Status())
}

func TestUsedBy(t *testing.T) {
	refs := []target.Ref{{Kind: "IngressRoute", Namespace: "shop", Name: "a"}, {Kind: "Ingress", Namespace: "shop", Name: "b"}, {Kind: "Ingress", Namespace: "shop", Name: "a"}, {Kind: "Ingress", Namespace: "shop", Name: "a"}}
	record := UsedBy(refs)
	assert.Equal(t, "Ingress/a,Ingress/b,IngressRoute/a", record)
	assert.Len(t, ParseUsedBy("shop", record), 3)
	assert.Empty(t, UsedBy(nil))
	assert.Empty(t, ParseUsedBy("shop", ""))

	var many []target.Ref
	for i := range 10_000 {
		many = append(many, target.Ref{Kind: "Ingress", Namespace: "shop", Name: fmt.Sprintf("an-app-with-a-name-%06d", i)})
	}
	record = UsedBy(many)
	require.LessOrEqual(t, len(record), maxUsedBy)
	listed := ParseUsedBy("shop", record)
	assert.Contains(t, record, fmt.Sprintf(",+%d", 10_000-len(listed)))
	assert.False(t, strings.HasPrefix(listed[len(listed)-1].Name, "+"))
}

func FuzzUsers(f *testing.F) {
	f.Add("Ingress/a,IngressRoute/b,+3")
	f.Fuzz(func(t *testing.T, record string) {
		for _, ref := range ParseUsedBy("shop", record) {
			if ref.Kind == "" || ref.Name == "" || ref.Namespace != "shop" {
				t.Fatalf("%q names %v", record, ref)
			}
		}
	})
}

func TestServiceFitsTheClassesOfItsUsers(t *testing.T) {
	tpl := Template{
		Service: ServiceOptions{Type: corev1.ServiceTypeClusterIP, Annotations: map[string]string{"all": "1"}},
		ServiceClasses: map[string]ServiceOptions{
			"alb":    {Type: corev1.ServiceTypeNodePort, Annotations: map[string]string{"shared": "alb"}},
			"gce":    {Annotations: map[string]string{"shared": "gce", "neg": "true"}},
			"public": {Type: corev1.ServiceTypeLoadBalancer},
		},
	}
	for name, c := range map[string]struct {
		classes     []string
		wantType    corev1.ServiceType
		wantAnnots  map[string]string
		wantClasses string
	}{
		"none":                    {nil, "ClusterIP", map[string]string{"all": "1"}, ""},
		"a class that is usual":   {[]string{"nginx", ""}, "ClusterIP", map[string]string{"all": "1"}, ""},
		"one that needs more":     {[]string{"alb"}, "NodePort", map[string]string{"all": "1", "shared": "alb"}, "alb"},
		"several, named twice":    {[]string{"gce", "nginx", "alb", "gce"}, "NodePort", map[string]string{"all": "1", "shared": "gce", "neg": "true"}, "alb,gce"},
		"the furthest reach wins": {[]string{"public", "alb"}, "LoadBalancer", map[string]string{"all": "1", "shared": "alb"}, "alb,public"},
	} {
		svc := Service(configMap(), tpl, c.classes)
		assert.Equal(t, c.wantType, svc.Spec.Type, name)
		assert.Equal(t, c.wantClasses, svc.Annotations[annotations.Classes], name)
		assert.NotEmpty(t, svc.Annotations[annotations.Template], name)
		delete(svc.Annotations, annotations.Classes)
		delete(svc.Annotations, annotations.Template)
		assert.Equal(t, c.wantAnnots, svc.Annotations, name)
	}
	plainService, fitted := Service(configMap(), tpl, nil), Service(configMap(), tpl, []string{"alb"})
	assert.Equal(t, []string{"alb"}, FittedClasses(fitted))
	assert.True(t, tpl.Fits(plainService, []string{"nginx", ""}))
	assert.False(t, tpl.Fits(plainService, []string{"nginx", "alb"}))
	assert.True(t, tpl.Fits(fitted, []string{"nginx", "alb"}))
	assert.False(t, tpl.Fits(fitted, []string{"gce"}))
	assert.NotEqual(t, plainService.Annotations[annotations.Template], fitted.Annotations[annotations.Template])
	assert.Equal(t, map[string]string{"all": "1"}, tpl.Service.Annotations, "the configuration itself is not changed")
}

func TestSecurityContextsAndSpread(t *testing.T) {
	user := int64(1000)
	own := RestrictedContainer()
	own.RunAsUser = &user
	pod := Pod(configMap(), Template{Security: own, Spread: []corev1.TopologySpreadConstraint{{TopologyKey: "zone"}, {TopologyKey: "rack", LabelSelector: &metav1.LabelSelector{}}}})
	assert.Equal(t, &user, pod.Spec.Containers[0].SecurityContext.RunAsUser)
	assert.Equal(t, RestrictedPod(), pod.Spec.SecurityContext)
	spread := pod.Spec.TopologySpreadConstraints
	require.Len(t, spread, 2)
	assert.Equal(t, pod.Labels[annotations.PageSetLabel], spread[0].LabelSelector.MatchLabels[annotations.PageSetLabel])
	assert.Empty(t, spread[1].LabelSelector.MatchLabels, "a selector that is given stays")
	assert.Empty(t, Pod(configMap(), Template{Spread: []corev1.TopologySpreadConstraint{}}).Spec.TopologySpreadConstraints)
}
