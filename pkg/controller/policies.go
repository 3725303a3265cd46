package controller

import (
	"context"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	networkinginformers "k8s.io/client-go/informers/networking/v1"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
)

// policyWatch watches NetworkPolicies: whether a namespace has any, and ours.
// Without the feature it watches nothing and needs no rights.
type policyWatch struct {
	*Controller
	informers []cache.SharedIndexInformer
}

func newPolicyWatch(c *Controller) *policyWatch {
	w := &policyWatch{Controller: c}
	if c.Template.NetworkPolicy != pageset.PolicyAuto && c.Template.NetworkPolicy != pageset.PolicyAlways {
		return w
	}
	for _, namespace := range c.Namespaces {
		w.informers = append(w.informers, networkinginformers.NewNetworkPolicyInformer(c.Client, namespace, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}))
	}
	return w
}

func (w *policyWatch) start(ctx context.Context, wg *sync.WaitGroup) {
	for _, informer := range w.informers {
		w.ours.must(informer.SetTransform(reducePolicy))
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    w.changed,
			DeleteFunc: w.changed,
			UpdateFunc: func(_, now any) {
				if p, ok := now.(*networkingv1.NetworkPolicy); ok && labelled(p) {
					w.changed(p) // what others allow or deny is their business
				}
			},
		})
		w.ours.must(err)
		wg.Go(func() { informer.RunWithContext(ctx) })
	}
}

// reducePolicy keeps of another's policy that it is there.
func reducePolicy(object any) (any, error) {
	p, ok := object.(*networkingv1.NetworkPolicy)
	if !ok {
		return object, nil
	}
	if labelled(p) {
		p.ManagedFields = nil
		return p, nil
	}
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion}}, nil
}

func (w *policyWatch) hasSynced() []cache.InformerSynced {
	var all []cache.InformerSynced
	for _, informer := range w.informers {
		all = append(all, informer.HasSynced)
	}
	return all
}

// changed queues the set whose policy it is, or else every set of the namespace.
func (w *policyWatch) changed(object any) {
	if d, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = d.Obj
	}
	p, ok := object.(*networkingv1.NetworkPolicy)
	if !ok {
		return
	}
	for _, id := range w.ours.setsIn(p.Namespace) {
		if id.Name == p.Name || !labelled(p) {
			w.sets.Add(id)
		}
	}
}

func labelled(p *networkingv1.NetworkPolicy) bool {
	return p.Labels[annotations.ManagedByLabel] == annotations.ManagedBy
}

// Policy gives the NetworkPolicy that has the set's name, and whether the
// namespace has any that is not a page set's.
func (w *policyWatch) Policy(id pageset.ID) (own *networkingv1.NetworkPolicy, others bool) {
	for _, informer := range w.informers {
		objects, err := informer.GetIndexer().ByIndex(cache.NamespaceIndex, id.Namespace)
		if err != nil {
			continue // the index is there from the start
		}
		for _, object := range objects {
			p, ok := object.(*networkingv1.NetworkPolicy)
			if !ok {
				continue
			}
			if p.Name == id.Name {
				own = p
			}
			others = others || !labelled(p)
		}
	}
	return own, others
}
