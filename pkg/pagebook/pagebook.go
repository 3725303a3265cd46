// Package pagebook knows the pages: the built-in one, and those in the ConfigMaps
// that people label. It says which one a target gets, and why not the one it asks for.
package pagebook

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/plan"
)

// Source lists the ConfigMaps of a namespace that hold the page of a name.
type Source interface {
	Named(namespace, page string) []*corev1.ConfigMap
}

// Config is what a Book stands on.
type Config struct {
	Source Source
	// Recorder tells authors what is wrong with a page, on its ConfigMap.
	Recorder record.EventRecorder
	// OwnNamespace is where the pages for all namespaces are.
	OwnNamespace string
	// NamespacePages lets pages in a target's own namespace count, before those.
	NamespacePages bool
	// BuiltIn is the default page where nobody has made another, and fills the
	// formats that a page does not have.
	BuiltIn page.Page
	// Ending is the built-in page of a maintenance that ends by itself then, in BuiltIn's
	// place; nil for BuiltIn.
	Ending func(until time.Time) page.Page
	// CustomPage is the annotation that names a page, for messages.
	CustomPage string
	// Installation whose page sets show the pages.
	Installation installation.Installation
}

// Book knows the pages.
type Book struct {
	config Config
	mu     sync.Mutex
	// resolved has an entry for each place where a page is, and none for names that
	// people write: of those there is no end.
	resolved map[Place]Resolved
	// ending are pages of maintenances that end by themselves. Of ends there is no end
	// either, so that no more than mostEnding are kept.
	ending map[at]Resolved
}

// at is a place, and when the maintenance ends that its page is for; zero for no end.
type at struct {
	Place
	until time.Time
}

// mostEnding is for how many ends a page is kept: each has bodies of its own, of 100 KiB.
const mostEnding = 64

// Resolved is a page in full, with what a decision needs to know of it.
type Resolved struct {
	plan.Page
	Content page.Page
}

// New gives a Book.
func New(c Config) *Book {
	return &Book{config: c, resolved: map[Place]Resolved{}, ending: map[at]Resolved{}}
}

// Namespaces lists where pages may be, for a controller that serves these: "" is all.
func (c Config) Namespaces(served []string) []string {
	all := []string{c.OwnNamespace}
	if c.NamespacePages {
		all = append(all, served...)
	}
	if slices.Contains(all, "") {
		return []string{""}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Place is where a page is, or is looked for: a namespace, and the page's name.
type Place struct{ Namespace, Page string }

// Concerns says whether the change of a page can matter to who looks for one. Every
// page is filled from the default page, so a change of that matters to all.
func (b *Book) Concerns(changed, asked Place) bool {
	near := changed.Namespace == b.config.OwnNamespace || changed.Namespace == asked.Namespace
	return near && (changed.Page == asked.Page || changed.Page == annotations.DefaultPage)
}

// Forget what has been resolved: some page has changed.
func (b *Book) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.resolved)
	clear(b.ending)
}

// Resolve finds the page that a target in the namespace gets by that name, in a
// maintenance that ends by itself at a time, or zero for no end. It always gives one: the
// default page if there is a problem with the one asked for.
func (b *Book) Resolve(namespace, name string, until time.Time) Resolved {
	b.mu.Lock()
	defer b.mu.Unlock()
	place, there := b.place(namespace, name)
	r := b.resolve(at{place, page.Minute(until)})
	if !there {
		r.Problem = b.missing(namespace, name)
	}
	return r
}

func (b *Book) resolve(key at) Resolved {
	r, ok := b.resolved[key.Place]
	if !key.until.IsZero() {
		r, ok = b.ending[key]
	}
	if ok {
		return r
	}
	r = b.find(key)
	if key.until.IsZero() {
		b.resolved[key.Place] = r
		return r
	}
	if len(b.ending) >= mostEnding {
		clear(b.ending)
	}
	b.ending[key] = r
	return r
}

