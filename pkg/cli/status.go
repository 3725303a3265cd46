package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

type statusOptions struct {
	choice
	output
	watch bool
}

func (s *session) statusCommand() *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:   "status [TYPE/NAME… | TYPE] [-l SELECTOR] [--host HOST]",
		Short: "Show what is in maintenance, since when, until when, by whom and why",
		Long: `Shows what is in maintenance: since when, until when, by whom, why, with which page, and what is wrong. With names it
shows all details of each, whether it is in maintenance or not. With -w it watches for changes until you stop it.`,
		Example: `  kubectl maintenance status
  kubectl maintenance status ingress/my-app
  kubectl maintenance status -A -w`,
		ValidArgsFunction: s.completeTargets,
		RunE:              func(c *cobra.Command, args []string) error { return s.status(c.Context(), &o, args) },
	}
	f := c.Flags()
	f.SortFlags = false
	o.choice.flags(f)
	f.BoolVarP(&o.watch, "watch", "w", false, "watch for changes, and print a line for each")
	o.output.flags(f)
	f.Lookup("all-namespaces").Usage = "look in all namespaces"
	s.completeFlags(c)
	return c
}

func (s *session) listCommand() *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:     "list [TYPE] [-l SELECTOR]",
		Aliases: []string{"ls"},
		Short:   "List what is in maintenance",
		Example: `  kubectl maintenance list -A
  kubectl maintenance list ingress -o name`,
		ValidArgsFunction: s.completeTypes,
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.read(args); err == nil && len(o.names) > 0 {
				return usagef("list takes no names: use 'kubectl maintenance status %s'", args[0])
			}
			o.choice.kinds = nil
			return s.status(c.Context(), &o, args)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVarP(&o.selector, "selector", "l", "", "only objects with these labels")
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "look in all namespaces")
	o.output.flags(f)
	s.completeFlags(c)
	return c
}

func (o *statusOptions) check(args []string) error {
	if err := o.output.check(); err != nil {
		return err
	}
	if err := o.read(args); err != nil {
		return err
	}
	switch {
	case len(o.names) > 0 && (o.all || o.selector != ""):
		return usagef("-A and -l cannot be combined with names")
	case o.host != "" && (len(args) > 0 || o.selector != "" || o.watch):
		return usagef("--host searches targets of every kind once: leave out types, names, -l and -w")
	}
	return nil
}

func (s *session) status(ctx context.Context, o *statusOptions, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	ctx, stop := s.untilSignal(ctx)
	defer stop()
	switch {
	case o.watch:
		return s.watchStatus(ctx, o)
	case len(o.names) > 0, o.host != "":
		return s.statusOf(ctx, o)
	}
	rows, err := s.rows(ctx, o)
	if err != nil && rows == nil {
		return err
	}
	return errors.Join(s.showRows(o, rows), err)
}

// statusOf shows all details of the chosen targets.
func (s *session) statusOf(ctx context.Context, o *statusOptions) error {
	all, failed := s.find(ctx, o.choice)
	var rows []view.Row
	for _, f := range all {
		row, _ := f.row(s.keys)
		rows = append(rows, row)
	}
	switch o.format {
	case "json", "yaml", "name":
		return errors.Join(o.output.rows(s.Stdout, rows), failed)
	}
	for i, f := range all {
		if i > 0 {
			fmt.Fprintln(s.Stdout)
		}
		s.describe(rows[i], s.warnings(ctx, f))
	}
	return failed
}

// describe prints a row as lines.
func (s *session) describe(row view.Row, warnings []string) {
	now := s.clock.Estimate()
	lines := [][]string{{"State:", row.State}}
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, []string{name, value})
		}
	}
	if !row.Since.IsZero() {
		add("Since:", fmt.Sprintf("%s (%s)", localTime(row.Since), humanDuration(now.Sub(row.Since))))
	}
	if !row.Until.IsZero() {
		add("Until:", fmt.Sprintf("%s (%s)", localTime(row.Until), endsIn(row, now)))
	}
	add("By:", row.By)
	add("Reason:", row.Reason)
	add("Page:", row.Page)
	add("Page set:", row.PageSet)
	add("Hosts:", hostsText(row))
	add("Leases:", strings.Join(row.Leases, ", "))
	for _, line := range append(notesOn(row, now), warnings...) {
		add("Note:", line)
	}
	for i := range lines {
		lines[i][0] = "  " + lines[i][0]
	}
	fmt.Fprintln(s.Stdout, s.label(row.Ref()))
	(&table{out: s.Stdout}).write(lines, nil)
}

