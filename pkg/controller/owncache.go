package controller

import (
	"context"
	"slices"
	"sync"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// bySet indexes our objects by namespace and the set that their label names.
const bySet = "set"

// ownCache watches everything of ours, by our label.
type ownCache struct {
	*Controller
	factories  []informers.SharedInformerFactory
	configMaps []cache.SharedIndexInformer
	services   []cache.SharedIndexInformer
	pods       []cache.SharedIndexInformer
	endpoints  []cache.SharedIndexInformer
	budgets    []cache.SharedIndexInformer
}

func newOwnCache(c *Controller) *ownCache {
	o := &ownCache{Controller: c}
	for _, namespace := range c.Namespaces {
		f := informers.NewSharedInformerFactoryWithOptions(c.Client, 0,
			informers.WithNamespace(namespace),
			informers.WithTransform(withoutManagedFields),
			informers.WithTweakListOptions(func(l *metav1.ListOptions) {
				l.LabelSelector = annotations.ManagedByLabel + "=" + annotations.ManagedBy
			}))
		o.factories = append(o.factories, f)
		o.configMaps = append(o.configMaps, f.Core().V1().ConfigMaps().Informer())
		o.services = append(o.services, f.Core().V1().Services().Informer())
		o.pods = append(o.pods, f.Core().V1().Pods().Informer())
		o.endpoints = append(o.endpoints, f.Discovery().V1().EndpointSlices().Informer())
		o.budgets = append(o.budgets, f.Policy().V1().PodDisruptionBudgets().Informer())
	}
	return o
}

func withoutManagedFields(object any) (any, error) {
	if m, err := meta.Accessor(object); err == nil {
		m.SetManagedFields(nil)
	}
	return object, nil
}

func (o *ownCache) all() []cache.SharedIndexInformer {
	var all []cache.SharedIndexInformer
	for _, list := range [][]cache.SharedIndexInformer{o.configMaps, o.services, o.pods, o.endpoints, o.budgets} {
		all = append(all, list...)
	}
	return all
}

func (o *ownCache) start(ctx context.Context, wg *sync.WaitGroup) {
	index := cache.Indexers{bySet: func(object any) ([]string, error) {
		m, err := meta.Accessor(object)
		if err != nil {
			return nil, err
		}
		return []string{m.GetNamespace() + "/" + m.GetLabels()[annotations.PageSetLabel]}, nil
	}}
	for _, informer := range o.all() {
		o.must(informer.AddIndexers(index))
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: o.changed,
			UpdateFunc: func(before, now any) {
				if setLabel(before) != setLabel(now) { // a backup has moved on: its old set has a user less
					o.changed(before)
				}
				o.changed(now)
			},
			DeleteFunc: o.changed,
		})
		o.must(err)
	}
	for _, f := range o.factories {
		f.Start(ctx.Done())
		wg.Go(func() { <-ctx.Done(); f.Shutdown() })
	}
}

// setLabel gives the set that the label of an object names.
func setLabel(object any) string {
	m, err := meta.Accessor(object)
	if err != nil {
		return ""
	}
	return m.GetLabels()[annotations.PageSetLabel]
}

// must: adding a handler or an index fails only on an informer that has stopped.
func (o *ownCache) must(err error) {
	if err != nil {
		o.Log.Error("informer refused to be set up", zap.Error(err))
	}
}

func (o *ownCache) hasSynced() []cache.InformerSynced {
	var all []cache.InformerSynced
	for _, informer := range o.all() {
		all = append(all, informer.HasSynced)
	}
	return all
}

// changed queues the set that the object belongs to; a backup and an origin
// Service queue their target, a set's ConfigMap those that it is used by: so a target is found even
// if its annotations were stripped while nobody watched.
func (o *ownCache) changed(object any) {
	if d, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = d.Obj
	}
	m, err := meta.Accessor(object)
	if err != nil {
		return
	}
	if m.GetLabels()[annotations.ComponentLabel] == annotations.ComponentOrigin {
		if svc, ok := object.(*corev1.Service); ok {
			o.targets.Add(origin.Target(svc))
		}
		return // its EndpointSlices have its labels
	}
	id := pageset.ID{Namespace: m.GetNamespace(), Name: m.GetLabels()[annotations.PageSetLabel]}
	o.sets.Add(id)
	cm, ok := object.(*corev1.ConfigMap)
	switch {
	case !ok:
	case isBackup(cm):
		ref, _, _ := backup.Parse(cm)
		o.targets.Add(ref)
	default:
		select {
		case <-o.synced: // claims tell from here on
		default:
			o.queueTargets(pageset.Users(cm.Namespace, cm.Annotations[annotations.UsedBy]))
		}
	}
}

