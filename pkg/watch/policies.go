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

// PoliciesConfig is what the watch of NetworkPolicies stands on.
type PoliciesConfig struct {
	Client     kubernetes.Interface
	Log        *zap.Logger
	Namespaces []string // "" is all of them
	// Mode is when page sets have a NetworkPolicy. Where they never have, nothing
	// is watched and no rights are needed.
	Mode pageset.PolicyMode
	// Changed is told of a policy of ours, by the name of its set, and with an empty
	// set when another's policy has come or gone: every set of the namespace is
	// concerned then.
	Changed func(namespace, set string)
}

// Policies watches NetworkPolicies: whether a namespace has any, and ours.
type Policies struct {
	config    PoliciesConfig
	informers informers
}

// NewPolicies gives a watch that has not started.
func NewPolicies(c PoliciesConfig) *Policies {
	w := &Policies{config: c}
	if c.Mode != pageset.PolicyAuto && c.Mode != pageset.PolicyAlways {
		return w
	}
	for _, namespace := range c.Namespaces {
		w.informers = append(w.informers, networkinginformers.NewNetworkPolicyInformer(c.Client, namespace, 0, byNamespace()))
	}
	w.informers.transform(c.Log, reducePolicy)
	w.informers.set(c.Log, nil, cache.ResourceEventHandlerFuncs{
		AddFunc:    w.changed,
		DeleteFunc: w.changed,
		UpdateFunc: func(before, now any) {
			was, ok1 := before.(*networkingv1.NetworkPolicy)
			p, ok2 := now.(*networkingv1.NetworkPolicy)
			if ok1 && ok2 && (ofSet(p) || !equality.Semantic.DeepEqual(was.Spec, p.Spec)) {
				w.changed(p) // what else others allow or deny is their business
			}
		},
	})
	return w
}

// reducePolicy keeps of another's policy that it is there, and of which Pods it keeps in
// what they begin.
func reducePolicy(object any) (any, error) {
	p, ok := object.(*networkingv1.NetworkPolicy)
	if !ok {
		return object, nil
	}
	if ofSet(p) {
		p.ManagedFields = nil
		return p, nil
	}
	reduced := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion}}
	if isolates(p) {
		reduced.Spec.PodSelector, reduced.Spec.PolicyTypes = p.Spec.PodSelector, []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
	}
	return reduced, nil
}

// Start watches until ctx ends.
func (w *Policies) Start(ctx context.Context, wg *sync.WaitGroup) { w.informers.start(ctx, wg) }

// HasSynced says whether everything has been read once.
func (w *Policies) HasSynced() bool { return w.informers.synced() }

// Unsynced names what has not been read yet.
func (w *Policies) Unsynced() []string {
	if w.HasSynced() {
		return nil
	}
	return []string{"networkpolicies"}
}

func (w *Policies) changed(object any) {
	p, ok := seen[*networkingv1.NetworkPolicy](object)
	switch {
	case !ok:
	case ofSet(p):
		w.config.Changed(p.Namespace, p.Name)
	default:
		w.config.Changed(p.Namespace, "")
	}
}

// ofSet says whether the policy is a page set's, also if somebody took its labels off.
func ofSet(p *networkingv1.NetworkPolicy) bool {
	return p.Labels[annotations.ManagedByLabel] == annotations.ManagedBy || page.IsSetName(p.Name)
}

// Policy gives the NetworkPolicy that has the set's name, nil if there is none, and
// whether the namespace has any that is not a page set's.
func (w *Policies) Policy(id pageset.ID) (own *networkingv1.NetworkPolicy, others bool) {
	for _, p := range indexed[*networkingv1.NetworkPolicy](w.informers, cache.NamespaceIndex, id.Namespace) {
		if p.Name == id.Name {
			own = p
		}
		others = others || !ofSet(p)
	}
	return own, others
}

// isolates says whether a policy keeps in what its Pods begin.
func isolates(p *networkingv1.NetworkPolicy) bool {
	return slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
}

// Isolated says whether a policy that is not a page set's keeps in what Pods with these
// labels begin.
func (w *Policies) Isolated(namespace string, pod map[string]string) bool {
	for _, p := range indexed[*networkingv1.NetworkPolicy](w.informers, cache.NamespaceIndex, namespace) {
		selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if !ofSet(p) && isolates(p) && err == nil && selector.Matches(labels.Set(pod)) {
			return true
		}
	}
	return false
}
