// Command tests runs `go test` with the arguments that it is given and shows what
// that shows: a line for each package, and all of a test that fails. Beside, it says
// now and then what is left and what runs, and notes how long each test took.
//
//	tests [--times FILE] [--only alone|parallel] ARGUMENTS-OF-GO-TEST
//
// With --only, it runs the tests that must run alone, or those that are parallel: side
// by side with itself, if they share nothing.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) (err error) {
	times := io.Discard
	if value, rest, is := option("--times", args); is {
		file, openErr := os.OpenFile(value, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if openErr != nil {
			return fmt.Errorf("note times: %w", openErr)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		times, args = file, rest
	}
	which, args, some := option("--only", args)
	tests, err := declares(ctx, args)
	if some {
		if err != nil {
			return err
		}
		if which != alone && which != parallel {
			return fmt.Errorf("--only takes %s or %s", alone, parallel)
		}
		tests.only(which)
		args = append([]string{"-run", tests.pattern()}, args...)
	}
	// Without an answer nothing is said of what is left, which is no harm.
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = out // what go says before any test
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r := newReport(out, times, tests.count())
	r.follow(lines(events))
	return cmd.Wait()
}

// option takes an option with a value off the arguments, if they begin with it.
func option(name string, args []string) (value string, rest []string, is bool) {
	if len(args) < 2 || args[0] != name {
		return "", args, false
	}
	return args[1], args[2:], true
}

// lines gives each line of a stream, whatever its length.
func lines(stream io.Reader) <-chan []byte {
	all := make(chan []byte)
	go func() {
		defer close(all)
		for reader := bufio.NewReader(stream); ; {
			line, err := reader.ReadBytes('\n')
			if len(line) > 0 {
				all <- line
			}
			if err != nil {
				return
			}
		}
	}()
	return all
}