func isBackup(cm *corev1.ConfigMap) bool {
	return cm.Labels[annotations.ComponentLabel] == annotations.ComponentBackup
}

// unsynced names what has not been read yet.
func (o *ownCache) unsynced() []string {
	var names []string
	for name, informers := range map[string][]cache.SharedIndexInformer{
		"configmaps": o.configMaps, "services": o.services, "pods": o.pods, "endpointslices": o.endpoints, "poddisruptionbudgets": o.budgets, "networkpolicies": o.policies.informers, "pages (configmaps)": o.pages.informers,
	} {
		for _, informer := range informers {
			if !informer.HasSynced() && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func indexed[T any](informers []cache.SharedIndexInformer, id pageset.ID) []T {
	var out []T
	for _, informer := range informers {
		objects, err := informer.GetIndexer().ByIndex(bySet, id.String())
		if err != nil {
			continue // the index is there from the start
		}
		for _, object := range objects {
			if t, ok := object.(T); ok {
				out = append(out, t)
			}
		}
	}
	return out
}

// Observe gives what there is of a set.
func (o *ownCache) Observe(id pageset.ID) pageset.Observed {
	seen := pageset.Observed{
		Pods:   indexed[*corev1.Pod](o.pods, id),
		Slices: indexed[*discoveryv1.EndpointSlice](o.endpoints, id),
	}
	for _, cm := range indexed[*corev1.ConfigMap](o.configMaps, id) {
		if cm.Name == id.Name {
			seen.ConfigMap = cm
		}
	}
	for _, svc := range indexed[*corev1.Service](o.services, id) {
		if svc.Name == id.Name {
			seen.Service = svc
		}
	}
	return seen
}

// Budget gives the PodDisruptionBudget of a set.
func (o *ownCache) Budget(id pageset.ID) *policyv1.PodDisruptionBudget {
	for _, b := range indexed[*policyv1.PodDisruptionBudget](o.budgets, id) {
		if b.Name == id.Name {
			return b
		}
	}
	return nil
}

// Users gives the targets whose annotation, or whose backup, names the set.
func (o *ownCache) Users(id pageset.ID) []target.Ref {
	users := o.watches.users(id)
	for _, cm := range indexed[*corev1.ConfigMap](o.configMaps, id) {
		if isBackup(cm) {
			ref, _, _ := backup.Parse(cm)
			users = append(users, ref)
		}
	}
	return users
}

// backupOf gives the backup ConfigMap of a target.
func (o *ownCache) backupOf(ref target.Ref) *corev1.ConfigMap {
	for _, informer := range o.configMaps {
		object, ok, err := informer.GetIndexer().GetByKey(ref.Namespace + "/" + backup.Name(ref))
		if cm, is := object.(*corev1.ConfigMap); err == nil && ok && is && isBackup(cm) {
			return cm
		}
	}
	return nil
}

// originOf gives the origin Service of a target.
func (o *ownCache) originOf(ref target.Ref) *corev1.Service {
	for _, informer := range o.services {
		object, ok, err := informer.GetIndexer().GetByKey(ref.Namespace + "/" + origin.Name(ref))
		if svc, is := object.(*corev1.Service); err == nil && ok && is && svc.DeletionTimestamp == nil && origin.Target(svc) == ref {
			return svc
		}
	}
	return nil
}

// Policy gives what the watch of NetworkPolicies has seen.
func (o *ownCache) Policy(id pageset.ID) (own *networkingv1.NetworkPolicy, others bool) {
	return o.policies.Policy(id)
}

// setsIn lists the page sets of a namespace.
func (o *ownCache) setsIn(namespace string) []pageset.ID {
	var ids []pageset.ID
	for _, informer := range o.configMaps {
		objects, err := informer.GetIndexer().ByIndex(cache.NamespaceIndex, namespace)
		if err != nil {
			continue // the index is there from the start
		}
		for _, object := range objects {
			if cm, ok := object.(*corev1.ConfigMap); ok && !isBackup(cm) {
				ids = append(ids, pageset.ID{Namespace: cm.Namespace, Name: cm.Name})
			}
		}
	}
	return ids
}

// count gives how many page sets there are.
func (o *ownCache) count() int {
	n := 0
	for _, informer := range o.configMaps {
		for _, object := range informer.GetStore().List() {
			if cm, ok := object.(*corev1.ConfigMap); ok && !isBackup(cm) {
				n++
			}
		}
	}
	return n
}