// place gives where the page is: in the target's namespace, or else in the controller's.
// A page that is in neither is not there, and the default page's place is given.
func (b *Book) place(namespace, name string) (place Place, there bool) {
	standard := Place{b.config.OwnNamespace, annotations.DefaultPage}
	if b.config.NamespacePages && len(b.config.Source.Named(namespace, name)) > 0 {
		return Place{namespace, name}, true
	}
	if name == annotations.DefaultPage || len(b.config.Source.Named(b.config.OwnNamespace, name)) > 0 {
		return Place{b.config.OwnNamespace, name}, true
	}
	return standard, false
}

func (b *Book) missing(namespace, name string) string {
	where := b.config.OwnNamespace
	if b.config.NamespacePages {
		where = namespace + " or " + where
	}
	return fmt.Sprintf("annotation %s names page %q, which is not there: make a ConfigMap labelled %s=%s in namespace %s",
		b.config.CustomPage, annotations.Clip(name), annotations.CustomPageLabel, annotations.Clip(name), where)
}

// shown is a page as its targets get it.
func (b *Book) shown(content page.Page, until time.Time, of plan.Page) Resolved {
	content.Until = until
	of.Hash = content.Hash()
	of.Set = b.config.Installation.SetName(of.Hash)
	return Resolved{Content: content, Page: of}
}

// Of gives what a decision needs to know of a page whose content has been changed for who
// looks at it.
func (b *Book) Of(p plan.Page, content page.Page) plan.Page {
	return b.shown(content, content.Until, p).Page
}

// find reads the page of a place. The default page is the controller's alone: an app
// team must not replace it.
func (b *Book) find(at at) Resolved {
	namespace, name := at.Namespace, at.Page
	builtIn := b.config.BuiltIn
	if b.config.Ending != nil && !at.until.IsZero() {
		builtIn = b.config.Ending(at.until)
	}
	standard, problem, broken := builtIn, "", ""
	own, rivals := b.oldest(b.config.OwnNamespace, annotations.DefaultPage)
	if own != nil {
		p, faults, err := read(own, builtIn)
		if err == nil {
			standard, broken = p, brokenFormats(own, annotations.DefaultPage, faults)
		} else {
			problem = fmt.Sprintf("page %q (ConfigMap %s/%s) cannot be used: %v", annotations.DefaultPage, own.Namespace, own.Name, err)
		}
	}
	fallback := b.shown(standard, at.until, plan.Page{Name: annotations.DefaultPage, Problem: problem, Broken: broken, Rivals: rivals})
	if name == annotations.DefaultPage {
		if b.config.NamespacePages && namespace != b.config.OwnNamespace {
			if cm, _ := b.oldest(namespace, name); cm != nil {
				b.warn(cm, "page %q is reserved to namespace %s, and is not shown from here: give it another name", name, b.config.OwnNamespace)
			}
		}
		return fallback
	}
	cm, rivals := b.oldest(namespace, name)
	if cm == nil { // it went this moment: the watch is about to tell
		fallback.Problem = b.missing(namespace, name)
		return fallback
	}
	p, faults, err := read(cm, standard)
	if err != nil {
		fallback.Problem = fmt.Sprintf("page %q (ConfigMap %s/%s) cannot be used: %v", annotations.Clip(name), cm.Namespace, cm.Name, err)
		fallback.Rivals = rivals
		return fallback
	}
	return b.shown(p, at.until, plan.Page{Name: name, Broken: brokenFormats(cm, name, faults), Rivals: rivals})
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
	p, err = p.Filled(standard)
	return p, faults, err
}

// oldest gives the ConfigMap that holds a page. Of several the oldest wins: a rollback
// that applies an older one again must not lose to it. Each of the others is told so,
// and rivals says it to whoever asked for the page.
func (b *Book) oldest(namespace, name string) (cm *corev1.ConfigMap, rivals string) {
	all := slices.Clone(b.config.Source.Named(namespace, name))
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
func (b *Book) warn(cm *corev1.ConfigMap, format string, args ...any) {
	b.config.Recorder.Eventf(&corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: cm.Namespace, Name: cm.Name, UID: cm.UID},
		corev1.EventTypeWarning, string(plan.NameConflict), "%s", annotations.Line(fmt.Sprintf(format, args...), annotations.MaxMessage))
}
