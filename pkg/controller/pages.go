package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/target"
)

// byPageName indexes page ConfigMaps by namespace/name of the page.
const byPageName = "page-name"

// pageBook knows the pages: the built-in one and the ConfigMaps that people label.
type pageBook struct {
	*Controller
	factories []informers.SharedInformerFactory
	informers []cache.SharedIndexInformer

	mu       sync.Mutex
	resolved map[pageKey]resolved
}

type pageKey struct{ namespace, name string }

// resolved is a page in full, with what a decision needs to know of it.
type resolved struct {
	plan.Page
	content page.Page
}

func newPageBook(c *Controller) *pageBook {
	b := &pageBook{Controller: c, resolved: map[pageKey]resolved{}}
	namespaces := []string{c.OwnNamespace}
	if c.NamespacePages {
		namespaces = append(namespaces, c.Namespaces...)
		if slices.Contains(namespaces, "") {
			namespaces = []string{""}
		}
	}
	slices.Sort(namespaces)
	for _, namespace := range slices.Compact(namespaces) {
		f := informers.NewSharedInformerFactoryWithOptions(c.Client, 0,
			informers.WithNamespace(namespace),
			informers.WithTransform(withoutManagedFields),
			informers.WithTweakListOptions(func(l *metav1.ListOptions) { l.LabelSelector = annotations.CustomPageLabel }))
		b.factories = append(b.factories, f)
		b.informers = append(b.informers, f.Core().V1().ConfigMaps().Informer())
	}
	return b
}

func (b *pageBook) start(ctx context.Context, wg *sync.WaitGroup) {
	index := cache.Indexers{byPageName: func(object any) ([]string, error) {
		m, err := meta.Accessor(object)
		if err != nil {
			return nil, err
		}
		return []string{m.GetNamespace() + "/" + m.GetLabels()[annotations.CustomPageLabel]}, nil
	}}
	for i, informer := range b.informers {
		b.ours.must(informer.AddIndexers(index))
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: b.changed,
			UpdateFunc: func(before, now any) {
				b.changed(before)
				b.changed(now)
			},
			DeleteFunc: b.changed,
		})
		b.ours.must(err)
		f := b.factories[i]
		f.Start(ctx.Done())
		wg.Go(func() { <-ctx.Done(); f.Shutdown() })
	}
}

func (b *pageBook) hasSynced() []cache.InformerSynced {
	var all []cache.InformerSynced
	for _, informer := range b.informers {
		all = append(all, informer.HasSynced)
	}
	return all
}

// changed forgets what was resolved, and queues the targets that a change of
// the page concerns, after a while in which further changes are gathered. Every
// page is filled from the default page, so a change of that concerns all.
func (b *pageBook) changed(object any) {
	if d, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = d.Obj
	}
	cm, ok := object.(*corev1.ConfigMap)
	if !ok {
		return
	}
	b.mu.Lock()
	clear(b.resolved)
	b.mu.Unlock()
	name := cm.Labels[annotations.CustomPageLabel]
	b.watches.each(concerned, concerned, func(k target.Kind, m *metav1.PartialObjectMetadata) {
		req, _ := b.Keys.Parse(m.Annotations)
		near := cm.Namespace == b.OwnNamespace || cm.Namespace == m.Namespace
		if req.On && near && (name == req.Page || name == annotations.DefaultPage) {
			b.targets.AddAfter(target.Ref{Kind: k.Name, Namespace: m.Namespace, Name: m.Name}, b.Debounce)
		}
	})
}

// resolve finds the page that a target in the namespace gets by that name. It
// always gives one: the default page if there is a problem with the one asked for.
func (b *pageBook) resolve(namespace, name string) resolved {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := pageKey{namespace, name}
	if r, ok := b.resolved[key]; ok {
		return r
	}
	r := b.find(namespace, name)
	b.resolved[key] = r
	return r
}

