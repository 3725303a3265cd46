// Command tests runs `go test` with the arguments that it is given and shows what
// that shows: a line for each package, and all of a test that fails. Beside, it says
// now and then what is left and what runs, and notes how long each test took.
//
//	tests [--times FILE] ARGUMENTS-OF-GO-TEST
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
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
	if len(args) > 1 && args[0] == "--times" {
		file, openErr := os.OpenFile(args[1], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if openErr != nil {
			return fmt.Errorf("note times: %w", openErr)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		times, args = file, args[2:]
	}
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
	r := newReport(out, times, count(ctx, args))
	r.follow(lines(events))
	return cmd.Wait()
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

// count says how many tests each package has that the arguments name, by reading
// the sources: to ask the tests themselves takes as long as to compile them. No
// answer is no harm, then nothing is said of what is left.
func count(ctx context.Context, args []string) map[string]int {
	var packages []string
	for _, arg := range args {
		if strings.HasPrefix(arg, ".") || strings.Contains(arg, "/") && !strings.HasPrefix(arg, "-") {
			packages = append(packages, arg)
		}
	}
	out, err := exec.CommandContext(ctx, "go", append([]string{"list", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles"}, packages...)...).Output()
	if err != nil {
		return nil
	}
	tests := map[string]int{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Dir           string
			TestGoFiles, XTestGoFiles []string
		}
		if d.Decode(&p) != nil {
			return tests
		}
		for _, name := range append(p.TestGoFiles, p.XTestGoFiles...) {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				return nil
			}
			tests[p.ImportPath] += len(declaresTest.FindAll(text, -1))
		}
	}
}

var declaresTest = regexp.MustCompile(`(?m)^func (Test|Fuzz)[A-Z_]\w*\(\w+ \*testing\.[TF]\)|^func Example\w*\(\)`)
