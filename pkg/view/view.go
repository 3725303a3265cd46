// Package view shows targets as rows for people: since when and until when they are in
// maintenance, by whom, why, with which page, and what is wrong. It reads an object and
// nothing else.
package view

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// States in addition to those that the controller writes.
const (
	Off       = "off"       // visitors get the app, as they should
	Requested = "requested" // asked for, but no controller has acted on it yet
	Ending    = "ending"    // no longer asked for, but not yet restored
)

// requestedMessage is the message of Requested.
const requestedMessage = "no controller has acted on it yet: check that one runs, and that it serves this kind, namespace and class"

// Row is a target as people see it. Text that others wrote is cut to one line of at most
// annotations.MaxMessage bytes, with unprintable characters escaped.
type Row struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Hosts that it serves; none for a Service, and if only the object's metadata is there.
	Hosts []target.Host `json:"hosts,omitempty"`
	// State is one of the above, or one that the controller wrote.
	State   string `json:"state"`
	Message string `json:"message,omitempty"` // why the state is so; empty if there is nothing to say
	// Since is when maintenance began; zero if it has not. Until is when it will end by its
	// annotation; zero if it has no end or one that cannot be read.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Reason and By are what people wrote: why, and who they say they are.
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
	// Cause is why it began automatically; empty if a person asked for it.
	Cause string `json:"cause,omitempty"`
	// Leases are those of commands that keep maintenance on while they run; none if no
	// command does.
	Leases []string `json:"leases,omitempty"`
	// Page is the requested page, and PageSet the name of the set that serves the page that
	// is shown.
	Page    string `json:"page,omitempty"`
	PageSet string `json:"pageSet,omitempty"`
	// Problems are mistakes in its annotations: each names one and says what to do.
	Problems []string `json:"problems,omitempty"`
}

// Ref names the row's target.
func (r Row) Ref() target.Ref {
	return target.Ref{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

// Of gives the row of an object. in says that the object is in maintenance, or on the way
// there or back; the row of any other object says that it is off, and what is wrong with
// its annotations.
func Of(kind target.Kind, keys annotations.Keys, object map[string]any) (row Row, in bool) {
	u := unstructured.Unstructured{Object: object}
	all := u.GetAnnotations()
	request, problems := keys.Parse(all)
	status := annotations.StatusOf(all)
	row = Row{
		Kind: kind.Name, Namespace: u.GetNamespace(), Name: u.GetName(), Hosts: kind.Hosts(object),
		State: line(status.State), Message: line(status.Message), Since: parseTime(status.Since),
		Until: request.Until, Reason: request.Reason, By: request.By,
		Leases: request.Leases, PageSet: line(status.PageSet),
	}
	for _, p := range problems {
		row.Problems = append(row.Problems, line(p.Message))
	}
	if madeByController(u.GetLabels()) {
		return Row{Kind: row.Kind, Namespace: row.Namespace, Name: row.Name, Hosts: row.Hosts, State: Off}, false
	}
	// Automatic maintenance that was given up leaves an annotation behind, and is off.
	kept, alone := wanted.ParseEpisode(status.Cause), status
	alone.Cause = ""
	asked := request.Enabled == annotations.On || request.Enabled == annotations.Unset && request.Auto != "" && kept.On()
	if kept.On() {
		row.Cause = line(kept.Cause)
	}
	switch {
	case !asked && alone == (annotations.Status{}):
		return Row{Kind: row.Kind, Namespace: row.Namespace, Name: row.Name, Hosts: row.Hosts, State: Off, Problems: row.Problems}, false
	case !asked && row.State != annotations.Restoring:
		row.State = Ending
	case row.State == "":
		row.State, row.Message = Requested, requestedMessage
	}
	row.Page = line(request.Page)
	return row, true
}

// madeByController says whether the controller made the object, which then is no target.
func madeByController(labels map[string]string) bool {
	return labels[annotations.ManagedByLabel] == annotations.ManagedBy && labels[annotations.ComponentLabel] != ""
}

// line makes foreign text fit for a terminal.
func line(s string) string { return annotations.Line(s, annotations.MaxMessage) }

func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(s))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Sort sorts rows by namespace, kind and name.
func Sort(rows []Row) {
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
}
