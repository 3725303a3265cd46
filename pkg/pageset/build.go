// Package pageset describes page sets: the ConfigMap, Pods, Service, PodDisruptionBudget
// and NetworkPolicy that serve one page in one namespace. It builds them and judges
// existing ones; it writes nothing.
package pageset

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/page"
)

// ID names a page set.
type ID struct{ Namespace, Name string }

// String is for logs: namespace/name.
func (id ID) String() string { return id.Namespace + "/" + id.Name }

// Template is what the controller's configuration says about page sets.
type Template struct {
	Image          string                            // of the page server
	PullPolicy     corev1.PullPolicy                 // empty leaves it to the API server
	PullSecrets    []string                          // names of Secrets in the set's namespace
	Labels         map[string]string                 // added to the Pods; the set's own labels win
	Annotations    map[string]string                 // added to the Pods
	NodeSelector   map[string]string                 // of the Pods
	Tolerations    []corev1.Toleration               // of the Pods
	Affinity       *corev1.Affinity                  // of the Pods; nil for none
	Spread         []corev1.TopologySpreadConstraint // nil spreads over nodes; one without a selector is about the set's own Pods
	PodSecurity    *corev1.PodSecurityContext        // nil means RestrictedPod
	Security       *corev1.SecurityContext           // nil means RestrictedContainer
	Resources      corev1.ResourceRequirements       // of the container
	PriorityClass  string                            // name of a PriorityClass; empty for the cluster's default
	Replicas       int                               // how many Pods a set has
	Drain          time.Duration                     // how long a Pod goes on answering when it is stopped
	Service        ServiceOptions                    // for every set
	ServiceClasses map[string]ServiceOptions         // by ingress class, on top of Service
	NetworkPolicy  PolicyMode                        // when a set has one
	// CookieLifetime is how long a link lets somebody through; 0 is the page server's own.
	CookieLifetime time.Duration
}

// MetricsPort of a page Pod, which also serves the bypass report.
const MetricsPort = 9090

// labels of everything in the set. Never a label of the app's: GitOps tools prune by them,
// and other Services select by them.
func labels(id ID) map[string]string {
	return map[string]string{
		annotations.ManagedByLabel: annotations.ManagedBy,
		annotations.NameLabel:      annotations.Name,
		annotations.ComponentLabel: annotations.ComponentSet,
		annotations.PageSetLabel:   id.Name,
	}
}

// ConfigMap holds the page. It owns the rest of the set, which carries the same
// installation id. usedBy is the used-by record.
func ConfigMap(id ID, p page.Page, usedBy string) *corev1.ConfigMap {
	immutable := true
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, Labels: labels(id), Annotations: map[string]string{
			annotations.UsedBy:      usedBy,
			annotations.ContentHash: p.Hash(),
		}},
		Immutable: &immutable,
		Data:      p.Data(),
	}
}

// owner makes an object count as managed, because kubectl drain and the cluster autoscaler
// look for a controller. It does not block the owner's deletion: setting that may require
// the right to write the owner's finalizers.
func owner(cm *corev1.ConfigMap) []metav1.OwnerReference {
	controller, block := true, false
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: cm.Name, UID: cm.UID, Controller: &controller, BlockOwnerDeletion: &block}}
}

// Budget keeps one Pod running during a drain. maxUnavailable would not work, because the
// owner, a ConfigMap, has no scale subresource.
func Budget(cm *corev1.ConfigMap) *policyv1.PodDisruptionBudget {
	id := ID{cm.Namespace, cm.Name}
	one, always := intstr.FromInt32(1), policyv1.AlwaysAllow
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, Labels: labels(id), OwnerReferences: owner(cm)},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable:               &one,
			Selector:                   &metav1.LabelSelector{MatchLabels: map[string]string{annotations.PageSetLabel: id.Name}},
			UnhealthyPodEvictionPolicy: &always,
		},
	}
	installation.Inherit(cm, budget)
	return budget
}

// Pod of the set, to be created with a generated name. It meets PodSecurity "restricted"
// and sets no user id, because OpenShift assigns one.
func Pod(cm *corev1.ConfigMap, t Template) *corev1.Pod {
	id := ID{cm.Namespace, cm.Name}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: id.Namespace, GenerateName: id.Name + "-", OwnerReferences: owner(cm),
			Labels:      merge(t.Labels, labels(id)),
			Annotations: merge(t.Annotations, map[string]string{"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}),
		},
		Spec: podSpec(cm, t),
	}
	pod.Annotations[annotations.Template] = hash(pod.Spec, t.Labels, t.Annotations)
	installation.Inherit(cm, pod)
	return pod
}

