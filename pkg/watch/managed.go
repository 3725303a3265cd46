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

// bySet indexes our objects by namespace and by the page set that their label names.
const bySet = "set"

// ManagedConfig configures Managed. All fields are required.
type ManagedConfig struct {
	Client     kubernetes.Interface
	Log        *zap.Logger
	Namespaces []string // "" means all
	// Started is closed when reconciles begin. Until then the users that a page set's used-by record
	// names are reported through OnTarget, so that a target is found even if its annotations were
	// removed while no controller ran. After that, claims notify the targets.
	Started <-chan struct{}
	// Installation whose page sets CountSets counts.
	Installation installation.Installation
	// OnSet and OnTarget are called with each page set and each target that a change concerns. They
	// must only enqueue.
	OnSet    func(pageset.ID)
	OnTarget func(target.Ref)
}

// Managed watches every object that carries our managed-by label: page sets with all their parts,
// backups, and origin Services.
type Managed struct {
	config                                         ManagedConfig
	configMaps, services, pods, endpoints, budgets informers
}

// NewManaged returns a watch that has not started.
func NewManaged(c ManagedConfig) *Managed {
	o := &Managed{config: c}
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
		all.setUp(c.Log, cache.Indexers{bySet: indexBySet}, o.handler())
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

// setOf returns the page set that an object's label names.
func setOf(m metav1.Object) pageset.ID {
	return pageset.ID{Namespace: m.GetNamespace(), Name: m.GetLabels()[annotations.PageSetLabel]}
}

func (o *Managed) all() map[string]informers {
	return map[string]informers{
		"configmaps": o.configMaps, "services": o.services, "pods": o.pods, "endpointslices": o.endpoints, "poddisruptionbudgets": o.budgets,
	}
}

// Start watches until ctx ends. wg counts its goroutines.
func (o *Managed) Start(ctx context.Context, wg *sync.WaitGroup) {
	for _, all := range o.all() {
		all.start(ctx, wg)
	}
}

// HasSynced reports whether everything has been read once.
func (o *Managed) HasSynced() bool { return len(o.Unsynced()) == 0 }

// Unsynced names the resources that have not been read yet, sorted.
func (o *Managed) Unsynced() []string {
	var names []string
	for name, all := range o.all() {
		if !all.synced() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (o *Managed) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    o.changed,
		DeleteFunc: o.changed,
		UpdateFunc: func(before, now any) {
			was, ok1 := before.(metav1.Object)
			is, ok2 := now.(metav1.Object)
			if ok1 && ok2 && setOf(was) != setOf(is) { // a backup has moved to another set: the old set has one user less
				o.changed(before)
			}
			o.changed(now)
		},
	}
}

// changed notifies the page set that the object belongs to. For a backup or an origin Service it
// also notifies the target, and for a page set's ConfigMap its users.
func (o *Managed) changed(object any) {
	m, ok := eventObject[metav1.Object](object)
	if !ok {
		return
	}
	if m.GetLabels()[annotations.ComponentLabel] == annotations.ComponentOrigin {
		if svc, ok := m.(*corev1.Service); ok {
			o.config.OnTarget(origin.Target(svc))
		}
		return // its EndpointSlices carry the same labels
	}
	o.config.OnSet(setOf(m))
	cm, ok := m.(*corev1.ConfigMap)
	switch {
	case !ok:
	case isBackup(cm):
		ref, _, _ := backup.Parse(cm)
		o.config.OnTarget(ref)
	default:
		select {
		case <-o.config.Started:
		default:
			for _, ref := range pageset.ParseUsedBy(cm.Namespace, cm.Annotations[annotations.UsedBy]) {
				o.config.OnTarget(ref)
			}
		}
	}
}

func isBackup(cm *corev1.ConfigMap) bool {
	return cm.Labels[annotations.ComponentLabel] == annotations.ComponentBackup
}

// Observe returns the parts of a page set that exist.
func (o *Managed) Observe(id pageset.ID) pageset.Observed {
	observed := pageset.Observed{
		Pods:   byIndex[*corev1.Pod](o.pods, bySet, id.String()),
		Slices: byIndex[*discoveryv1.EndpointSlice](o.endpoints, bySet, id.String()),
	}
	for _, cm := range byIndex[*corev1.ConfigMap](o.configMaps, bySet, id.String()) {
		if cm.Name == id.Name {
			observed.ConfigMap = cm
		}
	}
	for _, svc := range byIndex[*corev1.Service](o.services, bySet, id.String()) {
		if svc.Name == id.Name {
			observed.Service = svc
		}
	}
	return observed
}

// Budget returns the PodDisruptionBudget of a page set; nil if there is none.
func (o *Managed) Budget(id pageset.ID) *policyv1.PodDisruptionBudget {
	for _, b := range byIndex[*policyv1.PodDisruptionBudget](o.budgets, bySet, id.String()) {
		if b.Name == id.Name {
			return b
		}
	}
	return nil
}

// UsersByBackup lists the targets whose backup names the page set.
func (o *Managed) UsersByBackup(id pageset.ID) []target.Ref {
	var refs []target.Ref
	for _, cm := range byIndex[*corev1.ConfigMap](o.configMaps, bySet, id.String()) {
		if isBackup(cm) {
			ref, _, _ := backup.Parse(cm)
			refs = append(refs, ref)
		}
	}
	return refs
}

// Backup returns the backup ConfigMap of a target; nil if there is none.
func (o *Managed) Backup(ref target.Ref) *corev1.ConfigMap {
	if cm, ok := getByName[*corev1.ConfigMap](o.configMaps, ref.Namespace, backup.Name(ref)); ok && isBackup(cm) {
		return cm
	}
	return nil
}

// Origin returns the origin Service of a target; nil if there is none, or if it is being deleted.
func (o *Managed) Origin(ref target.Ref) *corev1.Service {
	svc, ok := getByName[*corev1.Service](o.services, ref.Namespace, origin.Name(ref))
	if ok && svc.DeletionTimestamp == nil && origin.Target(svc) == ref {
		return svc
	}
	return nil
}

// SetsIn lists the page sets of a namespace.
func (o *Managed) SetsIn(namespace string) []pageset.ID {
	var ids []pageset.ID
	for _, cm := range byIndex[*corev1.ConfigMap](o.configMaps, cache.NamespaceIndex, namespace) {
		if !isBackup(cm) {
			ids = append(ids, pageset.ID{Namespace: cm.Namespace, Name: cm.Name})
		}
	}
	return ids
}

// CountSets returns the number of page sets of the installation.
func (o *Managed) CountSets() int {
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
