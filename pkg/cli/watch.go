package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// watched is what status -w has shown.
type watched struct {
	*session
	o     *statusOptions
	table table
	shown map[target.Ref]string
	head  bool
	left  []string
}

// watchStatus shows what is in maintenance, and then a line for each change, until the
// person ends it: that is no error.
func (s *session) watchStatus(ctx context.Context, o *statusOptions) error {
	follow, stop := context.WithCancel(ctx)
	defer stop()
	w := &watched{session: s, o: o, table: table{out: s.Stdout, widths: widths(o)}, shown: map[target.Ref]string{}}
	scopes := s.scopes(o)
	sightings := s.follow(follow, scopes)
	for {
		select {
		case <-ctx.Done():
			return nil
		case g := <-sightings:
			if err := w.see(g, len(scopes)); err != nil {
				return err
			}
		}
	}
}

// widths begin with room for what comes later.
func widths(o *statusOptions) []int {
	w := []int{24, len("requested"), 5, len("run ends"), 8, 8, 0}
	if o.all {
		w = append([]int{12}, w...)
	}
	return w
}

func (s *session) scopes(o *statusOptions) (scopes []scope) {
	namespace := s.namespace
	if o.all {
		namespace = metav1.NamespaceAll
	}
	for _, ref := range o.names {
		kind, _ := target.KindByName(ref.Kind)
		scopes = append(scopes, scope{kind: kind, namespace: namespace, name: ref.Name})
	}
	kinds := o.kinds
	switch {
	case len(o.names) > 0:
		kinds = nil
	case len(kinds) == 0:
		kinds = target.Kinds()
	}
	for _, kind := range kinds {
		scopes = append(scopes, scope{kind: kind, namespace: namespace, selector: o.selector})
	}
	return scopes
}

func (w *watched) see(g sighting, scopes int) error {
	if g.scope != nil {
		return w.seeScope(g, scopes)
	}
	row := view.Row{Kind: g.ref.Kind, Namespace: g.ref.Namespace, Name: g.ref.Name, State: "deleted"}
	in := false
	if g.meta != nil {
		row, in = g.row(w.keys)
	}
	before, known := w.shown[g.ref]
	now := fmt.Sprint(row.State, row.Message, row.Until, row.By, row.Reason, row.Page, row.PageSet, row.Leases, row.Problems)
	if now == before || !in && !known && len(w.o.names) == 0 {
		return nil
	}
	w.shown[g.ref] = now
	if !in {
		delete(w.shown, g.ref)
		if len(w.o.names) > 0 && g.meta != nil {
			w.shown[g.ref] = now
		}
	}
	return w.show(row)
}

func (w *watched) show(row view.Row) error {
	switch w.o.format {
	case "json", "yaml":
		if w.o.format == "yaml" {
			fmt.Fprintln(w.Stdout, "---")
		}
		return w.o.write(w.Stdout, row)
	case "name":
		fmt.Fprintln(w.Stdout, resourceName(row))
		return nil
	}
	cells, notes := w.columns([]view.Row{row}, false, w.o.all)
	if w.head {
		cells, notes = cells[1:], notes[1:]
	}
	w.head = true
	w.table.write(cells, notes)
	return nil
}

// seeScope: a kind that may not be followed is left out, unless it was asked for.
func (w *watched) seeScope(g sighting, scopes int) error {
	name := g.kind.Resource.Resource
	if g.err == nil || slices.Contains(w.left, name) || notServed(g.err) && len(w.o.kinds)+len(w.o.names) == 0 {
		return nil
	}
	if !lost(g.err) {
		w.tell("The API server cannot be followed, trying again: %v", g.err)
		return nil
	}
	if w.left = append(w.left, name); len(w.o.kinds)+len(w.o.names) > 0 || len(w.left) == scopes {
		return fmt.Errorf("follow %s %s: %w", g.kind.Resource.GroupResource(), w.where(w.o.choice), g.err)
	}
	w.tell("Left out, since you may not list and watch them %s: %s", w.where(w.o.choice), strings.Join([]string{name}, ", "))
	return nil
}