// maxWarnings is how many Events are shown, the last ones.
const maxWarnings = 5

// warnings are the controller's last Warning Events; none if they may not be read.
func (s *session) warnings(ctx context.Context, f found) (lines []string) {
	selector := fields.SelectorFromSet(fields.Set{"involvedObject.uid": string(f.object.GetUID()), "type": corev1.EventTypeWarning})
	events, err := s.core.Events(f.ref().Namespace).List(ctx, metav1.ListOptions{FieldSelector: selector.String()})
	if err != nil {
		return nil // the state says enough without them
	}
	last := func(e corev1.Event) time.Time {
		return cmp.Or(e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time)
	}
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return last(a).Compare(last(b)) })
	for _, e := range events.Items {
		if e.Source.Component == annotations.ManagedBy || e.ReportingController == annotations.ManagedBy {
			lines = append(lines, annotations.Line(fmt.Sprintf("%s ago %s: %s", humanDuration(s.clock.Estimate().Sub(last(e))), e.Reason, e.Message), annotations.MaxMessage))
		}
	}
	return lines[max(0, len(lines)-maxWarnings):]
}

// rows of what is in maintenance. It lists only metadata, and reads the objects of those that
// are shown with their hosts. A kind that may not be listed is left out with a message, and is
// an error if it was asked for.
func (s *session) rows(ctx context.Context, o *statusOptions) (rows []view.Row, err error) {
	kinds := o.kinds
	if len(kinds) == 0 {
		kinds = target.Kinds()
	}
	rows = []view.Row{}
	var left []string
	for _, kind := range kinds {
		some, err := s.rowsOf(ctx, kind, o)
		err = s.asServed(kind, err)
		switch {
		case notServed(err):
		case apierrors.IsForbidden(err) && len(o.kinds) == 0 && len(left) < len(kinds)-1:
			left = append(left, kind.Resource.Resource)
		case err != nil:
			return nil, fmt.Errorf("list %s %s: %w", kind.Resource.GroupResource(), s.where(o.choice), err)
		}
		rows = append(rows, some...)
	}
	if len(left) > 0 {
		s.tell("Left out, because you may not list them %s: %s", s.where(o.choice), strings.Join(left, ", "))
	}
	view.Sort(rows)
	return rows, nil
}

func (s *session) rowsOf(ctx context.Context, kind target.Kind, o *statusOptions) (rows []view.Row, err error) {
	namespace := s.namespace
	if o.all {
		namespace = metav1.NamespaceAll
	}
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return s.metadata.Resource(kind.Resource).Namespace(namespace).List(ctx, options)
	})
	err = pages.EachListItem(ctx, metav1.ListOptions{LabelSelector: o.selector}, func(item runtime.Object) error {
		meta, ok := item.(*metav1.PartialObjectMetadata)
		if !ok {
			return nil
		}
		if row, in := (update{kind: kind, meta: meta}).row(s.keys); in {
			rows = append(rows, row)
		}
		return nil
	})
	if err != nil || o.format == "" || o.format == "name" {
		return rows, err
	}
	for i, row := range rows {
		f, err := s.get(ctx, row.Ref())
		if err != nil {
			continue // it has just been deleted
		}
		if whole, in := f.row(s.keys); in {
			rows[i] = whole
		}
	}
	return rows, nil
}

func (s *session) showRows(o *statusOptions, rows []view.Row) error {
	switch o.format {
	case "json", "yaml", "name":
		return o.output.rows(s.Stdout, rows)
	}
	if len(rows) == 0 {
		s.tell("Nothing is in maintenance %s.", s.where(o.choice))
		return nil
	}
	cells, notes := s.columns(rows, o.format == "wide", o.all)
	(&table{out: s.Stdout}).write(cells, notes)
	return nil
}
