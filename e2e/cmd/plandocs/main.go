// Command plandocs makes the documentation's tables of what the controller reads and tells
// people, from its own lists.
//
//	plandocs annotations|states|events|checker-events|metrics|page-metrics
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/checker"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/reason"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "plandocs:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: plandocs annotations|states|events|checker-events|metrics|page-metrics")
	}
	switch args[0] {
	case "annotations":
		return write(out, keys())
	case "states":
		return write(out, states())
	case "events":
		return write(out, events(plan.Reasons()))
	case "metrics":
		return write(out, controllerMetrics())
	case "page-metrics":
		lines, err := pageMetrics()
		if err != nil {
			return err
		}
		return write(out, lines)
	case "checker-events":
		return write(out, events(checker.Reasons()))
	}
	return fmt.Errorf("there is no table of %q", args[0])
}

func write(out io.Writer, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return fmt.Errorf("write the table: %w", err)
		}
	}
	return nil
}

func keys() []string {
	lines := []string{"| annotation | set by | meaning |", "|---|---|---|"}
	for _, a := range annotations.Reference() {
		by := "controller"
		if a.Person {
			by = "you"
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", strings.Join(a.Keys, "`, `"), by, a.Meaning))
	}
	return lines
}

func states() []string {
	lines := []string{"| `maintenance/state` | visitors get | meaning |", "|---|---|---|"}
	for _, s := range plan.States() {
		name := "absent"
		if s.State != "" {
			name = "`" + s.State + "`"
		}
		lines = append(lines, fmt.Sprintf("| %s | %s | %s |", name, s.Visitors, s.Meaning))
	}
	return lines
}

func events[R ~string](reasons []reason.About[R]) []string {
	lines := []string{"| event | meaning | what to do |", "|---|---|---|"}
	for _, a := range reasons {
		warning := ""
		if a.Warning {
			warning = " (W)"
		}
		lines = append(lines, fmt.Sprintf("| `%s`%s | %s | %s |", a.Reason, warning, a.Meaning, a.Remedy))
	}
	return lines
}
