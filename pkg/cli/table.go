package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/duration"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/view"
)

// table aligns rows in columns, those that come later as well.
type table struct {
	out    io.Writer
	widths []int
}

// write prints rows of cells. A note, if it is not empty, is a line below its row.
func (t *table) write(rows [][]string, notes []string) {
	for _, cells := range rows {
		for i, cell := range cells {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, cells := range rows {
		var line strings.Builder
		for i, cell := range cells {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)+3))
		}
		fmt.Fprintln(t.out, harmless(strings.TrimRight(line.String(), " ")))
		if n < len(notes) && notes[n] != "" {
			fmt.Fprintln(t.out, harmless("  "+strings.ReplaceAll(notes[n], "\n", "\n  ")))
		}
	}
}

// columns of a row. A namespace is one where there may be several.
func (s *session) columns(rows []view.Row, wide, all bool) (cells [][]string, notes []string) { //nolint:revive // flag-parameter: what is shown, as it was asked for
	head := []string{"NAME", "STATE", "SINCE", "UNTIL", "BY", "PAGE", "REASON"}
	if wide {
		head = append(head, "HOSTS", "PAGE SET")
	}
	if all {
		head = append([]string{"NAMESPACE"}, head...)
	}
	cells, notes = append(cells, head), append(notes, "")
	now := s.clock.Reckon()
	for _, row := range rows {
		line := []string{strings.ToLower(row.Kind) + "/" + row.Name, row.State, since(row, now), endsIn(row, now), by(row), dash(row.Page), dash(row.Reason)}
		if wide {
			line = append(line, dash(hostsText(row)), dash(row.PageSet))
		}
		if all {
			line = append([]string{row.Namespace}, line...)
		}
		cells, notes = append(cells, line), append(notes, strings.Join(wrongs(row, now), "\n"))
	}
	return cells, notes
}

func dash(s string) string { return cmp.Or(s, "-") }

func since(row view.Row, now time.Time) string {
	if row.Since.IsZero() {
		return "-"
	}
	return lasting(now.Sub(row.Since))
}

func endsIn(row view.Row, now time.Time) string {
	switch {
	case row.Until.IsZero() && len(row.Leases) > 0:
		return "run ends"
	case row.Until.IsZero():
		return "-"
	case !row.Until.After(now):
		return "now"
	}
	return "in " + lasting(row.Until.Sub(now))
}

func by(row view.Row) string {
	switch {
	case row.Cause != "":
		return "itself"
	case row.By == "" && len(row.Leases) > 0:
		return "run"
	}
	return dash(row.By)
}

// wrongs are what a row waits for, and what is wrong with it. What is as it should be
// needs no words.
func wrongs(row view.Row, now time.Time) (lines []string) {
	if row.Cause != "" {
		lines = append(lines, "it began by itself: "+row.Cause)
	}
	if row.State != annotations.Active && row.State != view.Off {
		if why := whyItWaits(row, now); why != "" {
			lines = append(lines, why)
		}
	} else if row.Message != "" {
		lines = append(lines, row.Message)
	}
	return append(lines, row.Problems...)
}

// lasting is a time for people: 12m, 3h20m.
func lasting(d time.Duration) string { return duration.HumanDuration(max(d, 0)) }

// clockTime is a point in time in the person's own zone.
func clockTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -07:00") }
