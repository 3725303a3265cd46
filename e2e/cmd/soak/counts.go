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

// counts are what the tests have counted, by name.
type counts map[string]int64

// rule is what a count must be for the run to be a good one.
type rule int

const (
	some rule = iota // above 0: else a test has not done what it is for
	none             // 0
	told             // only told
)

// rows of the table.
var rows = []struct {
	name string
	rule rule
}{
	{"requests sent", some},
	{"wrong answers", none},
	{"toggles", some},
	{"page changes", some},
	{"page Pods deleted", some},
	{"kills", some},
	{"handovers", some},
	{"calls to the API server", some},
	{"faults injected", some},
	{"revisions judged", some},
	{"revisions not sound", none},
	{"holes", none},
	{"writes of other hands", some},
	{"shapes restored", some},
	{"objects lost or left over", none},
	{"heap KiB before", told},
	{"heap KiB after", told},
	{"goroutines before", told},
	{"goroutines after", told},
	{"largest queue", told},
	{"p99 ms", told},
	{"tests that failed", none},
}

// add reads a line of a test's output. A line without counts is passed over; one
// that the table has no row for is an error, or it would be missed by nobody.
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
		return fmt.Errorf("%q: the table has no row for it", line)
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

// report prints the table. Where only a part was run, counts may be missing.
func (c counts) report(out io.Writer, part bool) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table)
	bad := false
	for _, row := range rows {
		n, counted := c[row.name]
		verdict := ""
		switch {
		case row.rule == none && n > 0, row.rule == some && n == 0 && !part:
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
		return errors.New("something is wrong")
	}
	return nil
}
