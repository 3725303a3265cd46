// Command mutants puts known faults into the product, one at a time, and requires a named
// test to notice each: the test passes without the fault and fails with it. A fault that
// does not compile, or whose test does not exist, counts as unnoticed.
//
// See package mutant. The arguments are names of mutants; without arguments all are tried.
package main

import (
	"bufio"
	"bytes"
	"cmp"
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
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/mutant"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, names []string) error {
	mutants, err := chosen(names)
	if err != nil {
		return err
	}
	// The slowest come first, or one of them would run alone at the end.
	slices.SortStableFunc(mutants, func(a, b mutant.Mutant) int { return cmp.Compare(cost(b), cost(a)) })
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(atOnce)
	all.Go(func() error { return sane(ctx, mutants) })
	var mu sync.Mutex // guards what follows, and out
	var unnoticed []string
	for _, m := range mutants {
		all.Go(func() error {
			line := verdict(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() != nil {
				return nil // it was not tried
			}
			if strings.Contains(line, notNoticed) {
				unnoticed = append(unnoticed, m.Name)
			}
			fmt.Fprintln(out, line)
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	if len(unnoticed) > 0 {
		return fmt.Errorf("no test notices %s", strings.Join(unnoticed, ", "))
	}
	fmt.Fprintf(out, "%d mutants, each noticed by its test\n", len(mutants))
	return nil
}

// cost orders mutants by the duration of their tests: those with an API server start it.
func cost(m mutant.Mutant) int {
	return strings.Count(m.Package, "e2e/")
}

// atOnce is how many mutants are tried at once: while one waits for its API server, go
// compiles another.
const atOnce = 2

const notNoticed = "UNNOTICED: "

// verdict returns a line that says whether a mutant's test notices it.
func verdict(ctx context.Context, m mutant.Mutant) string {
	begin, result := time.Now(), "noticed"
	if err := noticed(ctx, m); err != nil {
		result = notNoticed + err.Error()
	}
	return fmt.Sprintf("%-36s %4.1fs  %s %s: %s", m.Name, time.Since(begin).Seconds(), m.Package, m.Test, result)
}

// chosen returns the mutants with these names, or all, as far as they name a test.
func chosen(names []string) ([]mutant.Mutant, error) {
	var mutants []mutant.Mutant
	all, err := mutant.All()
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.Test != "" && (len(names) == 0 || slices.Contains(names, m.Name)) {
			mutants = append(mutants, m)
		}
	}
	if len(mutants) == 0 {
		return nil, errors.New("there is no such mutant")
	}
	return mutants, nil
}

// sane runs the tests on the unchanged product: all must pass.
func sane(ctx context.Context, mutants []mutant.Mutant) error {
	tests := map[string][]string{}
	for _, m := range mutants {
		tests[m.Package] = append(tests[m.Package], m.Test)
	}
	for pkg, names := range tests {
		results, log, err := test(ctx, pkg, names)
		if err != nil {
			return err
		}
		for _, name := range names {
			if results[name] != "pass" {
				return fmt.Errorf("%s %s does not pass without a fault (result %q):\n%s", pkg, name, results[name], log)
			}
		}
	}
	return nil
}

// noticed returns an error if a mutant's test does not notice it.
func noticed(ctx context.Context, m mutant.Mutant) error {
	dir, err := os.MkdirTemp("", "maintenance-mutant-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // in the temporary folder
	overlay, err := m.Overlay(ctx, dir)
	if err != nil {
		return err
	}
	results, log, err := test(ctx, m.Package, []string{m.Test}, "-overlay="+overlay)
	if err != nil {
		return err
	}
	if result := results[m.Test]; result != "fail" {
		return fmt.Errorf("the result of the test is %q\n%s", result, log)
	}
	return nil
}

// test runs tests of a package and returns the result of each: pass, fail, or nothing if
// it did not complete.
func test(ctx context.Context, pkg string, names []string, flags ...string) (results map[string]string, log string, err error) {
	root, err := binaries.Root()
	if err != nil {
		return nil, "", err
	}
	// e2e is a module of its own.
	if inside, ok := strings.CutPrefix(pkg, "./e2e/"); ok {
		root, pkg = filepath.Join(root, "e2e"), "./"+inside
	}
	args := append([]string{"test", "-json", "-count=1", "-vet=off", "-timeout=30m", "-run=" + pattern(names)}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = root
	var output bytes.Buffer
	cmd.Stderr = &output
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // a test that fails is an answer
		return nil, "", err
	}
	results = map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var event struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue // output of programs
		}
		if output.WriteString(event.Output); event.Action == "pass" || event.Action == "fail" {
			results[event.Test] = event.Action
		}
	}
	return results, output.String(), nil
}

// pattern matches just these tests, level by level of their names.
func pattern(names []string) string {
	var all []string
	for _, name := range names {
		var levels []string
		for _, part := range strings.Split(name, "/") {
			levels = append(levels, "^"+regexp.QuoteMeta(part)+"$")
		}
		all = append(all, strings.Join(levels, "/"))
	}
	return strings.Join(all, "|")
}
