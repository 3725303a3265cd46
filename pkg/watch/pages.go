package watch

import (
	"context"
	"sync"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
)

// byPageName indexes page ConfigMaps by namespace/name of the page.
const byPageName = "page-name"

// PagesConfig configures Pages. All fields are required.
type PagesConfig struct {
	Client     kubernetes.Interface
	Log        *zap.Logger
	Namespaces []string // "" means all
	// OnChange is called with each page that is added, changed or deleted: the namespace of its
	// ConfigMap, and the page's name. It must only enqueue.
	OnChange func(namespace, page string)
}

// Pages watches the ConfigMaps that people label as pages.
type Pages struct {
	config    PagesConfig
	informers informers
}

// NewPages returns a watch that has not started.
func NewPages(c PagesConfig) *Pages {
	p := &Pages{config: c}
	labelled := func(l *metav1.ListOptions) { l.LabelSelector = annotations.CustomPageLabel }
	for _, namespace := range c.Namespaces {
		p.informers = append(p.informers, coreinformers.NewFilteredConfigMapInformer(c.Client, namespace, 0, cache.Indexers{}, labelled))
	}
	p.informers.transform(c.Log, withoutManagedFields)
	p.informers.setUp(c.Log, cache.Indexers{byPageName: func(object any) ([]string, error) {
		if cm, ok := object.(*corev1.ConfigMap); ok {
			return []string{cm.Namespace + "/" + cm.Labels[annotations.CustomPageLabel]}, nil
		}
		return nil, nil
	}}, cache.ResourceEventHandlerFuncs{
		AddFunc:    p.changed,
		DeleteFunc: p.changed,
		UpdateFunc: func(before, now any) { // it may have had another page name
			p.changed(before)
			p.changed(now)
		},
	})
	return p
}

// Start watches until ctx ends. wg counts its goroutines.
func (p *Pages) Start(ctx context.Context, wg *sync.WaitGroup) { p.informers.start(ctx, wg) }

// HasSynced reports whether everything has been read once.
func (p *Pages) HasSynced() bool { return p.informers.synced() }

// Unsynced names what has not been read yet.
func (p *Pages) Unsynced() []string {
	if p.HasSynced() {
		return nil
	}
	return []string{"pages (configmaps)"}
}

func (p *Pages) changed(object any) {
	if cm, ok := eventObject[*corev1.ConfigMap](object); ok {
		p.config.OnChange(cm.Namespace, cm.Labels[annotations.CustomPageLabel])
	}
}

// Named lists the ConfigMaps of a namespace that hold the page of that name.
func (p *Pages) Named(namespace, page string) []*corev1.ConfigMap {
	return byIndex[*corev1.ConfigMap](p.informers, byPageName, namespace+"/"+page)
}
