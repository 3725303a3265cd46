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

// table prints rows with aligned columns, also across several writes.
type table struct {
	out    io.Writer
	widths []int
}

// write prints rows of cells, and a note below each row that has one.
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
		fmt.Fprintln(t.out, escaped(strings.TrimRight(line.String(), " ")))
		if n < len(notes) && notes[n] != "" {
			fmt.Fprintln(t.out, escaped("  "+strings.ReplaceAll(notes[n], "\n", "\n  ")))
		}
	}
}

// columns returns the header and the cells of rows, and their notes. There is a column for
// the namespace if all namespaces are shown.
func (s *session) columns(rows []view.Row, wide, all bool) (cells [][]string, notes []string) { //nolint:revive // flag-parameter: they are flags of the command
	head := []string{"NAME", "STATE", "SINCE", "UNTIL", "BY", "PAGE", "REASON"}
	if wide {
		head = append(head, "HOSTS", "PAGE SET")
	}
	if all {
		head = append([]string{"NAMESPACE"}, head...)
	}
	cells, notes = append(cells, head), append(notes, "")
	now := s.clock.Estimate()
	for _, row := range rows {
		line := []string{strings.ToLower(row.Kind) + "/" + row.Name, row.State, since(row, now), endsIn(row, now), by(row), orDash(row.Page), orDash(row.Reason)}
		if wide {
			line = append(line, orDash(hostsText(row)), orDash(row.PageSet))
		}
		if all {
			line = append([]string{row.Namespace}, line...)
		}
		cells, notes = append(cells, line), append(notes, strings.Join(notesOn(row, now), "\n"))
	}
	return cells, notes
}

func orDash(s string) string { return cmp.Or(s, "-") }

func since(row view.Row, now time.Time) string {
	if row.Since.IsZero() {
		return "-"
	}
	return humanDuration(now.Sub(row.Since))
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
	return "in " + humanDuration(row.Until.Sub(now))
}

func by(row view.Row) string {
	switch {
	case row.Cause != "":
		return "auto"
	case row.By == "" && len(row.Leases) > 0:
		return "run"
	}
	return orDash(row.By)
}

// notesOn says what a target waits for and what is wrong with it; nothing if all is well.
func notesOn(row view.Row, now time.Time) (lines []string) {
	if row.Cause != "" {
		lines = append(lines, "started automatically: "+row.Cause)
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

// humanDuration is a duration for people: 12m, 3h20m.
func humanDuration(d time.Duration) string { return duration.HumanDuration(max(d, 0)) }

// localTime is a time in the person's time zone.
func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -07:00") }
