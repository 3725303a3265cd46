package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/upstream"
	"maintenance-controller.io/pkg/visits"
)

// DoorLimits bound page sets with doors.
type DoorLimits struct {
	Doors int // of a page set, 1 to access.MaxDoors
	Sets  int // with doors, that are in use in a namespace; at least 1
}

// doors is what is remembered of targets whose apps people are let through to.
type doors struct {
	mu sync.Mutex
	// services behind the doors of each target, as they were read. They are read again
	// when the page cannot reach them.
	services map[target.Ref]map[string]readService
	// looks for Services that targets lead to and that are not there.
	looks map[target.Ref]nextLook
	// barred targets may not have the page set that they want, since there are too many.
	barred map[target.Ref]bool
}

// readService is one that was read, and is to be read again if it is stale.
type readService struct {
	*corev1.Service
	stale bool
}

// nextLook is when Services that are not there are looked for again.
type nextLook struct {
	at    time.Time
	every time.Duration
}

// Between two looks for a Service that is not there: it may be away for a moment, and
// nothing else tells that it is back.
const (
	firstLook = 15 * time.Second
	mostLook  = 5 * time.Minute
)

func newDoors() *doors {
	return &doors{services: map[target.Ref]map[string]readService{}, looks: map[target.Ref]nextLook{}, barred: map[target.Ref]bool{}}
}

// letThrough finds by which doors people reach the target's apps, and gives the content
// of the page set that has them. Where nobody is to be let through, and no page set is
// left that had doors, that is the page, and nothing is read.
func (c *Controller) letThrough(ctx context.Context, ref target.Ref, state *plan.State, content page.Page) (page.Page, error) {
	there := c.doorsOf(ref.Namespace, *state)
	asked := state.Request.Access
	if !asked.Asked() || state.Kind.NoDoors != "" {
		c.doors.forget(ref)
		if asked.Asked() {
			state.Access.Told = []plan.Event{{Reason: plan.NoDoor, Message: "nobody is let through: " + state.Kind.NoDoors}}
		}
		state.Access.Doors = numbered(there, nil)
		return content, nil
	}
	apps, why, err := c.apps(ctx, ref, *state, len(there) > 0)
	if err != nil {
		return content, err
	}
	settings := upstream.Settings(asked, slices.Collect(maps.Values(apps)))
	state.Access.Told = plan.NoDoors(why)
	if len(settings.Doors) > 0 {
		content.Access = settings.Encode()
		state.Page = c.book.Of(state.Page, content)
		state.Page.Set = c.keeps(ref, state.Object, state.Page)
		state.Access.Barred = c.barred(ref, pageset.ID{Namespace: ref.Namespace, Name: state.Page.Set}, settings, len(there) > 0)
		there[state.Page.Set] = settings
	}
	state.Access.Doors = numbered(there, apps)
	c.report(ref.Namespace, state, there)
	return content, nil
}

// doorsOf gives the settings of the page sets with doors that the target's slots are on.
func (c *Controller) doorsOf(namespace string, state plan.State) map[string]access.Settings {
	all := map[string]access.Settings{}
	for _, s := range state.Slots {
		if _, seen := all[s.PageSet]; seen || s.PageSet == "" {
			continue
		}
		if cm := c.watches.own.Observe(pageset.ID{Namespace: namespace, Name: s.PageSet}).ConfigMap; cm != nil {
			if settings := pageset.Settings(cm); len(settings.Doors) > 0 {
				all[s.PageSet] = settings
			}
		}
	}
	return all
}

// numbered gives the doors of page sets by the ways that they are for.
func numbered(sets map[string]access.Settings, apps map[swap.Way]upstream.App) swap.Doors {
	d := swap.Doors{Of: map[string]map[swap.Way]int{}, Last: map[string]int{}}
	for set, settings := range sets {
		d.Of[set], d.Last[set] = upstream.Numbers(settings, apps), len(settings.Doors)
	}
	return d
}

