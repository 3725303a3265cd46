// Command vuln runs govulncheck on the modules of this tree and fails on advisories that affect
// them. It uses the Go vulnerability database or, with --snapshot, the embedded advisories: without
// network, and so that the verdict depends on the commit alone.
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

// modules are the folders of this tree's modules.
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
	program := flags.String("govulncheck", "govulncheck", "path of govulncheck")
	database := flags.String("db", "https://vuln.go.dev", "URL of the vulnerability database")
	snapshot := flags.Bool("snapshot", false, "use the embedded advisories instead of the database")
	refresh := flags.String("refresh", "", "update the embedded advisories from data/osv of a clone of github.com/golang/vulndb, and exit")
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
	if *snapshot {
		dir, err := os.MkdirTemp("", "maintenance-vuln-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // at worst it stays in the temporary folder
		known, err := unpack(dir)
		if err != nil {
			return err
		}
		*database = "file://" + dir
		fmt.Fprintf(out, "using %d embedded advisories, up to %s\n", known.count, known.last)
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
		return errors.New("update the vulnerable modules, or stop using the packages")
	}
	return nil
}

// check runs govulncheck on a module. With -format json its exit code does not depend on findings.
func check(ctx context.Context, program, database, folder string) ([]verdict, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, program, "-db", database, "-format", "json", "./...")
	command.Dir, command.Stdout, command.Stderr = folder, &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%s with database %s (--snapshot works without): %w: %s", program, database, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return judge(&stdout)
}
