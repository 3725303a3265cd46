// Package view says what is in maintenance as rows for people: since when, until when,
// by whom, why, which page, and what is wrong. It reads an object and nothing else.
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

// States beside those that the controller writes.
const (
	Off       = "off"       // visitors get the app, and nothing else is asked for
	Requested = "requested" // asked for, and no controller has acted on it yet
	Ending    = "ending"    // no longer asked for, and not yet restored
)

// unseen is the message of Requested.
const unseen = "no controller has acted on it yet: see whether one runs, and whether it serves this kind, namespace and class"

// Row is a target as people are shown it. Text of others is one line, with what is no
// text escaped, of at most annotations.MaxMessage bytes.
type Row struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Hosts that it serves; none for a Service, and for an object of which only the metadata is there.
	Hosts []target.Host `json:"hosts,omitempty"`
	// State is one of the above, or one that the controller wrote.
	State   string `json:"state"`
	Message string `json:"message,omitempty"`
	// Since is when maintenance began, and Until when it ends by itself. A zero time
	// means that it has not begun, or that it has no end or one that cannot be read.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Reason and By are what people say, By of themselves.
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
	// Cause is why it began by itself; empty if a person asked for it.
	Cause string `json:"cause,omitempty"`
	// Leases are those of commands for whose time maintenance is on; none if a person asked for it.
	Leases []string `json:"leases,omitempty"`
	// Page is the page asked for, and PageSet the name of what serves the one that is shown.
	Page    string `json:"page,omitempty"`
	PageSet string `json:"pageSet,omitempty"`
	// Problems are people's mistakes in its annotations: each names one and says what to do.
	Problems []string `json:"problems,omitempty"`
}

// Ref names the row's target.
func (r Row) Ref() target.Ref {
	return target.Ref{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

// Of gives the row of an object. in says that it is in maintenance, or on the way there or
// back; a row of any other says that it is off, and what is wrong with its annotations.
func Of(kind target.Kind, keys annotations.Keys, object map[string]any) (row Row, in bool) {
	u := unstructured.Unstructured{Object: object}
	all := u.GetAnnotations()
	request, problems := keys.Parse(all)
	status := annotations.StatusOf(all)
	row = Row{
		Kind: kind.Name, Namespace: u.GetNamespace(), Name: u.GetName(), Hosts: kind.Hosts(object),
		State: line(status.State), Message: line(status.Message), Since: at(status.Since),
		Until: request.Until, Reason: request.Reason, By: request.By,
		Leases: request.Leases, PageSet: line(status.PageSet),
	}
	for _, p := range problems {
		row.Problems = append(row.Problems, line(p.Message))
	}
	if own(u.GetLabels()) {
		return Row{Kind: row.Kind, Namespace: row.Namespace, Name: row.Name, Hosts: row.Hosts, State: Off}, false
	}
	// What began by itself and was given up leaves a trace, and is off.
	kept, alone := wanted.ParseSpell(status.Cause), status
	alone.Cause = ""
	asked := request.Enabled == annotations.On || request.Enabled == annotations.Unasked && request.Auto != "" && kept.On()
	if kept.On() {
		row.Cause = line(kept.Cause)
	}
	switch {
	case !asked && alone == (annotations.Status{}):
		return Row{Kind: row.Kind, Namespace: row.Namespace, Name: row.Name, Hosts: row.Hosts, State: Off, Problems: row.Problems}, false
	case !asked && row.State != annotations.Restoring:
		row.State = Ending
	case row.State == "":
		row.State, row.Message = Requested, unseen
	}
	row.Page = line(request.Page)
	return row, true
}

// own says whether an object is one that the controller made, and so no target.
func own(labels map[string]string) bool {
	return labels[annotations.ManagedByLabel] == annotations.ManagedBy && labels[annotations.ComponentLabel] != ""
}

// line makes text of others fit for a terminal.
func line(s string) string { return annotations.Line(s, annotations.MaxMessage) }

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(s))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Sort puts rows in the order of namespace, kind and name.
func Sort(rows []Row) {
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
}
