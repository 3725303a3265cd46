package watch

import (
	"context"
	"slices"
	"sync"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	discoveryinformers "k8s.io/client-go/informers/discovery/v1"
	policyinformers "k8s.io/client-go/informers/policy/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// bySet indexes our objects by namespace and the set that their label names.
const bySet = "set"

// OwnConfig is what the watch of our own objects stands on.
type OwnConfig struct {
	Client     kubernetes.Interface
	Log        *zap.Logger
	Namespaces []string // "" is all of them
	// Begun is closed when reconciles begin. Until then the users that a set's
	// record names are told as targets: so one is found even if its annotations
	// were stripped while nobody watched. From then on claims tell.
	Begun <-chan struct{}
	// Installation whose page sets are counted.
	Installation installation.Installation
	// Set and Target are told of each page set and each target that a change concerns.
	Set    func(pageset.ID)
	Target func(target.Ref)
}

// Own watches everything of ours, by our label: page sets with all that belongs to
// them, backups, and origin Services.
type Own struct {
	config                                         OwnConfig
	configMaps, services, pods, endpoints, budgets informers
}

// NewOwn gives a watch that has not started.
func NewOwn(c OwnConfig) *Own {
	o := &Own{config: c}
	ours := func(l *metav1.ListOptions) {
		l.LabelSelector = annotations.ManagedByLabel + "=" + annotations.ManagedBy
	}
	for _, ns := range c.Namespaces {
		o.configMaps = append(o.configMaps, coreinformers.NewFilteredConfigMapInformer(c.Client, ns, 0, byNamespace(), ours))
		o.services = append(o.services, coreinformers.NewFilteredServiceInformer(c.Client, ns, 0, cache.Indexers{}, ours))
		o.pods = append(o.pods, coreinformers.NewFilteredPodInformer(c.Client, ns, 0, cache.Indexers{}, ours))
		o.endpoints = append(o.endpoints, discoveryinformers.NewFilteredEndpointSliceInformer(c.Client, ns, 0, cache.Indexers{}, ours))
		o.budgets = append(o.budgets, policyinformers.NewFilteredPodDisruptionBudgetInformer(c.Client, ns, 0, cache.Indexers{}, ours))
	}
	for _, all := range o.all() {
		all.transform(c.Log, withoutManagedFields)
		all.set(c.Log, cache.Indexers{bySet: indexBySet}, o.handler())
	}
	return o
}

func byNamespace() cache.Indexers {
	return cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
}

func indexBySet(object any) ([]string, error) {
	m, ok := object.(metav1.Object)
	if !ok {
		return nil, nil
	}
	return []string{setOf(m).String()}, nil
}

// setOf is the set that the label of an object names.
func setOf(m metav1.Object) pageset.ID {
	return pageset.ID{Namespace: m.GetNamespace(), Name: m.GetLabels()[annotations.PageSetLabel]}
}

func (o *Own) all() map[string]informers {
	return map[string]informers{
		"configmaps": o.configMaps, "services": o.services, "pods": o.pods, "endpointslices": o.endpoints, "poddisruptionbudgets": o.budgets,
	}
}

// Start watches until ctx ends.
func (o *Own) Start(ctx context.Context, wg *sync.WaitGroup) {
	for _, all := range o.all() {
		all.start(ctx, wg)
	}
}

// HasSynced says whether everything has been read once.
func (o *Own) HasSynced() bool { return len(o.Unsynced()) == 0 }

// Unsynced names what has not been read yet.
func (o *Own) Unsynced() []string {
	var names []string
	for name, all := range o.all() {
		if !all.synced() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (o *Own) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    o.changed,
		DeleteFunc: o.changed,
		UpdateFunc: func(before, now any) {
			was, ok1 := before.(metav1.Object)
			is, ok2 := now.(metav1.Object)
			if ok1 && ok2 && setOf(was) != setOf(is) { // a backup has moved on: its old set has a user less
				o.changed(before)
			}
			o.changed(now)
		},
	}
}

// changed tells the set that the object belongs to; of a backup and an origin
// Service also the target, of a set's ConfigMap those that it is used by.
func (o *Own) changed(object any) {
	m, ok := seen[metav1.Object](object)
	if !ok {
		return
	}
	if m.GetLabels()[annotations.ComponentLabel] == annotations.ComponentOrigin {
		if svc, ok := m.(*corev1.Service); ok {
			o.config.Target(origin.Target(svc))
		}
		return // its EndpointSlices have its labels
	}
	o.config.Set(setOf(m))
	cm, ok := m.(*corev1.ConfigMap)
	switch {
	case !ok:
	case isBackup(cm):
		ref, _, _ := backup.Parse(cm)
		o.config.Target(ref)
	default:
		select {
		case <-o.config.Begun:
		default:
			for _, ref := range pageset.Users(cm.Namespace, cm.Annotations[annotations.UsedBy]) {
				o.config.Target(ref)
			}
		}
	}
}

func isBackup(cm *corev1.ConfigMap) bool {
	return cm.Labels[annotations.ComponentLabel] == annotations.ComponentBackup
}

// Observe gives what there is of a set.
func (o *Own) Observe(id pageset.ID) pageset.Observed {
	observed := pageset.Observed{
		Pods:   indexed[*corev1.Pod](o.pods, bySet, id.String()),
		Slices: indexed[*discoveryv1.EndpointSlice](o.endpoints, bySet, id.String()),
	}
	for _, cm := range indexed[*corev1.ConfigMap](o.configMaps, bySet, id.String()) {
		if cm.Name == id.Name {
			observed.ConfigMap = cm
		}
	}
	for _, svc := range indexed[*corev1.Service](o.services, bySet, id.String()) {
		if svc.Name == id.Name {
			observed.Service = svc
		}
	}
	return observed
}

// Budget gives the PodDisruptionBudget of a set, nil if there is none.
func (o *Own) Budget(id pageset.ID) *policyv1.PodDisruptionBudget {
	for _, b := range indexed[*policyv1.PodDisruptionBudget](o.budgets, bySet, id.String()) {
		if b.Name == id.Name {
			return b
		}
	}
	return nil
}

// BackedUp lists the targets whose backup names the set.
func (o *Own) BackedUp(id pageset.ID) []target.Ref {
	var refs []target.Ref
	for _, cm := range indexed[*corev1.ConfigMap](o.configMaps, bySet, id.String()) {
		if isBackup(cm) {
			ref, _, _ := backup.Parse(cm)
			refs = append(refs, ref)
		}
	}
	return refs
}

// Backup gives the backup ConfigMap of a target, nil if there is none.
func (o *Own) Backup(ref target.Ref) *corev1.ConfigMap {
	if cm, ok := named[*corev1.ConfigMap](o.configMaps, ref.Namespace, backup.Name(ref)); ok && isBackup(cm) {
		return cm
	}
	return nil
}

// Origin gives the origin Service of a target, nil if there is none.
func (o *Own) Origin(ref target.Ref) *corev1.Service {
	svc, ok := named[*corev1.Service](o.services, ref.Namespace, origin.Name(ref))
	if ok && svc.DeletionTimestamp == nil && origin.Target(svc) == ref {
		return svc
	}
	return nil
}

// SetsIn lists the page sets of a namespace.
func (o *Own) SetsIn(namespace string) []pageset.ID {
	var ids []pageset.ID
	for _, cm := range indexed[*corev1.ConfigMap](o.configMaps, cache.NamespaceIndex, namespace) {
		if !isBackup(cm) {
			ids = append(ids, pageset.ID{Namespace: cm.Namespace, Name: cm.Name})
		}
	}
	return ids
}

// Sets counts the page sets of the installation.
func (o *Own) Sets() int {
	n := 0
	for _, informer := range o.configMaps {
		for _, object := range informer.GetStore().List() {
			if cm, ok := object.(*corev1.ConfigMap); ok && !isBackup(cm) && o.config.Installation.Owns(installation.Of(cm)) {
				n++
			}
		}
	}
	return n
}
