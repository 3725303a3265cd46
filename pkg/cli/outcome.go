package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// outcome is how results are shown.
type outcome struct{ format string }

func (o *outcome) flags(f *pflag.FlagSet) {
	f.StringVarP(&o.format, "output", "o", "", "json, yaml, wide or name")
}

func (o *outcome) check() error {
	switch o.format {
	case "", "json", "yaml", "wide", "name":
		return nil
	}
	return usagef("-o %s: it is json, yaml, wide or name", o.format)
}

// show tells what has become of targets.
func (o *outcome) show(s *session, all []changed) error {
	var rows []view.Row
	for _, c := range all {
		row := c.row
		if row.Kind == "" {
			row, _ = c.found.row(s.keys)
		}
		rows = append(rows, row)
	}
	switch o.format {
	case "json", "yaml", "name":
		return o.rows(s.Stdout, rows)
	}
	for i, c := range all {
		text := s.label(c.ref()) + " " + c.what
		if until := rows[i].Until; !until.IsZero() && c.what != "restored" {
			text += fmt.Sprintf(", until %s (in %s)", clockTime(until), lasting(until.Sub(s.clock.Reckon())))
		}
		if o.format == "wide" && len(rows[i].Hosts) > 0 {
			text += ", hosts " + hostsText(rows[i])
		}
		fmt.Fprintln(s.Stdout, harmless(text))
	}
	return nil
}

// document is what -o json and -o yaml give.
type document struct {
	Items []view.Row `json:"items"`
}

// rows writes them for programs.
func (o *outcome) rows(out io.Writer, rows []view.Row) error {
	if rows == nil {
		rows = []view.Row{}
	}
	if o.format == "name" {
		for _, row := range rows {
			fmt.Fprintln(out, resourceName(row))
		}
		return nil
	}
	return o.write(out, document{rows})
}

func (o *outcome) write(out io.Writer, what any) error {
	if o.format == "yaml" {
		text, err := yaml.Marshal(what)
		fmt.Fprint(out, string(text))
		return err
	}
	text, err := json.MarshalIndent(what, "", "  ")
	fmt.Fprintln(out, string(text))
	return err
}

// resourceName is as kubectl has it: ingress.networking.k8s.io/my-app.
func resourceName(row view.Row) string {
	kind, _ := target.KindByName(row.Kind)
	name := strings.ToLower(row.Kind)
	if kind.Resource.Group != "" {
		name += "." + kind.Resource.Group
	}
	return name + "/" + row.Name
}

func hostsText(row view.Row) string {
	var names []string
	for _, h := range row.Hosts {
		names = append(names, h.String())
	}
	return strings.Join(shortened(names), ", ")
}
