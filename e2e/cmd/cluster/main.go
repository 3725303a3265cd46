// Command cluster runs the local cluster of this source tree. It is what the
// Makefile calls.
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

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/image"
	"maintenance-controller.io/e2e/local"
)

const usage = `usage: cluster COMMAND [FLAGS] [ARGUMENTS]

  build                       build into the cache what tests can use: for root
                              everything, for others the control plane and
                              what tests of the chart need
  tool NAME                   build one of these programs, if the cache does not
                              hold it, and print where it is: kubectl, helm, …
  up [--nodes N]              start the cluster; no change when it is up
  down                        stop it and remove every trace
  image --out FILE --name NAME[:TAG] [--arch ARCH] [--label NAME=VALUE]... PROGRAM...
                              write an image of static programs, the first of
                              which it runs, and print its reference; the tag
                              is by content if none is given
  load FILE...                give the nodes images
  install --image REF [FILE]  install the chart with this image, and values

Every command takes --dir, the cluster's folder (default: .cluster).
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// options are the flags of all commands.
type options struct {
	dir, out, name, image, arch string
	nodes                       int
	labels                      map[string]string
	args                        []string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		_, _ = fmt.Fprint(stderr, usage)
		return errors.New("no command given")
	}
	o, err := parse(args[1:], stderr)
	if err != nil {
		return err
	}
	c := local.Cluster{Dir: o.dir, Log: stderr}
	switch args[0] {
	case "build":
		return build(ctx, stderr)
	case "tool":
		return tool(ctx, o.args, stdout, stderr)
	case "up":
		return c.Up(ctx, o.nodes)
	case "down":
		return c.Down(ctx)
	case "image":
		return writeImage(o, stdout)
	case "load":
		return load(ctx, c, o.args)
	case "install":
		if o.image == "" {
			return errors.New("install needs --image")
		}
		return c.Install(ctx, o.image, "", o.args...)
	case local.KeeperCommand:
		return local.Keep(ctx, o.dir, o.nodes)
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{labels: map[string]string{}}
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { _, _ = fmt.Fprint(stderr, usage) }
	flags.StringVar(&o.dir, "dir", ".cluster", "")
	flags.StringVar(&o.out, "out", "", "")
	flags.StringVar(&o.name, "name", "", "")
	flags.StringVar(&o.image, "image", "", "")
	flags.StringVar(&o.arch, "arch", "", "")
	flags.IntVar(&o.nodes, "nodes", 1, "")
	flags.Func("label", "", func(pair string) error {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=VALUE", pair)
		}
		o.labels[name] = value
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.args = flags.Args()
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return o, fmt.Errorf("find %s: %w", o.dir, err)
	}
	o.dir = dir
	return o, nil
}

func build(ctx context.Context, log io.Writer) error {
	cache, err := binaries.NewCache(log)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return cache.Build(ctx, append(binaries.ControlPlane(), binaries.ChartTools()...)...)
	}
	if err := cache.Build(ctx, binaries.Everything()...); err != nil {
		return err
	}
	_, err = cache.Packages(ctx)
	return err
}

func tool(ctx context.Context, names []string, stdout, stderr io.Writer) error {
	cache, err := binaries.NewCache(stderr)
	if err != nil {
		return err
	}
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

// writeImage tags the image by its content, unless told otherwise, so that a
// changed one is rolled out.
func writeImage(o options, stdout io.Writer) error {
	if o.out == "" || o.name == "" || len(o.args) == 0 {
		return errors.New("image needs --out, --name and at least one program")
	}
	reference := o.name
	if !strings.Contains(reference, ":") {
		tag, err := image.Tag(o.args...)
		if err != nil {
			return err
		}
		reference += ":" + tag
	}
	s := image.Spec{Reference: reference, Programs: o.args, Entrypoint: filepath.Base(o.args[0]), Arch: o.arch, Labels: o.labels}
	if err := image.Write(o.out, s); err != nil {
		return err
	}
	_, err := fmt.Fprintln(stdout, s.Reference)
	return err
}

func load(ctx context.Context, c local.Cluster, archives []string) error {
	state, err := c.State()
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if err := state.LoadImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}
