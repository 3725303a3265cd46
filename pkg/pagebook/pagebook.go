// Package pagebook knows the pages: the built-in one, and those in ConfigMaps that people label. It
// decides which page a target gets, and explains why it is not the requested one.
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

// Config configures a Book. Source, Recorder, OwnNamespace, BuiltIn and CustomPage are required.
type Config struct {
	Source Source // of the pages that people write
	// Recorder records Events about faulty pages on their ConfigMaps.
	Recorder record.EventRecorder
	// OwnNamespace is the namespace of the pages that all namespaces can use.
	OwnNamespace string
	// NamespacePages enables pages in a target's own namespace, which take precedence.
	NamespacePages bool
	// BuiltIn is the default page unless a ConfigMap replaces it, and fills the formats that a page
	// lacks.
	BuiltIn page.Page
	// BuiltInUntil replaces BuiltIn for a maintenance that ends at a known time; nil always uses
	// BuiltIn.
	BuiltInUntil func(until time.Time) page.Page
	// CustomPage is the annotation that names a page, for messages.
	CustomPage string
	// Installation whose page sets show the pages.
	Installation installation.Installation
}

// Book resolves pages. It is safe for concurrent use.
type Book struct {
	config Config
	mu     sync.Mutex
	// resolved has an entry for each place that holds a page, but none for names that people write:
	// those are unlimited.
	resolved map[Place]Resolved
	// untilPages caches pages of maintenance that ends at a known time. The times are unlimited too,
	// so at most maxUntilPages are kept.
	untilPages map[pageKey]Resolved
}

// pageKey is a place, and when the maintenance ends that the page is for; zero if the end is
// unknown.
type pageKey struct {
	Place
	until time.Time
}

// maxUntilPages is for how many end times a page is cached: each has its own bodies of 100 KiB.
const maxUntilPages = 64

// Resolved is a complete page, with what a decision needs to know of it.
type Resolved struct {
	plan.Page
	Content page.Page // what visitors get
}

// New returns a Book.
func New(c Config) *Book {
	return &Book{config: c, resolved: map[Place]Resolved{}, untilPages: map[pageKey]Resolved{}}
}

// Namespaces lists the namespaces where pages can be, for a controller that serves these namespaces;
// "" means all.
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

// Place is where a page is, or is looked for: a namespace and the page's name.
type Place struct {
	Namespace string // of the ConfigMap
	Page      string // its name, as targets ask for it
}

// Concerns reports whether the change of a page can matter to a target that asks for a page. Every
// page is filled from the default page, so a change of the default page matters to all.
func (b *Book) Concerns(changed, asked Place) bool {
	near := changed.Namespace == b.config.OwnNamespace || changed.Namespace == asked.Namespace
	return near && (changed.Page == asked.Page || changed.Page == annotations.DefaultPage)
}

// Forget clears the cache. Call it when a page has changed.
func (b *Book) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.resolved)
	clear(b.untilPages)
}

// Resolve returns the page that a target in the namespace gets by that name, in a maintenance that
// ends at until, or zero if the end is unknown. It always returns a page: the default page, with
// Problem set, if the requested one cannot be used.
func (b *Book) Resolve(namespace, name string, until time.Time) Resolved {
	b.mu.Lock()
	defer b.mu.Unlock()
	place, there := b.locate(namespace, name)
	r := b.resolve(pageKey{place, page.Minute(until)})
	if !there {
		r.Problem = b.missing(namespace, name)
	}
	return r
}

func (b *Book) resolve(key pageKey) Resolved {
	r, ok := b.resolved[key.Place]
	if !key.until.IsZero() {
		r, ok = b.untilPages[key]
	}
	if ok {
		return r
	}
	r = b.find(key)
	if key.until.IsZero() {
		b.resolved[key.Place] = r
		return r
	}
	if len(b.untilPages) >= maxUntilPages {
		clear(b.untilPages)
	}
	b.untilPages[key] = r
	return r
}

