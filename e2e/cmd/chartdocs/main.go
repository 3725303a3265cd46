// Command chartdocs generates a chart's values schema, which Helm validates values with, and the
// tables of values for its README, from the values file and its comments.
//
//	chartdocs schema|table values.yaml
//
// The comment above a key describes it. A comment line "@schema {…}" adds to the key's schema,
// "@define NAME {…}" makes a definition that schemas can refer to, and "## Title" starts a section
// of the tables.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chartdocs:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: chartdocs schema|table values.yaml")
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return fmt.Errorf("read the values: %w", err)
	}
	values, err := parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	switch args[0] {
	case "schema":
		return values.writeSchema(out)
	case "table":
		return values.writeTables(out)
	}
	return fmt.Errorf("unknown output %q: use schema or table", args[0])
}
