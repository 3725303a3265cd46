// Command vuln runs govulncheck over the modules of this tree and fails on what
// concerns it. It asks the Go vulnerability database, or, where that is out of reach
// or the verdict is to depend on the commit alone, the advisories that it carries.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"maintenance-controller.io/e2e/binaries"
)

// modules of this tree, by their folders.
var modules = []string{".", "e2e", "e2e/pageserver"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("vuln", flag.ContinueOnError)
	program := flags.String("govulncheck", "govulncheck", "the program to run")
	database := flags.String("db", "https://vuln.go.dev", "vulnerability database to ask")
	carried := flags.Bool("snapshot", false, "ask the advisories that this program carries instead")
	refresh := flags.String("refresh", "", "write the advisories to carry anew, from data/osv of a clone of github.com/golang/vulndb, and stop")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := binaries.Root()
	if err != nil {
		return err
	}
	if *refresh != "" {
		return write(ctx, out, root, *refresh)
	}
	if *carried {
		dir, err := os.MkdirTemp("", "maintenance-vuln-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // in the temporary folder, at worst
		known, err := unpack(dir)
		if err != nil {
			return err
		}
		*database = "file://" + dir
		fmt.Fprintf(out, "%d advisories are known here, up to %s\n", known.count, known.last)
	}
	bad := false
	for _, module := range modules {
		found, err := check(ctx, *program, *database, filepath.Join(root, module))
		if err != nil {
			return fmt.Errorf("module %s: %w", module, err)
		}
		fmt.Fprintf(out, "module %s\n", module)
		for _, v := range found {
			bad = bad || v.excuse == ""
			fmt.Fprintf(out, "  %s\n", v)
		}
	}
	if bad {
		return errors.New("take versions without these, or do without the packages")
	}
	return nil
}

// check runs govulncheck over a module. Its exit code says nothing with -format json.
func check(ctx context.Context, program, database, folder string) ([]verdict, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, program, "-db", database, "-format", "json", "./...")
	command.Dir, command.Stdout, command.Stderr = folder, &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%s with database %s (--snapshot asks none): %w: %s", program, database, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return judge(&stdout)
}
