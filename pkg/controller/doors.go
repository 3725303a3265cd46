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
	Doors int // per page set, 1 to access.MaxDoors
	Sets  int // page sets with doors in use per namespace; at least 1
}

// doors remembers targets whose bypass leads to apps.
type doors struct {
	mu sync.Mutex
	// services behind the doors of each target, as they were read. They are read again when the page
	// Pods cannot reach them.
	services map[target.Ref]map[string]cachedService
	// retries for Services that targets lead to and that do not exist.
	retries map[target.Ref]serviceRetry
	// barred targets may not have the page set that they want because there are too many.
	barred map[target.Ref]bool
}

// cachedService is a Service that was read, and is to be read again if it is stale.
type cachedService struct {
	*corev1.Service
	stale bool
}

// serviceRetry is when to look again for a missing Service.
type serviceRetry struct {
	at    time.Time
	every time.Duration
}

// Bounds of the time between two attempts to read a Service that does not exist. It may be missing
// for a moment only, and no watch reports that it is back.
const (
	minServiceRetry = 15 * time.Second
	maxServiceRetry = 5 * time.Minute
)

func newDoors() *doors {
	return &doors{services: map[target.Ref]map[string]cachedService{}, retries: map[target.Ref]serviceRetry{}, barred: map[target.Ref]bool{}}
}

// resolveBypass finds the doors through which people reach the target's apps, and returns the
// content of the page set that has them. Without a bypass, now or on a page set that the target is
// still on, it returns the content unchanged and reads nothing.
func (c *Controller) resolveBypass(ctx context.Context, ref target.Ref, state *plan.State, content page.Page) (page.Page, error) {
	there := c.doorsOf(ref.Namespace, *state)
	asked := state.Request.Access
	if !asked.LetsAnybodyThrough() || state.Kind.NoDoors != "" {
		c.doors.forget(ref)
		if asked.LetsAnybodyThrough() {
			state.Access.Events = []plan.Event{{Reason: plan.BypassUnavailable, Message: "nobody is let through: " + state.Kind.NoDoors}}
		}
		state.Access.Doors = numberDoors(there, nil)
		return content, nil
	}
	apps, why, err := c.apps(ctx, ref, *state, len(there) > 0)
	if err != nil {
		return content, err
	}
	settings := upstream.Settings(asked, slices.Collect(maps.Values(apps)))
	state.Access.Events = plan.NoDoorEvents(why)
	if len(settings.Doors) > 0 {
		content.Access = settings.Encode()
		state.Page = c.book.WithContent(state.Page, content)
		state.Page.Set = c.setToUse(ref, state.Object, state.Page)
		state.Access.SetRefused = c.barred(ref, pageset.ID{Namespace: ref.Namespace, Name: state.Page.Set}, settings, len(there) > 0)
		there[state.Page.Set] = settings
	}
	state.Access.Doors = numberDoors(there, apps)
	c.addReport(ref.Namespace, state, there)
	return content, nil
}

// doorsOf returns the settings of the page sets with doors that the target's slots are on.
func (c *Controller) doorsOf(namespace string, state plan.State) map[string]access.Settings {
	all := map[string]access.Settings{}
	for _, s := range state.Slots {
		if _, seen := all[s.PageSet]; seen || s.PageSet == "" {
			continue
		}
		if cm := c.watches.managed.Observe(pageset.ID{Namespace: namespace, Name: s.PageSet}).ConfigMap; cm != nil {
			if settings := pageset.Settings(cm); len(settings.Doors) > 0 {
				all[s.PageSet] = settings
			}
		}
	}
	return all
}

// numberDoors returns the doors of page sets, by the upstreams that they lead to.
func numberDoors(sets map[string]access.Settings, apps map[swap.Upstream]upstream.App) swap.Doors {
	d := swap.Doors{Of: map[string]map[swap.Upstream]int{}, Last: map[string]int{}}
	for set, settings := range sets {
		d.Of[set], d.Last[set] = upstream.DoorNumbers(settings, apps), len(settings.Doors)
	}
	return d
}

// apps finds the apps behind the target's slots, and lists by reason the slots whose app has no
// door.
func (c *Controller) apps(ctx context.Context, ref target.Ref, state plan.State, atDoors bool) (map[swap.Upstream]upstream.App, map[string][]swap.ID, error) {
	all, why := map[swap.Upstream]upstream.App{}, map[string][]swap.ID{}
	used, missing := map[string]bool{}, false
	for _, slot := range plan.Upstreams(state) {
		for _, up := range slot.Upstreams {
			app, known := all[up]
			if !known {
				svc, err := c.serviceBehind(ctx, ref, up, atDoors)
				if err != nil {
					return nil, nil, err
				}
				app = upstream.Of(up, svc)
				all[up], missing = app, missing || svc == nil && leadsToService(up)
			}
			used[up.Service] = true
			if app.Refused != "" && !slices.Contains(why[app.Refused], slot.Slot) {
				why[app.Refused] = append(why[app.Refused], slot.Slot)
			}
		}
	}
	c.doors.keep(ref, used)
	if missing {
		c.queues.targets.AddAfter(ref, c.doors.retryAfter(ref, c.config.Clock.Now()))
	} else {
		c.doors.resetRetry(ref)
	}
	return all, why, nil
}