// apps finds the apps behind the target's slots, and which of these have no door, by the
// reason.
func (c *Controller) apps(ctx context.Context, ref target.Ref, state plan.State, atDoors bool) (map[swap.Way]upstream.App, map[string][]swap.ID, error) {
	all, why := map[swap.Way]upstream.App{}, map[string][]swap.ID{}
	used, missing := map[string]bool{}, false
	for _, slot := range plan.Ways(state) {
		for _, way := range slot.Ways {
			app, known := all[way]
			if !known {
				svc, err := c.behind(ctx, ref, way, atDoors)
				if err != nil {
					return nil, nil, err
				}
				app = upstream.Of(way, svc)
				all[way], missing = app, missing || svc == nil && leadsToService(way)
			}
			used[way.Service] = true
			if app.Refused != "" && !slices.Contains(why[app.Refused], slot.Slot) {
				why[app.Refused] = append(why[app.Refused], slot.Slot)
			}
		}
	}
	c.doors.keep(ref, used)
	if missing {
		c.queues.targets.AddAfter(ref, c.doors.lookAgain(ref, c.config.Clock.Now()))
	} else {
		c.doors.foundAll(ref)
	}
	return all, why, nil
}

func leadsToService(way swap.Way) bool { return way.Refused == "" && upstream.Named(way.Service) }

// behind gives the Service that a way leads to; nil if there is none.
func (c *Controller) behind(ctx context.Context, ref target.Ref, way swap.Way, atDoors bool) (*corev1.Service, error) {
	if !leadsToService(way) {
		return nil, nil
	}
	svc, err := c.service(ctx, ref, way.Service, atDoors)
	if err != nil {
		return nil, fmt.Errorf("%s, to whose apps people are to be let through: %w", ref, err)
	}
	return svc, nil
}

// service reads a Service of the target's namespace, once, or while that is in maintenance
// itself, the one that leads to its app meanwhile. One that is not there is looked for each
// time. Of a target that is at doors already, one that has gone stays as it was read: it
// may be back in a moment, and its door, which waits for it, must not be taken down.
func (c *Controller) service(ctx context.Context, ref target.Ref, name string, atDoors bool) (*corev1.Service, error) {
	before := c.doors.service(ref, name)
	if before.Service != nil && !before.stale {
		return before.Service, nil
	}
	svc, err := c.config.Client.CoreV1().Services(ref.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && atDoors:
		return before.Service, nil
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read Service %s: %w", name, err)
	case svc.Spec.Selector[annotations.PageSetLabel] != "":
		svc, err = origin.Get(ctx, c.config.Client.CoreV1(), target.Ref{Kind: "Service", Namespace: ref.Namespace, Name: name})
	}
	if err != nil || svc == nil {
		return nil, err
	}
	c.doors.remember(ref, name, svc)
	return svc, nil
}

// barred says why the page set may not be made; empty if it may. Sets that the target
// alone uses do not count: it leaves them for this one. Nor is one held on the doors that
// it is at, which may let in by a token that is to let in nobody any more.
func (c *Controller) barred(ref target.Ref, wanted pageset.ID, settings access.Settings, atDoors bool) string {
	why := ""
	others := 0
	there := c.manager.WithDoors(ref.Namespace)
	for _, id := range there {
		if slices.ContainsFunc(c.manager.Claims.Users(id), func(user target.Ref) bool { return user != ref }) {
			others++
		}
	}
	switch limits := c.config.DoorLimits; {
	case len(settings.Doors) > limits.Doors:
		why = fmt.Sprintf("people are to be let through to %d apps, and a page set may have %d doors (--page-max-doors): split the target, or let fewer through", len(settings.Doors), limits.Doors)
	case others >= limits.Sets && !atDoors && !slices.Contains(there, wanted):
		why = fmt.Sprintf("%d other page sets of the namespace have doors, which is as many as may be (--page-max-sets-with-doors): give targets the same settings, or end the maintenance of one", others)
	}
	if c.doors.clear(ref); why != "" {
		c.doors.bar(ref)
	}
	return why
}

