// Command soak runs the tests with long forms one after the other, adds up their counts, and
// prints a table. It fails if a test fails or a count is not what it must be.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"maintenance-controller.io/e2e/binaries"
)

// step is a run of tests of one package.
type step struct {
	name, folder, tests string
	timeout             time.Duration
	parallel            string // how many tests run at once: tests that mostly wait do not slow each other down
}

// steps take about 50 minutes on two cores, and at most the sum of their timeouts.
var steps = []step{
	{"wrong answers under load", "./node", "^TestNoWrongAnswersUnderLoad$", 15 * time.Minute, "1"},
	{"data planes", "./node", "^TestDataPlanes$", 15 * time.Minute, "6"},
	{"kill after every write", "./apiserver", "^(TestKilledAfterEveryWrite|TestTwoVersionsTakeTurns)$", 8 * time.Minute, "6"},
	{"random faults", "./apiserver", "^TestRandomFaults$", 8 * time.Minute, "1"},
	{"random tools and shapes", "./apiserver", "^(TestRandomTools|TestRandomShapes)$", 8 * time.Minute, "2"},
	{"many checkers", "./apiserver", "^TestManyCheckers$", 8 * time.Minute, "1"},
	{"soak", "./apiserver", "^TestSoak$", 12 * time.Minute, "1"},
}

// chosen returns the steps whose name contains part.
func chosen(part string) ([]step, error) {
	var some []step
	var names []string
	for _, s := range steps {
		names = append(names, s.name)
		if strings.Contains(s.name, part) {
			some = append(some, s)
		}
	}
	if len(some) == 0 {
		return nil, fmt.Errorf("--only %q: no step has that in its name; there are %s", part, strings.Join(names, ", "))
	}
	return some, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	short := flags.Bool("short", false, "run the short forms, as make test does")
	only := flags.String("only", "", "run only the steps whose name contains this")
	logs := flags.String("logs", filepath.Join(os.TempDir(), "maintenance-soak"), "folder for the tests' output")
	if err := flags.Parse(args); err != nil {
		return err
	}
	some, err := chosen(*only)
	if err != nil {
		return err
	}
	root, err := binaries.Root()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*logs, 0o755); err != nil {
		return fmt.Errorf("make the folder for the tests' output: %w", err)
	}
	total := counts{}
	for _, s := range some {
		begin := time.Now()
		fmt.Fprintf(out, "%-24s … ", s.name)
		log := filepath.Join(*logs, strings.ReplaceAll(s.name, " ", "-")+".log")
		failed := s.run(ctx, filepath.Join(root, "e2e"), log, fmt.Sprintf("-long=%t", !*short))
		verdict := "passed"
		if failed != nil {
			verdict = "FAILED: see " + log
			total["tests that failed"]++
		}
		fmt.Fprintf(out, "%5.0fs  %s\n", time.Since(begin).Seconds(), verdict)
		if err := total.read(log); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return total.report(out, *only != "")
}

// run runs the tests with form, their -long flag, and writes their output to the file log.
func (s step) run(ctx context.Context, dir, log, form string) error {
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // the file is read again, so lost output would show
	args := []string{"test", s.folder, "-v", "-count=1", "-run", s.tests, "-timeout", s.timeout.String(), "-parallel", s.parallel, form}
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir, command.Stdout, command.Stderr = dir, file, file
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 30 * time.Second
	return command.Run()
}

// read adds the counts in the output of tests.
func (c counts) read(log string) error {
	file, err := os.Open(log)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if err := c.add(lines.Text()); err != nil {
			return fmt.Errorf("%s: %w", log, err)
		}
	}
	return lines.Err()
}
