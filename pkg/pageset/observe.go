package pageset

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/page"
)

// Phase of a page set.
type Phase int

// The phases. Zero is a set that does not exist.
const (
	Absent   Phase = iota // it does not exist, and is being created if it is claimed
	Starting              // it is coming up, and nobody needs to do anything
	Blocked               // it cannot start until somebody acts
	Conflict              // a foreign object has its name
	Serving               // visitors can be sent to it
)

// Status of a page set. Message says for people what is missing. Since is when a serving
// set was first seen with endpoints; zero if that is not known.
type Status struct {
	Phase   Phase // zero is Absent
	Message string
	Since   time.Time
}

// Observed is what exists of a set. Any part may be nil.
type Observed struct {
	ConfigMap *corev1.ConfigMap // that everything of the set belongs to
	Service   *corev1.Service
	Pods      []*corev1.Pod                // that carry the set's label
	Slices    []*discoveryv1.EndpointSlice // EndpointSlices of the set's Service
}

// Alive says whether the set's ConfigMap exists and is not being deleted.
func (o Observed) Alive() bool { return o.ConfigMap != nil && o.ConfigMap.DeletionTimestamp == nil }

// Own lists the Pods that belong to the live ConfigMap, by UID: leftovers of a deleted set
// of the same name still run and serve for seconds. They are sorted by name, so that a
// message about the first one does not change with the order of a map. A Pod whose labels
// somebody removed is not among them: it is replaced, and deleted with its ConfigMap.
func (o Observed) Own() []*corev1.Pod {
	if !o.Alive() {
		return nil
	}
	var own []*corev1.Pod
	for _, p := range o.Pods {
		if Owns(o.ConfigMap.UID, p) {
			own = append(own, p)
		}
	}
	slices.SortFunc(own, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return own
}

// Owns says whether the object's controller has this UID.
func Owns(uid types.UID, object metav1.Object) bool {
	ref := metav1.GetControllerOf(object)
	return ref != nil && ref.UID == uid
}

// Status judges the set. It serves if an EndpointSlice that its own Service owns lists a
// ready endpoint that is one of its own Pods. A set that records no user may be collected
// at any moment and does not count as serving.
func (o Observed) Status() Status {
	switch {
	case o.ConfigMap == nil:
		return Status{Phase: Absent, Message: "the page set is being created"}
	case o.ConfigMap.DeletionTimestamp != nil:
		return Status{Phase: Starting, Message: "an earlier page set of this name is being deleted"}
	case o.ConfigMap.Annotations[annotations.UsedBy] == "":
		return Status{Phase: Starting, Message: "the page set is being taken into use"}
	case !o.reachable():
		return Status{Phase: Starting, Message: "the Service of the page set is being created"}
	case o.Endpoints():
		return Status{Phase: Serving}
	}
	for _, p := range o.Own() {
		if why := startProblem(p); why != "" {
			return Status{Phase: Blocked, Message: fmt.Sprintf("page Pod %s: %s", p.Name, why)}
		}
	}
	return Status{Phase: Starting, Message: "the page Pods are starting"}
}

// reachable says whether the set has a Service that is not being deleted.
func (o Observed) reachable() bool {
	return o.Alive() && o.Service != nil && Owns(o.ConfigMap.UID, o.Service) && o.Service.DeletionTimestamp == nil
}

// Endpoints says whether an EndpointSlice of the set's own Service lists one of its own
// Pods as ready, regardless of who uses the set.
func (o Observed) Endpoints() bool {
	if !o.reachable() {
		return false
	}
	own := map[types.UID]bool{}
	for _, p := range o.Own() {
		own[p.UID] = p.DeletionTimestamp == nil
	}
	for _, slice := range o.Slices {
		if !Owns(o.Service.UID, slice) {
			continue
		}
		for _, e := range slice.Endpoints {
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready // nil means true, according to the API
			if ready && e.TargetRef != nil && own[e.TargetRef.UID] {
				return true
			}
		}
	}
	return false
}

// stuckReasons are the reasons of a waiting container that last until somebody acts.
var stuckReasons = []string{"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"}

// startProblem says why a Pod does not start, if somebody must act; empty otherwise.
func startProblem(p *corev1.Pod) string {
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && slices.Contains(stuckReasons, w.Reason) {
			return strings.TrimSuffix(fmt.Sprintf("%s: %s", w.Reason, w.Message), ": ")
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return "cannot be scheduled: " + c.Message
		}
	}
	return ""
}

// Ours says whether the object is the controller's own, or is named like one: it is never a
// target.
func Ours(object metav1.Object) bool {
	return object.GetLabels()[annotations.ManagedByLabel] == annotations.ManagedBy || page.IsSetName(object.GetName())
}

// Foreign says why a ConfigMap with a set's name is not that set; empty if it is. Labels do
// not count, because somebody may have removed them: see HasLabels.
func Foreign(cm *corev1.ConfigMap) string {
	h := page.HashData(cm.Data)
	switch {
	case cm.Annotations[annotations.ContentHash] == "" && cm.Labels[annotations.ManagedByLabel] != annotations.ManagedBy:
		return "it is not the controller's"
	case h != cm.Annotations[annotations.ContentHash] || !installation.ValidSetName(installation.Of(cm), h, cm.Name) || len(cm.BinaryData) > 0:
		return "its content does not match its name"
	default:
		return ""
	}
}

// ShowsContent says whether the ConfigMap is a set of the installation that shows the
// content with this hash, regardless of its name: two contents may have hashes with the
// same beginning, and a set may be older than its installation's id.
func ShowsContent(cm *corev1.ConfigMap, hash string, own installation.Installation) bool {
	return cm != nil && cm.DeletionTimestamp == nil && cm.Annotations[annotations.ContentHash] == hash && own.Owns(installation.Of(cm)) && Foreign(cm) == ""
}

// HasLabels says whether an object of a set still has the labels that it was made with:
// without them no watch shows it.
func HasLabels(there, made metav1.Object) bool {
	for key, value := range made.GetLabels() {
		if key != annotations.Installation && there.GetLabels()[key] != value {
			return false
		}
	}
	return true
}

// RestoreLabels gives an object of a set the labels back that it was made with.
func RestoreLabels(there, made metav1.Object) {
	there.SetLabels(merge(there.GetLabels(), made.GetLabels()))
}

// Ready says whether the Pod answers requests and is not being deleted.
func Ready(p *corev1.Pod) bool {
	if !Alive(p) {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Alive says whether the Pod runs or may still run: it has not ended and is not being
// deleted.
func Alive(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded
}