func leadsToService(up swap.Upstream) bool {
	return up.Refused == "" && upstream.ValidServiceName(up.Service)
}

// serviceBehind returns the Service that an upstream names; nil if there is none.
func (c *Controller) serviceBehind(ctx context.Context, ref target.Ref, up swap.Upstream, atDoors bool) (*corev1.Service, error) {
	if !leadsToService(up) {
		return nil, nil
	}
	svc, err := c.service(ctx, ref, up.Service, atDoors)
	if err != nil {
		return nil, fmt.Errorf("find the apps that the bypass of %s leads to: %w", ref, err)
	}
	return svc, nil
}

// service reads a Service of the target's namespace once, or, while that Service is in maintenance
// itself, the origin Service that leads to its app. A missing Service is looked up each time. If the
// target is at doors already, a Service that was deleted stays as it was read: it may be back in a
// moment, and its door, which waits for it, must not be removed.
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

// barred says why the page set may not be created; empty if it may. Sets that only the target uses
// do not count, because it leaves them for this one. Nor is a target refused that is at doors
// already: the old doors may admit a token that must no longer work.
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
		why = fmt.Sprintf("the bypass leads to %d apps, and a page set may lead to %d at most (--bypass-max-apps): split the target, or remove its bypass", len(settings.Doors), limits.Doors)
	case others >= limits.Sets && !atDoors && !slices.Contains(there, wanted):
		why = fmt.Sprintf("%d other page sets of the namespace have a bypass, which is the limit (--bypass-max-page-sets): give targets the same bypass settings, or end the maintenance of one", others)
	}
	if c.doors.clear(ref); why != "" {
		c.doors.bar(ref)
	}
	return why
}

// addReport takes over what the page Pods of the target's page set report, or the previous summary
// if they have not been polled yet.
func (c *Controller) addReport(namespace string, state *plan.State, sets map[string]access.Settings) {
	status := annotations.StatusOf(annotationsOf(state.Object))
	if _, on := sets[status.PageSet]; !on {
		return
	}
	report, heard := c.visits.Report(pageset.ID{Namespace: namespace, Name: status.PageSet})
	if !heard {
		state.Access.Summary = status.Access
		return
	}
	state.Access.Summary = report.Summary
	for _, t := range report.Problems {
		state.Access.Events = append(state.Access.Events, plan.Event{Reason: plan.BypassFailing, Message: annotations.ClipTo(t.Text, annotations.MaxMessage)})
	}
}

// setsToPoll lists the page sets with doors and their ready Pods, to be polled.
func (c *Controller) setsToPoll() (all []visits.Set) {
	for _, id := range c.manager.WithDoors("") {
		o := c.watches.managed.Observe(id)
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

// onReport queues the targets of a page set whose report has changed, and has Services read again
// that could not be reached.
func (c *Controller) onReport(id pageset.ID, report visits.Report) {
	for _, host := range report.Unreachable() {
		name, _, _ := strings.Cut(host, ".")
		c.doors.markStale(id.Namespace, name)
	}
	c.queueTargets(c.manager.Claims.Users(id))
}

// queueBarred queues the barred targets of the namespace once a page set has become unused.
func (c *Controller) queueBarred(id pageset.ID) {
	if len(c.manager.Claims.Users(id)) > 0 {
		return
	}
	for _, ref := range c.doors.barredIn(id.Namespace) {
		c.queues.targets.Add(ref)
	}
}

// refreshService has a Service that is a target itself read again where it is behind a door: during
// its own maintenance its app is reached another way.
func (c *Controller) refreshService(ref target.Ref) {
	if ref.Kind != "Service" {
		return
	}
	for _, user := range c.doors.markStale(ref.Namespace, ref.Name) {
		c.queues.targets.Add(user)
	}
}

func (d *doors) service(ref target.Ref, name string) cachedService {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.services[ref][name]
}

func (d *doors) remember(ref target.Ref, name string, svc *corev1.Service) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.services[ref] == nil {
		d.services[ref] = map[string]cachedService{}
	}
	d.services[ref][name] = cachedService{Service: svc}
}

// keep forgets the Services that the target no longer leads to.
func (d *doors) keep(ref target.Ref, used map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.services[ref], func(name string, _ cachedService) bool { return !used[name] })
}

// resetRetry forgets how often missing Services of a target were looked up.
func (d *doors) resetRetry(ref target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.retries, ref)
}

// retryAfter returns after how long to look again for a missing Service of the target. Calls before
// then do not move that time.
func (d *doors) retryAfter(ref target.Ref, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.retries[ref]
	if !now.Before(next.at) {
		next.every = min(max(2*next.every, minServiceRetry), maxServiceRetry)
		next.at = now.Add(next.every)
		d.retries[ref] = next
	}
	return next.at.Sub(now)
}

// markStale has a Service, or the origin Service that stands for it, read again, and returns the
// targets that lead to it.
func (d *doors) markStale(namespace, name string) (users []target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ref, services := range d.services {
		if ref.Namespace != namespace {
			continue
		}
		leads := false
		for asked, read := range services {
			if asked == name || read.Name == name {
				services[asked] = cachedService{read.Service, true}
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

// forget drops a target without a bypass.
func (d *doors) forget(ref target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.services, ref)
	delete(d.retries, ref)
	delete(d.barred, ref)
}
