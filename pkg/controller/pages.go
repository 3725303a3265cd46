package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	standard, problem, broken := b.BuiltIn, "", ""
	own, rivals := b.oldest(b.OwnNamespace, annotations.DefaultPage)
	if own != nil {
		p, faults, err := read(own, b.BuiltIn)
		if err == nil {
			standard, broken = p, brokenFormats(own, annotations.DefaultPage, faults)
		} else {
			problem = fmt.Sprintf("page %q (ConfigMap %s/%s) cannot be used: %v", annotations.DefaultPage, own.Namespace, own.Name, err)
		}
	}
	fallback := resolved{content: standard, Page: plan.Page{Set: page.SetName(standard.Hash()), Name: annotations.DefaultPage, Problem: problem, Broken: broken, Rivals: rivals}}
	if name == annotations.DefaultPage {
		if b.NamespacePages && namespace != b.OwnNamespace {
			if cm, _ := b.oldest(namespace, name); cm != nil {
				b.warn(cm, "page %q is reserved to namespace %s, and is not shown from here: give it another name", name, b.OwnNamespace)
			}
		}
		return fallback
	}
	var cm *corev1.ConfigMap
	where := b.OwnNamespace
	if b.NamespacePages {
		cm, rivals = b.oldest(namespace, name)
		where = namespace + " or " + where
	}
	if cm == nil {
		cm, rivals = b.oldest(b.OwnNamespace, name)
	}
	if cm == nil {
		fallback.Problem = fmt.Sprintf("annotation %s names page %q, which is not there: make a ConfigMap labelled %s=%s in namespace %s",
			b.Keys.CustomPage, annotations.Clip(name), annotations.CustomPageLabel, annotations.Clip(name), where)
		return fallback
	}
	p, faults, err := read(cm, standard)
	if err != nil {
		fallback.Problem = fmt.Sprintf("page %q (ConfigMap %s/%s) cannot be used: %v", annotations.Clip(name), cm.Namespace, cm.Name, err)
		fallback.Rivals = rivals
		return fallback
	}
	return resolved{content: p, Page: plan.Page{Set: page.SetName(p.Hash()), Name: name, Broken: brokenFormats(cm, name, faults), Rivals: rivals}}
}

// brokenFormats says which formats of a page are not shown, and why.
func brokenFormats(cm *corev1.ConfigMap, name string, faults []page.Fault) string {
	if len(faults) == 0 {
		return ""
	}
	var formats, why []string
	for _, f := range faults {
		formats, why = append(formats, f.Format), append(why, f.Error())
	}
	return fmt.Sprintf("page %q (ConfigMap %s/%s) is shown without its own %s: %s", annotations.Clip(name), cm.Namespace, cm.Name, strings.Join(formats, ", "), strings.Join(why, "; "))
}

// read gives the whole page of a ConfigMap, what is missing taken from standard, and
// what of it is broken and therefore taken from standard as well.
func read(cm *corev1.ConfigMap, standard page.Page) (page.Page, []page.Fault, error) {
	data := make(map[string]string, len(cm.Data)+len(cm.BinaryData))
	maps.Copy(data, cm.Data)
	for key, value := range cm.BinaryData { // kubectl puts there what is not UTF-8
		data[key] = string(value)
	}
	p, faults, err := page.Read(data)
	if err != nil {
		return page.Page{}, nil, err
	}
	p = p.WithDefaults(standard)
	if _, err := page.Parse(p.Data()); err != nil { // too large together with what it is filled with
		return page.Page{}, nil, err
	}
	return p, faults, nil
}

// oldest gives the ConfigMap that holds a page. Of several the oldest wins: a rollback
// that applies an older one again must not lose to it. Each of the others is told so,
// and rivals says it to whoever asked for the page.
func (b *pageBook) oldest(namespace, name string) (cm *corev1.ConfigMap, rivals string) {
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
		return nil, ""
	}
	slices.SortFunc(all, func(x, y *corev1.ConfigMap) int {
		return cmp.Or(x.CreationTimestamp.Compare(y.CreationTimestamp.Time), cmp.Compare(x.Name, y.Name))
	})
	if len(all) == 1 {
		return all[0], ""
	}
	for _, cm := range all[1:] {
		b.warn(cm, "page %q is also in ConfigMap %s, which is older and is the one that is shown: rename one of them", name, all[0].Name)
	}
	return all[0], fmt.Sprintf("page %q is in %d ConfigMaps of namespace %s: the oldest, %s, is shown, and the newest, %s, is not; delete those that are not meant (kustomize makes a new one of each version unless disableNameSuffixHash is set)",
		annotations.Clip(name), len(all), namespace, all[0].Name, all[len(all)-1].Name)
}

// warn tells the author of a page, on its ConfigMap.
func (b *pageBook) warn(cm *corev1.ConfigMap, format string, args ...any) {
	b.Recorder.Eventf(&corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: cm.Namespace, Name: cm.Name, UID: cm.UID},
		corev1.EventTypeWarning, string(plan.NameConflict), "%s", annotations.Line(fmt.Sprintf(format, args...), annotations.MaxMessage))
}
