package watch

import (
	"context"
	"slices"
	"sync"

	"go.uber.org/zap"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	networkinginformers "k8s.io/client-go/informers/networking/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
)

// PoliciesConfig configures Policies. All fields are required.
type PoliciesConfig struct {
	Client     kubernetes.Interface
	Log        *zap.Logger
	Namespaces []string // "" means all
	// Mode says when page sets have a NetworkPolicy. Unless it is PolicyAuto or PolicyAlways,
	// nothing is watched and no permissions are needed.
	Mode pageset.PolicyMode
	// OnChange is called with the name of a page set when its policy changes. When another policy is
	// added, deleted or changed, set is empty: every page set of the namespace is concerned. It must
	// only enqueue.
	OnChange func(namespace, set string)
}

// Policies watches NetworkPolicies: those of page sets, and whether a namespace has others.
type Policies struct {
	config    PoliciesConfig
	informers informers
}

// NewPolicies returns a watch that has not started.
func NewPolicies(c PoliciesConfig) *Policies {
	w := &Policies{config: c}
	if c.Mode != pageset.PolicyAuto && c.Mode != pageset.PolicyAlways {
		return w
	}
	for _, namespace := range c.Namespaces {
		w.informers = append(w.informers, networkinginformers.NewNetworkPolicyInformer(c.Client, namespace, 0, byNamespace()))
	}
	w.informers.transform(c.Log, reducePolicy)
	w.informers.setUp(c.Log, nil, cache.ResourceEventHandlerFuncs{
		AddFunc:    w.changed,
		DeleteFunc: w.changed,
		UpdateFunc: func(before, now any) {
			was, ok1 := before.(*networkingv1.NetworkPolicy)
			p, ok2 := now.(*networkingv1.NetworkPolicy)
			if ok1 && ok2 && (belongsToSet(p) || !equality.Semantic.DeepEqual(was.Spec, p.Spec)) {
				w.changed(p) // what else other policies allow or deny does not concern page sets
			}
		},
	})
	return w
}

// reducePolicy keeps of a policy that belongs to no page set only its key and the Pods whose egress
// it restricts.
func reducePolicy(object any) (any, error) {
	p, ok := object.(*networkingv1.NetworkPolicy)
	if !ok {
		return object, nil
	}
	if belongsToSet(p) {
		p.ManagedFields = nil
		return p, nil
	}
	reduced := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion}}
	if restrictsEgress(p) {
		reduced.Spec.PodSelector, reduced.Spec.PolicyTypes = p.Spec.PodSelector, []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
	}
	return reduced, nil
}

// Start watches until ctx ends. wg counts its goroutines.
func (w *Policies) Start(ctx context.Context, wg *sync.WaitGroup) { w.informers.start(ctx, wg) }

// HasSynced reports whether everything has been read once.
func (w *Policies) HasSynced() bool { return w.informers.synced() }

// Unsynced names what has not been read yet.
func (w *Policies) Unsynced() []string {
	if w.HasSynced() {
		return nil
	}
	return []string{"networkpolicies"}
}

func (w *Policies) changed(object any) {
	p, ok := eventObject[*networkingv1.NetworkPolicy](object)
	switch {
	case !ok:
	case belongsToSet(p):
		w.config.OnChange(p.Namespace, p.Name)
	default:
		w.config.OnChange(p.Namespace, "")
	}
}

// belongsToSet reports whether the policy is a page set's, even if somebody removed its labels.
func belongsToSet(p *networkingv1.NetworkPolicy) bool {
	return p.Labels[annotations.ManagedByLabel] == annotations.ManagedBy || page.IsSetName(p.Name)
}

// Policy returns the NetworkPolicy with the page set's name, nil if there is none, and whether the
// namespace has a policy that belongs to no page set.
func (w *Policies) Policy(id pageset.ID) (own *networkingv1.NetworkPolicy, others bool) {
	for _, p := range byIndex[*networkingv1.NetworkPolicy](w.informers, cache.NamespaceIndex, id.Namespace) {
		if p.Name == id.Name {
			own = p
		}
		others = others || !belongsToSet(p)
	}
	return own, others
}

// restrictsEgress reports whether a policy restricts the egress of the Pods that it selects.
func restrictsEgress(p *networkingv1.NetworkPolicy) bool {
	return slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
}

// EgressRestricted reports whether a policy that belongs to no page set restricts the egress of Pods
// with these labels.
func (w *Policies) EgressRestricted(namespace string, pod map[string]string) bool {
	for _, p := range byIndex[*networkingv1.NetworkPolicy](w.informers, cache.NamespaceIndex, namespace) {
		selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if !belongsToSet(p) && restrictsEgress(p) && err == nil && selector.Matches(labels.Set(pod)) {
			return true
		}
	}
	return false
}
