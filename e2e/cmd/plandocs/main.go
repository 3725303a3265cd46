// Command plandocs makes the documentation's tables of what the controller tells people,
// from the lists that it tells them by.
//
//	plandocs states|events|checker-events
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"maintenance-controller.io/pkg/checker"
	"maintenance-controller.io/pkg/plan"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "plandocs:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: plandocs states|events|checker-events")
	}
	switch args[0] {
	case "states":
		return write(out, states())
	case "events":
		return write(out, events(plan.Reasons()))
	case "checker-events":
		var reasons []plan.About
		for _, a := range checker.Reasons() {
			reasons = append(reasons, plan.About{Reason: plan.Reason(a.Reason), Warning: a.Warning, Meaning: a.Meaning, Remedy: a.Remedy})
		}
		return write(out, events(reasons))
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

func events(reasons []plan.About) []string {
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
