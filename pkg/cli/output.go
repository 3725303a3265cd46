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

// output is the format of results.
type output struct{ format string }

func (o *output) flags(f *pflag.FlagSet) {
	f.StringVarP(&o.format, "output", "o", "", "output format: json, yaml, wide or name; empty = text")
}

func (o *output) check() error {
	switch o.format {
	case "", "json", "yaml", "wide", "name":
		return nil
	}
	return usagef("-o %s: use json, yaml, wide or name", o.format)
}

// show prints the results of a verb.
func (o *output) show(s *session, all []result) error {
	var rows []view.Row
	for _, r := range all {
		row, _ := r.row(s.keys)
		rows = append(rows, row)
	}
	switch o.format {
	case "json", "yaml", "name":
		return o.rows(s.Stdout, rows)
	}
	for i, r := range all {
		text := s.label(r.ref()) + " " + r.outcome
		if until := rows[i].Until; !until.IsZero() && r.outcome != outcomeRestored {
			text += fmt.Sprintf(", until %s (in %s)", localTime(until), humanDuration(until.Sub(s.clock.Estimate())))
		}
		if o.format == "wide" && len(rows[i].Hosts) > 0 {
			text += ", hosts " + hostsText(rows[i])
		}
		fmt.Fprintln(s.Stdout, escaped(text))
	}
	return nil
}

// document is what -o json and -o yaml print.
type document struct {
	Items []view.Row `json:"items"`
}

// rows prints rows for programs.
func (o *output) rows(out io.Writer, rows []view.Row) error {
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

func (o *output) write(out io.Writer, what any) error {
	if o.format == "yaml" {
		text, err := yaml.Marshal(what)
		fmt.Fprint(out, string(text))
		return err
	}
	text, err := json.MarshalIndent(what, "", "  ")
	fmt.Fprintln(out, string(text))
	return err
}

// resourceName is the name that kubectl -o name prints: ingress.networking.k8s.io/my-app.
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
	return strings.Join(truncated(names), ", ")
}
