// Command soak runs the long forms of the tests that have one, one after the other,
// adds up what they have counted, and prints it as one table. It fails if a test
// does, if anything is wrong, or if nothing was counted that should have been.
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
	longest             time.Duration
	together            string // how many tests at once: those that mostly wait do not hurt each other
}

// steps take about 45 minutes on two cores; what they may take at most is longest.
var steps = []step{
	{"no hole under load", "./node", "^TestNoHoleUnderLoad$", 15 * time.Minute, "1"},
	{"data planes", "./node", "^TestDataPlanes$", 15 * time.Minute, "6"},
	{"kill after every write", "./apiserver", "^(TestKilledAfterEveryWrite|TestTwoVersionsHandOver)$", 8 * time.Minute, "6"},
	{"storm of faults", "./apiserver", "^TestAStormOfFaults$", 8 * time.Minute, "1"},
	{"many hands and shapes", "./apiserver", "^(TestManyHands|TestEveryShape)$", 8 * time.Minute, "2"},
	{"soak", "./apiserver", "^TestSoak$", 12 * time.Minute, "1"},
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
	logs := flags.String("logs", filepath.Join(os.TempDir(), "maintenance-soak"), "folder for the output of the tests")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := binaries.Root()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*logs, 0o755); err != nil {
		return fmt.Errorf("folder for the output of the tests: %w", err)
	}
	total := counts{}
	for _, s := range steps {
		if !strings.Contains(s.name, *only) {
			continue
		}
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

// run runs the tests in a form; their output goes to a file.
func (s step) run(ctx context.Context, dir, log, form string) error {
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // what was written is read again, and judged
	args := []string{"test", s.folder, "-v", "-count=1", "-run", s.tests, "-timeout", s.longest.String(), "-parallel", s.together, form}
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir, command.Stdout, command.Stderr = dir, file, file
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 30 * time.Second
	return command.Run()
}

// read adds what the tests have counted.
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