// locate returns where the page is: in the target's namespace, or else in the controller's. If it is
// in neither, it returns false and the place of the default page.
func (b *Book) locate(namespace, name string) (locate Place, there bool) {
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
	return fmt.Sprintf("annotation %s names page %q, which does not exist: create a ConfigMap labelled %s=%s in namespace %s",
		b.config.CustomPage, annotations.Clip(name), annotations.CustomPageLabel, annotations.Clip(name), where)
}

// describe returns a page with its hash and the name of its page set.
func (b *Book) describe(content page.Page, until time.Time, of plan.Page) Resolved {
	content.Until = until
	of.Hash = content.Hash()
	of.Set = b.config.Installation.SetName(of.Hash)
	return Resolved{Content: content, Page: of}
}

// WithContent returns p for a content that was changed, such as by bypass settings.
func (b *Book) WithContent(p plan.Page, content page.Page) plan.Page {
	return b.describe(content, content.Until, p).Page
}

// find reads the page of a place. The default page can only be replaced in the controller's
// namespace: an app team must not replace it.
func (b *Book) find(at pageKey) Resolved {
	namespace, name := at.Namespace, at.Page
	builtIn := b.config.BuiltIn
	if b.config.BuiltInUntil != nil && !at.until.IsZero() {
		builtIn = b.config.BuiltInUntil(at.until)
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
	fallback := b.describe(standard, at.until, plan.Page{Name: annotations.DefaultPage, Problem: problem, Broken: broken, Rivals: rivals})
	if name == annotations.DefaultPage {
		if b.config.NamespacePages && namespace != b.config.OwnNamespace {
			if cm, _ := b.oldest(namespace, name); cm != nil {
				b.warn(cm, "page %q is reserved for namespace %s and is not shown from here: give it another name", name, b.config.OwnNamespace)
			}
		}
		return fallback
	}
	cm, rivals := b.oldest(namespace, name)
	if cm == nil { // it was deleted just now: the watch is about to report it
		fallback.Problem = b.missing(namespace, name)
		return fallback
	}
	p, faults, err := read(cm, standard)
	if err != nil {
		fallback.Problem = fmt.Sprintf("page %q (ConfigMap %s/%s) cannot be used: %v", annotations.Clip(name), cm.Namespace, cm.Name, err)
		fallback.Rivals = rivals
		return fallback
	}
	return b.describe(p, at.until, plan.Page{Name: name, Broken: brokenFormats(cm, name, faults), Rivals: rivals})
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

// read returns the complete page of a ConfigMap. Formats that are missing or broken are taken from
// standard; faults lists the broken ones.
func read(cm *corev1.ConfigMap, standard page.Page) (page.Page, []page.Fault, error) {
	data := make(map[string]string, len(cm.Data)+len(cm.BinaryData))
	maps.Copy(data, cm.Data)
	for key, value := range cm.BinaryData { // kubectl stores values that are not UTF-8 there
		data[key] = string(value)
	}
	p, faults, err := page.Read(data)
	if err != nil {
		return page.Page{}, nil, err
	}
	p, err = p.Filled(standard)
	return p, faults, err
}

// oldest returns the ConfigMap that holds a page. The oldest of several wins: a rollback that
// applies an older one again must not lose to it. The others get an Event, and rivals describes them
// for targets that ask for the page.
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
		b.warn(cm, "page %q is also in ConfigMap %s, which is older and is shown instead: rename one of them", name, all[0].Name)
	}
	return all[0], fmt.Sprintf("page %q is in %d ConfigMaps of namespace %s: the oldest, %s, is shown, and the newest, %s, is not; delete those that you do not need (kustomize creates one for each version unless disableNameSuffixHash is set)",
		annotations.Clip(name), len(all), namespace, all[0].Name, all[len(all)-1].Name)
}

// warn records a warning for the author of a page, on its ConfigMap.
func (b *Book) warn(cm *corev1.ConfigMap, format string, args ...any) {
	b.config.Recorder.Eventf(&corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: cm.Namespace, Name: cm.Name, UID: cm.UID},
		corev1.EventTypeWarning, string(plan.NameConflict), "%s", annotations.Line(fmt.Sprintf(format, args...), annotations.MaxMessage))
}