func podSpec(cm *corev1.ConfigMap, t Template) corev1.PodSpec {
	id := ID{cm.Namespace, cm.Name}
	no := false
	grace := int64((t.Drain + 10*time.Second).Seconds())
	mode := int32(0o444)
	var secrets []corev1.LocalObjectReference
	for _, name := range t.PullSecrets {
		secrets = append(secrets, corev1.LocalObjectReference{Name: name})
	}
	spec := corev1.PodSpec{
		AutomountServiceAccountToken:  &no,
		EnableServiceLinks:            &no,
		ImagePullSecrets:              secrets,
		NodeSelector:                  t.NodeSelector,
		Tolerations:                   t.Tolerations,
		PriorityClassName:             t.PriorityClass,
		Affinity:                      t.Affinity,
		SecurityContext:               cmp.Or(t.PodSecurity, RestrictedPod()),
		TerminationGracePeriodSeconds: &grace,
		TopologySpreadConstraints:     spread(id, t),
		Volumes: []corev1.Volume{{Name: "page", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: id.Name}, DefaultMode: &mode,
		}}}},
		Containers: []corev1.Container{container(cm, t)},
	}
	addDoors(&spec, Settings(cm), t)
	return spec
}

// spread adds a selector of the set's own Pods to constraints without a selector.
func spread(id ID, t Template) []corev1.TopologySpreadConstraint {
	constraints := slices.Clone(t.Spread)
	if constraints == nil {
		constraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway}}
	}
	for i := range constraints {
		if constraints[i].LabelSelector == nil {
			constraints[i].LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{annotations.PageSetLabel: id.Name}}
		}
	}
	return constraints
}

// RestrictedPod is the security context of a page Pod that PodSecurity "restricted"
// requires. Each call gives a new copy, which may be changed.
func RestrictedPod() *corev1.PodSecurityContext {
	yes := true
	return &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
}

// RestrictedContainer is the same for the container, which writes no files.
func RestrictedContainer() *corev1.SecurityContext {
	yes, no := true, false
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no,
		ReadOnlyRootFilesystem:   &yes,
		RunAsNonRoot:             &yes,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func container(cm *corev1.ConfigMap, t Template) corev1.Container {
	args := []string{"--page-dir=/page", "--page-set=" + cm.Name, fmt.Sprintf("--drain=%s", t.Drain)}
	if hash := cm.Annotations[annotations.ContentHash]; hash != "" && cm.Name != page.SetName(hash) {
		args = append(args, "--content-hash="+hash) // the name does not contain it
	}
	return corev1.Container{
		Name:            "page",
		Image:           t.Image,
		ImagePullPolicy: t.PullPolicy,
		Command:         []string{"/maintenance-page"},
		Args:            args,
		Ports: []corev1.ContainerPort{
			{Name: page.PortName, ContainerPort: page.Port, Protocol: corev1.ProtocolTCP},
			{Name: "metrics", ContainerPort: MetricsPort, Protocol: corev1.ProtocolTCP},
		},
		// Cloud load balancers derive their health check from this probe, so it is on the
		// serving port. Ten failures: a node that is too busy to probe in time is so for all its
		// Pods, and without an endpoint visitors get an error in place of a page that comes late.
		// A Pod that is deleted or whose process ends leaves the endpoints at once all the same.
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: page.ReadyPath, Port: intstr.FromString(page.PortName)}},
			PeriodSeconds: 1, TimeoutSeconds: 1, FailureThreshold: 10,
		},
		Resources:       t.Resources,
		SecurityContext: cmp.Or(t.Security, RestrictedContainer()),
		VolumeMounts:    []corev1.VolumeMount{{Name: "page", MountPath: "/page", ReadOnly: true}},
	}
}

// merge gives the union; later maps win.
func merge(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

// hash distinguishes templates.
func hash(parts ...any) string {
	raw, err := json.Marshal(parts)
	if err != nil {
		// API types always marshal.
		panic(err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}
