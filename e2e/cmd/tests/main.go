// Command tests runs `go test` and shows a line for each package and the full output of failed
// tests. From time to time it prints how many tests are left and which ones run. With --times it
// appends a line for each test to a file: seconds, name, package, and "failed" or "unfinished" if it
// did not pass.
//
//	tests [--times FILE] [--only serial|parallel] ARGUMENTS-OF-GO-TEST
//
// With --only it runs just the serial tests, or just those that call t.Parallel and, before them,
// those that are marked with the comment //tests:before-parallel.
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
			return fmt.Errorf("open the file for durations: %w", openErr)
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
		if which != serial && which != parallel {
			return fmt.Errorf("--only takes %s or %s", serial, parallel)
		}
		tests.only(which)
		args = append([]string{"-run", tests.pattern()}, args...)
	}
	// If the tests could not be listed, progress lines only lack the number of tests left.
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = out // messages of go before the first test
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

// option returns the value of an option and the rest of the arguments, if they start with it.
func option(name string, args []string) (value string, rest []string, is bool) {
	if len(args) < 2 || args[0] != name {
		return "", args, false
	}
	return args[1], args[2:], true
}

// lines sends each line of a stream, of any length.
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
