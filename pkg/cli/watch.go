package cli

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// statusWatcher prints changes for status -w.
type statusWatcher struct {
	*session
	o       *statusOptions
	table   table
	shown   map[target.Ref]string // what was shown last of each target
	header  bool                  // whether the header has been printed
	leftOut []string              // kinds that cannot be watched
}

// watchStatus prints what is in maintenance, and then a line for each change, until a signal
// arrives. That is not an error.
func (s *session) watchStatus(ctx context.Context, o *statusOptions) error {
	follow, stop := context.WithCancel(ctx)
	defer stop()
	w := &statusWatcher{session: s, o: o, table: table{out: s.Stdout, widths: widths(o)}, shown: map[target.Ref]string{}}
	scopes := s.scopes(o)
	updates := s.follow(follow, scopes)
	for {
		select {
		case <-ctx.Done():
			return nil
		case u := <-updates:
			if err := w.observe(u, len(scopes)); err != nil {
				return err
			}
		}
	}
}

// widths are minimal widths of columns, with room for later rows.
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

func (w *statusWatcher) observe(u update, scopes int) error {
	if u.scope != nil {
		return w.observeScope(u, scopes)
	}
	row := view.Row{Kind: u.ref.Kind, Namespace: u.ref.Namespace, Name: u.ref.Name, State: "deleted"}
	in := false
	if u.meta != nil {
		row, in = u.row(w.keys)
	}
	before, known := w.shown[u.ref]
	now := fmt.Sprint(row.State, row.Message, row.Until, row.By, row.Reason, row.Page, row.PageSet, row.Leases, row.Problems)
	if now == before || !in && !known && len(w.o.names) == 0 {
		return nil
	}
	w.shown[u.ref] = now
	if !in {
		delete(w.shown, u.ref)
		if len(w.o.names) > 0 && u.meta != nil {
			w.shown[u.ref] = now
		}
	}
	return w.show(row)
}

func (w *statusWatcher) show(row view.Row) error {
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
	if w.header {
		cells, notes = cells[1:], notes[1:]
	}
	w.header = true
	w.table.write(cells, notes)
	return nil
}

// observeScope leaves out a kind that may not be watched, unless it was asked for.
func (w *statusWatcher) observeScope(u update, scopes int) error {
	name := u.kind.Resource.Resource
	if u.err == nil || slices.Contains(w.leftOut, name) || notServed(u.err) && len(w.o.kinds)+len(w.o.names) == 0 {
		return nil
	}
	if !isPermanent(u.err) {
		w.tell("Cannot watch for changes, trying again: %v", u.err)
		return nil
	}
	if w.leftOut = append(w.leftOut, name); len(w.o.kinds)+len(w.o.names) > 0 || len(w.leftOut) == scopes {
		return fmt.Errorf("watch %s %s: %w", u.kind.Resource.GroupResource(), w.where(w.o.choice), u.err)
	}
	w.tell("Left out, because you may not list and watch them %s: %s", w.where(w.o.choice), name)
	return nil
}