// find looks in the target's namespace first, then in the controller's. The
// default page is the controller's alone: an app team must not replace it.
func (b *pageBook) find(namespace, name string) resolved {
	standard, problem := b.BuiltIn, ""
	if cm := b.oldest(b.OwnNamespace, annotations.DefaultPage); cm != nil {
		p, err := read(cm, b.BuiltIn)
		if err == nil {
			standard = p
		} else {
			problem = fmt.Sprintf("page %q (ConfigMap %s/%s) cannot be used: %v", annotations.DefaultPage, cm.Namespace, cm.Name, err)
		}
	}
	fallback := resolved{content: standard, Page: plan.Page{Set: page.SetName(standard.Hash()), Name: annotations.DefaultPage, Problem: problem}}
	if name == annotations.DefaultPage {
		if b.NamespacePages && namespace != b.OwnNamespace {
			if cm := b.oldest(namespace, name); cm != nil {
				b.warn(cm, "page %q is reserved to namespace %s, and is not shown from here: give it another name", name, b.OwnNamespace)
			}
		}
		return fallback
	}
	var cm *corev1.ConfigMap
	where := b.OwnNamespace
	if b.NamespacePages {
		cm = b.oldest(namespace, name)
		where = namespace + " or " + where
	}
	if cm == nil {
		cm = b.oldest(b.OwnNamespace, name)
	}
	if cm == nil {
		fallback.Problem = fmt.Sprintf("annotation %s names page %q, which is not there: make a ConfigMap labelled %s=%s in namespace %s",
			b.Keys.CustomPage, annotations.Clip(name), annotations.CustomPageLabel, annotations.Clip(name), where)
		return fallback
	}
	p, err := read(cm, standard)
	if err != nil {
		fallback.Problem = fmt.Sprintf("page %q (ConfigMap %s/%s) cannot be used: %v", annotations.Clip(name), cm.Namespace, cm.Name, err)
		return fallback
	}
	return resolved{content: p, Page: plan.Page{Set: page.SetName(p.Hash()), Name: name}}
}

// read gives the whole page of a ConfigMap, what is missing taken from standard.
func read(cm *corev1.ConfigMap, standard page.Page) (page.Page, error) {
	for key := range cm.BinaryData {
		return page.Page{}, fmt.Errorf("key %q is binary: save it as UTF-8 text", key)
	}
	p, err := page.Parse(cm.Data)
	if err != nil {
		return page.Page{}, err
	}
	p = p.WithDefaults(standard)
	if _, err := page.Parse(p.Data()); err != nil { // too large together with what it is filled with
		return page.Page{}, err
	}
	return p, nil
}

// oldest gives the ConfigMap that holds a page. Of several the oldest wins, and
// each of the others is told so.
func (b *pageBook) oldest(namespace, name string) *corev1.ConfigMap {
	var all []*corev1.ConfigMap
	for _, informer := range b.informers {
		objects, err := informer.GetIndexer().ByIndex(byPageName, namespace+"/"+name)
		if err != nil {
			continue // the index is there from the start
		}
		for _, object := range objects {
			if cm, ok := object.(*corev1.ConfigMap); ok {
				all = append(all, cm)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(x, y *corev1.ConfigMap) int {
		return cmp.Or(x.CreationTimestamp.Compare(y.CreationTimestamp.Time), cmp.Compare(x.Name, y.Name))
	})
	for _, cm := range all[1:] {
		b.warn(cm, "page %q is also in ConfigMap %s, which is older and is the one that is shown: rename one of them", name, all[0].Name)
	}
	return all[0]
}

// warn tells the author of a page, on its ConfigMap.
func (b *pageBook) warn(cm *corev1.ConfigMap, format string, args ...any) {
	b.Recorder.Eventf(&corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: cm.Namespace, Name: cm.Name, UID: cm.UID},
		corev1.EventTypeWarning, string(plan.NameConflict), "%s", annotations.Line(fmt.Sprintf(format, args...), annotations.MaxMessage))
}
