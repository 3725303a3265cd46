package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"maintenance-controller.io/e2e/tally"
)

// counts are the counts of the tests by name.
type counts map[string]int64

// rule says what a count must be for the run to pass.
type rule int

const (
	positive      rule = iota // above 0: otherwise a test did not test anything
	zero                      // 0
	informational             // any
)

// rows are the rows of the table, in order.
var rows = []struct {
	name string
	rule rule
}{
	{"requests sent", positive},
	{"wrong answers", zero},
	{"toggles", positive},
	{"page changes", positive},
	{"page Pods deleted", positive},
	{"kills", positive},
	{"handovers", positive},
	{"calls to the API server", positive},
	{"faults injected", positive},
	{"revisions judged", positive},
	{"revisions not sound", zero},
	{"gaps", zero},
	{"writes of other tools", positive},
	{"shapes restored", positive},
	{"objects lost or left over", zero},
	{"heap KiB before", informational},
	{"heap KiB after", informational},
	{"goroutines before", informational},
	{"goroutines after", informational},
	{"largest queue", informational},
	{"p99 ms", informational},
	{"tests that failed", zero},
}

// add reads a line of a test's output. It ignores lines without a count. A count without a row in
// the table is an error, since otherwise nobody would see it.
func (c counts) add(line string) error {
	_, text, ok := strings.Cut(line, tally.Mark)
	if !ok {
		return nil
	}
	name, number, _ := strings.Cut(strings.TrimSpace(text), "=")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	name = strings.ReplaceAll(name, "-", " ")
	if !known(name) {
		return fmt.Errorf("%q: the table has no row for this count: add one to rows", line)
	}
	c[name] += n
	return nil
}

func known(name string) bool {
	for _, row := range rows {
		if row.name == name {
			return true
		}
	}
	return false
}

// report prints the table, and returns an error if a count breaks its rule. part says that only
// some steps ran, so that counts may be missing.
func (c counts) report(out io.Writer, part bool) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table)
	bad := false
	for _, row := range rows {
		n, counted := c[row.name]
		verdict := ""
		switch {
		case row.rule == zero && n > 0, row.rule == positive && n == 0 && !part:
			verdict, bad = "  WRONG", true
		case !counted && part:
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%s\n", row.name, n, verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if bad {
		return errors.New("counts marked WRONG are not what they must be")
	}
	return nil
}
