package cli

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
)

// changes to an object's annotations; nil removes a key.
type changes map[string]any

// annotated has what a target's annotations are now. Its methods decide what to change.
type annotated struct {
	keys     annotations.Keys
	all      map[string]string
	managers []metav1.ManagedFieldsEntry
	now      time.Time // by the API server's clock; zero if that is not known
}

func (a annotated) request() annotations.Request {
	request, _ := a.keys.Parse(a.all)
	return request
}

func (a annotated) on() bool { return a.request().Enabled == annotations.On }

// expired says whether its end has passed, so that visitors get the app although it is on.
func (a annotated) expired() bool {
	until := a.request().Until
	return a.on() && !until.IsZero() && !a.now.IsZero() && !until.After(a.now)
}

// changesTo returns what has to change for the annotations to become next.
func (a annotated) changesTo(next map[string]string) changes {
	c := changes{}
	for key, value := range next {
		if current, ok := a.all[key]; !ok || current != value {
			c[key] = value
		}
	}
	for key := range a.all {
		if _, ok := next[key]; !ok {
			c[key] = nil
		}
	}
	return c
}

// clone returns a copy of the annotations, to be changed.
func (a annotated) clone() map[string]string {
	if a.all == nil {
		return map[string]string{}
	}
	return maps.Clone(a.all)
}

// details of maintenance that a person gives; nil if they do not.
type details struct {
	page, reason *string
	until        *time.Time // zero removes the end
	by           string
	byGiven      bool // by a flag, and not taken from the user name
}

// turnOn starts maintenance for a person, or changes the details of maintenance that is on.
//
//	                       | off, or on by run            | on by a person
//	-----------------------+------------------------------+---------------
//	details that are given | are written                  | are written
//	other details          | are removed                  | stay
//	the page, if not given | stays, unless only we own it | stays
//	Leases of commands     | are removed: they no longer end it
//
// Maintenance whose end has passed counts as off.
func (a annotated) turnOn(d details) changes {
	next := a.clone()
	running := a.on() && len(a.request().Leases) == 0 && !a.expired()
	if !running {
		a.removeDetails(next)
	}
	delete(next, annotations.Lease)
	a.setDetails(next, d)
	if running && !d.byGiven && maps.Equal(next, a.all) {
		return changes{}
	}
	setOrRemove(next, annotations.By, d.by)
	return a.changesTo(next)
}

// removeDetails removes what is left of earlier maintenance.
func (a annotated) removeDetails(next map[string]string) {
	for _, key := range []string{annotations.Until, annotations.Reason, annotations.By, annotations.Lease} {
		delete(next, key)
	}
	if a.onlyOurs(a.keys.CustomPage) {
		delete(next, a.keys.CustomPage)
	}
}

// setDetails switches maintenance on, and sets the details that are given.
func (a annotated) setDetails(next map[string]string, d details) {
	if !a.on() {
		next[a.keys.Enabled] = a.keys.EnabledValue
	}
	if d.page != nil {
		delete(next, a.keys.CustomPage)
		if *d.page != annotations.DefaultPage {
			setOrRemove(next, a.keys.CustomPage, *d.page)
		}
	}
	if d.reason != nil {
		setOrRemove(next, annotations.Reason, *d.reason)
	}
	if d.until != nil {
		delete(next, annotations.Until)
		if !d.until.IsZero() {
			next[annotations.Until] = d.until.UTC().Format(time.RFC3339)
		}
	}
}

// setOrRemove sets a key, or removes it if the value is empty.
func setOrRemove(next map[string]string, key, value string) {
	if value == "" {
		delete(next, key)
		return
	}
	next[key] = value
}

// turnOff ends maintenance that is asked for. Maintenance that started automatically is off
// as long as the annotation says so. If nothing is on, nothing changes.
func (a annotated) turnOff() changes {
	request := a.request()
	switch {
	case request.Enabled == annotations.On:
		return a.withdraw()
	case request.Enabled == annotations.Unset && request.Auto != "" && annotations.StatusOf(a.all).Cause != "":
		return changes{a.keys.Enabled: "false"}
	}
	return changes{}
}

// withdraw removes the request for maintenance, and the page if nobody else owns it.
func (a annotated) withdraw() changes {
	next := a.clone()
	delete(next, a.keys.Enabled)
	a.removeDetails(next)
	return a.changesTo(next)
}

// addLease adds the Lease of a command. It returns false if a person has put the target in
// maintenance, which no command may end.
func (a annotated) addLease(lease string, d details) (c changes, held bool) {
	leases := a.request().Leases
	if a.on() && len(leases) == 0 {
		return changes{}, false
	}
	next := a.clone()
	if !a.on() {
		leases = nil
		a.removeDetails(next)
		a.setDetails(next, d)
		setOrRemove(next, annotations.By, d.by)
	}
	if !slices.Contains(leases, lease) {
		next[annotations.Lease] = strings.Join(append(slices.Clone(leases), lease), ",")
	}
	return a.changesTo(next), true
}

// removeLease removes the Lease of a command, and ends maintenance if it was the last one.
// If it is not there, a person has taken over or ended maintenance, and nothing is left for
// the command to end.
func (a annotated) removeLease(lease string) changes {
	leases := a.request().Leases
	switch i := slices.Index(leases, lease); {
	case i < 0 || !a.on():
		return changes{}
	case len(leases) == 1:
		return a.withdraw()
	default:
		return changes{annotations.Lease: strings.Join(slices.Delete(slices.Clone(leases), i, i+1), ",")}
	}
}

// appliers are the field managers that apply an annotation, as GitOps tools do: they write
// their value again over any other.
func (a annotated) appliers(key string) (names []string) {
	for _, e := range a.managers {
		if e.Operation == metav1.ManagedFieldsOperationApply && owns(e, key) && !slices.Contains(names, e.Manager) {
			names = append(names, e.Manager)
		}
	}
	return names
}

// onlyOurs says whether the plugin owns an annotation, and no other field manager does.
func (a annotated) onlyOurs(key string) bool {
	ours := false
	for _, e := range a.managers {
		if owns(e, key) {
			if e.Manager != FieldManager {
				return false
			}
			ours = true
		}
	}
	return ours
}

// owns says whether a field manager owns an annotation.
func owns(e metav1.ManagedFieldsEntry, key string) bool {
	if e.FieldsV1 == nil || e.Subresource != "" {
		return false
	}
	var fields struct {
		Metadata struct {
			Annotations map[string]any `json:"f:annotations"`
		} `json:"f:metadata"`
	}
	if json.Unmarshal(e.FieldsV1.Raw, &fields) != nil {
		return false
	}
	_, ok := fields.Metadata.Annotations["f:"+key]
	return ok
}