// report takes over what the page Pods say that the target is on, or what they said
// before the controller began if they have not been asked yet.
func (c *Controller) report(namespace string, state *plan.State, sets map[string]access.Settings) {
	status := annotations.StatusOf(annotationsOf(state.Object))
	if _, on := sets[status.PageSet]; !on {
		return
	}
	report, heard := c.visits.Of(pageset.ID{Namespace: namespace, Name: status.PageSet})
	if !heard {
		state.Access.Summary = status.Access
		return
	}
	state.Access.Summary = report.Summary
	for _, t := range report.Troubles {
		state.Access.Told = append(state.Access.Told, plan.Event{Reason: plan.BypassNotWorking, Message: annotations.ClipTo(t.Text, annotations.MaxMessage)})
	}
}

// asks lists the page Pods with doors, to be asked who was let through.
func (c *Controller) asks() (all []visits.Set) {
	for _, id := range c.manager.WithDoors("") {
		o := c.watches.own.Observe(id)
		if !o.Alive() {
			continue
		}
		set := visits.Set{ID: id, Settings: pageset.Settings(o.ConfigMap)}
		for _, p := range o.Own() {
			if pageset.Ready(p) && p.Status.PodIP != "" {
				set.Pods = append(set.Pods, p.Status.PodIP)
			}
		}
		all = append(all, set)
	}
	return all
}

// heard has the targets of a page set told what its Pods say, and Services read again
// that could not be reached.
func (c *Controller) heard(id pageset.ID, report visits.Report) {
	for _, host := range report.Unreachable() {
		name, _, _ := strings.Cut(host, ".")
		c.doors.lose(id.Namespace, name)
	}
	c.queueTargets(c.manager.Claims.Users(id))
}

// freed queues the targets that may have the page set that they want, now that another
// one is used by nobody any more.
func (c *Controller) freed(id pageset.ID) {
	if len(c.manager.Claims.Users(id)) > 0 {
		return
	}
	for _, ref := range c.doors.barredIn(id.Namespace) {
		c.queues.targets.Add(ref)
	}
}

// rerouted reads the Service of a target of its kind again where it is behind a door: the
// way to its app is another one during its own maintenance.
func (c *Controller) rerouted(ref target.Ref) {
	if ref.Kind != "Service" {
		return
	}
	for _, user := range c.doors.lose(ref.Namespace, ref.Name) {
		c.queues.targets.Add(user)
	}
}

func (d *doors) service(ref target.Ref, name string) readService {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.services[ref][name]
}

func (d *doors) remember(ref target.Ref, name string, svc *corev1.Service) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.services[ref] == nil {
		d.services[ref] = map[string]readService{}
	}
	d.services[ref][name] = readService{Service: svc}
}

// keep forgets the Services that the target does not lead to any more.
func (d *doors) keep(ref target.Ref, used map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.services[ref], func(name string, _ readService) bool { return !used[name] })
}

// foundAll forgets how often a Service that the target leads to has been looked for.
func (d *doors) foundAll(ref target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.looks, ref)
}

// lookAgain says after what time a target is to be looked at again, since a Service that
// it leads to is missing. However often it is asked meanwhile, the time of the next look
// stays.
func (d *doors) lookAgain(ref target.Ref, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.looks[ref]
	if !now.Before(next.at) {
		next.every = min(max(2*next.every, firstLook), mostLook)
		next.at = now.Add(next.every)
		d.looks[ref] = next
	}
	return next.at.Sub(now)
}

// lose has a Service, or one that leads to the app of another meanwhile, read again, and
// gives the targets that lead to it.
func (d *doors) lose(namespace, name string) (users []target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ref, services := range d.services {
		if ref.Namespace != namespace {
			continue
		}
		leads := false
		for asked, read := range services {
			if asked == name || read.Name == name {
				services[asked] = readService{read.Service, true}
				leads = true
			}
		}
		if leads {
			users = append(users, ref)
		}
	}
	return users
}

func (d *doors) bar(ref target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.barred[ref] = true
}

func (d *doors) clear(ref target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.barred, ref)
}

func (d *doors) barredIn(namespace string) (refs []target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ref := range d.barred {
		if ref.Namespace == namespace {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b target.Ref) int { return strings.Compare(a.String(), b.String()) })
	return refs
}

// forget a target of which nobody is let through to the apps.
func (d *doors) forget(ref target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.services, ref)
	delete(d.looks, ref)
	delete(d.barred, ref)
}
