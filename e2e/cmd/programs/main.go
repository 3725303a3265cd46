// Command programs builds the programs that the local cluster and the tests run, and keeps
// them in a cache, see package binaries. It imports little, so that it compiles quickly and
// soon shows progress.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"maintenance-controller.io/e2e/binaries"
)

const usage = `usage: programs COMMAND [FLAGS]

  local        build the programs of a local cluster, download the Debian packages
               of its nodes, and build this tree's programs into bin/ and the
               demo's into dist/
  tests        build the programs that tests use: all of them for root, otherwise
               those of the control plane and of the chart's tests
  tool NAME    build one program, for example kubectl or helm, and print its path

Programs that are in the cache are not built again. Flags of local:

  --ldflags FLAGS   linker flags for the programs in bin/
  --times FILE      write to this file how long the parts took, in one line
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "programs:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return errors.New("no command given")
	}
	cache, err := binaries.NewCache(stderr)
	if err != nil {
		return err
	}
	switch args[0] {
	case "local":
		return local(ctx, cache, args[1:])
	case "tests":
		return tests(ctx, cache)
	case "tool":
		return tool(ctx, cache, args[1:], stdout)
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}

func local(ctx context.Context, cache *binaries.Cache, args []string) error {
	flags := flag.NewFlagSet("local", flag.ContinueOnError)
	ldflags := flags.String("ldflags", "", "")
	times := flags.String("times", "", "")
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := binaries.Root()
	if err != nil {
		return err
	}
	begin := time.Now()
	took, err := cache.Make(ctx, binaries.Order{Programs: binaries.Local(), Own: own(root, *ldflags), Packages: true})
	if err != nil {
		return err
	}
	if *times == "" {
		return nil
	}
	if err := os.WriteFile(*times, []byte(said(time.Since(begin), took)), 0o600); err != nil {
		return fmt.Errorf("write the times: %w", err)
	}
	return nil
}

// own lists this tree's programs that `make demo` runs.
func own(root, ldflags string) []binaries.Own {
	in := func(folder, name string) string {
		return filepath.Join(root, folder) + string(filepath.Separator) + name
	}
	const e2e = "maintenance-controller.io/e2e/"
	product := binaries.Own{Root: root, Package: "./cmd/...", Target: in("bin", "")}
	if ldflags != "" {
		product.Flags = []string{"-ldflags", ldflags}
	}
	return []binaries.Own{
		product,
		{Root: root, Package: e2e + "sampleapp", Target: in("dist", "sample-app")},
		{Root: root, Package: e2e + "cmd/cluster", Target: in("dist", "cluster")},
		{Root: root, Package: e2e + "cmd/image", Target: in("dist", "image")},
	}
}

// said is a line with the whole time and that of each part.
func said(whole time.Duration, parts []binaries.Time) string {
	var each []string
	for _, p := range parts {
		each = append(each, p.Part+" "+p.Took.Round(time.Second).String())
	}
	return fmt.Sprintf("programs %s (%s)\n", whole.Round(time.Second), strings.Join(each, ", "))
}

func tests(ctx context.Context, cache *binaries.Cache) error {
	if os.Geteuid() != 0 {
		return cache.Build(ctx, append(binaries.ControlPlane(), binaries.ChartTools()...)...)
	}
	_, err := cache.Make(ctx, binaries.Order{Programs: binaries.Everything(), Packages: true})
	return err
}

func tool(ctx context.Context, cache *binaries.Cache, names []string, stdout io.Writer) error {
	for _, p := range append(binaries.Everything(), binaries.ReleaseTools()...) {
		if !slices.Equal(names, []string{p.Name}) {
			continue
		}
		path, err := cache.Path(p)
		if err != nil {
			return err
		}
		if err := cache.Build(ctx, p); err != nil {
			return err
		}
		_, err = fmt.Fprintln(stdout, path)
		return err
	}
	return fmt.Errorf("there is no tool %q", names)
}
