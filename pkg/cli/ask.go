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

// changes are what is to be written of an object's annotations; nil removes a key.
type changes map[string]any

// written is what a target has of us now.
type written struct {
	keys     annotations.Keys
	all      map[string]string
	managers []metav1.ManagedFieldsEntry
	at       time.Time // the API server's; zero if it has not told
}

func (w written) request() annotations.Request {
	request, _ := w.keys.Parse(w.all)
	return request
}

func (w written) on() bool { return w.request().Enabled == annotations.On }

// past says whether its end is, so that the app is served although it is on.
func (w written) past() bool {
	until := w.request().Until
	return w.on() && !until.IsZero() && !w.at.IsZero() && !until.After(w.at)
}

// difference is what has to be written for the annotations to be as next.
func (w written) difference(next map[string]string) changes {
	c := changes{}
	for key, value := range next {
		if there, ok := w.all[key]; !ok || there != value {
			c[key] = value
		}
	}
	for key := range w.all {
		if _, ok := next[key]; !ok {
			c[key] = nil
		}
	}
	return c
}

// now gives a copy of the annotations, to be changed.
func (w written) now() map[string]string {
	if w.all == nil {
		return map[string]string{}
	}
	return maps.Clone(w.all)
}

// ask is what a person says beside on; a nil field says nothing.
type ask struct {
	page, reason *string
	until        *time.Time // zero is no end
	by           string
	byGiven      bool // by the person, and not guessed
}

// begin starts maintenance for a person, or changes what is said of one that is on.
//
//	                         | off, or on by run        | on by a person
//	-------------------------+--------------------------+-------------------
//	what is said             | is written               | is written
//	what is not said         | is taken off             | stays
//	a page that is not named | stays, unless it is ours | stays
//	Leases of commands       | are taken off: they no longer end it
//
// What has an end that is past is off.
func (w written) begin(a ask) changes {
	next := w.now()
	running := w.on() && len(w.request().Leases) == 0 && !w.past()
	if !running {
		w.fresh(next)
	}
	delete(next, annotations.Lease)
	w.say(next, a)
	if running && !a.byGiven && maps.Equal(next, w.all) {
		return changes{}
	}
	put(next, annotations.By, a.by)
	return w.difference(next)
}

// fresh takes off what is left of a maintenance before.
func (w written) fresh(next map[string]string) {
	for _, key := range []string{annotations.Until, annotations.Reason, annotations.By, annotations.Lease} {
		delete(next, key)
	}
	if w.oursAlone(w.keys.CustomPage) {
		delete(next, w.keys.CustomPage)
	}
}

// say writes that it is on, and what a person says of it.
func (w written) say(next map[string]string, a ask) {
	if !w.on() {
		next[w.keys.Enabled] = w.keys.EnabledValue
	}
	if a.page != nil {
		delete(next, w.keys.CustomPage)
		if *a.page != annotations.DefaultPage {
			put(next, w.keys.CustomPage, *a.page)
		}
	}
	if a.reason != nil {
		put(next, annotations.Reason, *a.reason)
	}
	if a.until != nil {
		delete(next, annotations.Until)
		if !a.until.IsZero() {
			next[annotations.Until] = a.until.UTC().Format(time.RFC3339)
		}
	}
}

// put sets a key, or takes it off if the value is empty.
func put(next map[string]string, key, value string) {
	if value == "" {
		delete(next, key)
		return
	}
	next[key] = value
}

// finish ends what is asked for, and what has begun by itself: that is off as long as the
// annotation says so. Where nothing is on, nothing is touched.
func (w written) finish() changes {
	request := w.request()
	switch {
	case request.Enabled == annotations.On:
		return w.end()
	case request.Enabled == annotations.Unasked && request.Auto != "" && annotations.StatusOf(w.all).Cause != "":
		return changes{w.keys.Enabled: "false"}
	}
	return changes{}
}

// end takes off what asks for maintenance, and the page if nobody else named it.
func (w written) end() changes {
	next := w.now()
	delete(next, w.keys.Enabled)
	w.fresh(next)
	return w.difference(next)
}

// hold adds the Lease of a command. held is false where a person has put the target in
// maintenance, which no command is to end.
func (w written) hold(lease string, a ask) (c changes, held bool) {
	leases := w.request().Leases
	if w.on() && len(leases) == 0 {
		return changes{}, false
	}
	next := w.now()
	if !w.on() {
		leases = nil
		w.fresh(next)
		w.say(next, a)
		put(next, annotations.By, a.by)
	}
	if !slices.Contains(leases, lease) {
		next[annotations.Lease] = strings.Join(append(slices.Clone(leases), lease), ",")
	}
	return w.difference(next), true
}

// release takes the Lease of a command off, and ends maintenance if that was the last.
// Where it is not there, a person has taken over, or somebody has ended it: nothing is
// the command's to end.
func (w written) release(lease string) changes {
	leases := w.request().Leases
	switch i := slices.Index(leases, lease); {
	case i < 0 || !w.on():
		return changes{}
	case len(leases) == 1:
		return w.end()
	default:
		return changes{annotations.Lease: strings.Join(slices.Delete(slices.Clone(leases), i, i+1), ",")}
	}
}

// appliers are the field managers that apply an annotation, as GitOps tools do: whatever
// is written over it, they put back.
func (w written) appliers(key string) (names []string) {
	for _, e := range w.managers {
		if e.Operation == metav1.ManagedFieldsOperationApply && owns(e, key) && !slices.Contains(names, e.Manager) {
			names = append(names, e.Manager)
		}
	}
	return names
}

// oursAlone says whether the plugin wrote an annotation, and nobody else claims it.
func (w written) oursAlone(key string) bool {
	ours := false
	for _, e := range w.managers {
		if owns(e, key) {
			if e.Manager != Manager {
				return false
			}
			ours = true
		}
	}
	return ours
}

// owns says whether a manager owns an annotation.
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
