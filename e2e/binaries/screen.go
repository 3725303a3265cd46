package binaries

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// screen is where progress is shown: a terminal, whose last lines are a table that is
// drawn anew, or a log.
type screen struct {
	w     io.Writer
	width int // of the terminal; 0 is none

	mu    sync.Mutex // guards what follows
	table []string
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok && os.Getenv("TERM") != "dumb" {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			s.width = int(size.Col)
		}
	}
	return s
}

func (s *screen) terminal() bool { return s.width > 0 }

// line shows a line that stays, above the table. What cannot be written is dropped:
// nothing depends on progress.
func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	_, _ = fmt.Fprintf(s.w, format+"\n", args...)
	s.print()
}

// log is line in a log, and nothing on a terminal, whose table says it.
func (s *screen) log(format string, args ...any) {
	if !s.terminal() {
		s.line(format, args...)
	}
}

// draw shows a table in place of the last one; a log has none.
func (s *screen) draw(table []string) {
	if !s.terminal() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.table = table
	s.print()
}

// keep leaves the table where it is.
func (s *screen) keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = nil
}

// erase moves to the table's first line and clears the rest of the terminal.
func (s *screen) erase() {
	if len(s.table) > 0 {
		_, _ = fmt.Fprintf(s.w, "\x1b[%dA\x1b[J", len(s.table))
	}
}

// print cuts lines: one that wraps would be two to erase.
func (s *screen) print() {
	for _, line := range s.table {
		if runes := []rune(line); len(runes) >= s.width {
			line = string(runes[:s.width-1])
		}
		_, _ = fmt.Fprintln(s.w, line)
	}
}
